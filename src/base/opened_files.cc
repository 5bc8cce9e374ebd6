// A list of collectors under one lock. Opening a file is slow next to taking it, and without a
// collector only the number of them is looked at.
#include "base/opened_files.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

namespace qualm {
namespace {

std::atomic<int> collectors{0};

std::mutex& Lock() {
  static std::mutex lock;
  return lock;
}

std::vector<OpenedFiles*>& All() {
  static std::vector<OpenedFiles*> all;
  return all;
}

}  // namespace

OpenedFiles::OpenedFiles() {
  const std::lock_guard guard(Lock());
  All().push_back(this);
  ++collectors;
}

OpenedFiles::~OpenedFiles() {
  const std::lock_guard guard(Lock());
  std::erase(All(), this);
  --collectors;
}

std::string OpenedFiles::Spelled(const std::filesystem::path& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

std::set<std::string> OpenedFiles::paths() const {
  const std::lock_guard guard(Lock());
  return paths_;
}

void NoteOpened(const std::filesystem::path& path) {
  if (collectors == 0) return;
  const std::string spelled = OpenedFiles::Spelled(path);
  const std::lock_guard guard(Lock());
  for (OpenedFiles* one : All()) one->paths_.insert(spelled);
}

}  // namespace qualm
