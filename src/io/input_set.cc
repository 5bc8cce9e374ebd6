// A list of files with their hashes, which are made when they are first asked for: loading alone
// does not read a file twice.
#include "io/input_set.h"

#include <algorithm>

#include "io/hash.h"

namespace qualm {

void InputSet::Add(std::string role, const std::filesystem::path& path) {
  const auto is_same = [&](const InputFile& file) {
    return file.role == role && file.path == path.string();
  };
  if (std::ranges::any_of(files_, is_same)) return;
  files_.push_back({std::move(role), path.string(), ""});
}

void InputSet::AddText(std::string role, std::string_view text) {
  if (Find(role) != nullptr) return;
  files_.push_back({std::move(role), "", HashBytes(text)});
}

void InputSet::Add(const InputSet& others) {
  for (const InputFile& other : others.files_) {
    const auto is_same = [&](const InputFile& file) {
      return file.role == other.role && file.path == other.path;
    };
    if (std::ranges::none_of(files_, is_same)) files_.push_back(other);
  }
}

const InputFile* InputSet::Find(std::string_view role) const {
  const auto found = std::ranges::find(files_, role, &InputFile::role);
  return found == files_.end() ? nullptr : &*found;
}

void InputSet::HashFiles() {
  for (InputFile& file : files_) {
    if (file.hash.empty()) file.hash = HashFile(file.path);
  }
}

std::string InputSet::Hash() {
  HashFiles();
  Hasher hasher;
  for (const InputFile& file : files_) {
    hasher.Add(file.role);
    hasher.Add(file.hash);
  }
  return hasher.Hex();
}

const InputFile* InputSet::FirstOther(InputSet& others) {
  HashFiles();
  others.HashFiles();
  for (const InputFile& other : others.files_) {
    const auto is_same = [&](const InputFile& file) {
      return file.role == other.role && file.hash == other.hash;
    };
    if (std::ranges::none_of(files_, is_same)) return &other;
  }
  return nullptr;
}

}  // namespace qualm
