// What a record says about the machine: its name, processor, memory and clock, from /proc and
// system calls. What cannot be found is empty or 0, because no stage should fail for it.
#include "study/machine.h"

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "base/strings.h"

namespace qualm {
namespace {

// The text after "key" and a colon in a file of such lines; empty if there is no such line.
std::string LineOf(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos && Trim(std::string_view(line).substr(0, colon)) == key) {
      return std::string(Trim(std::string_view(line).substr(colon + 1)));
    }
  }
  return "";
}

}  // namespace

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

std::string ProcessorName() { return LineOf("/proc/cpuinfo", "model name"); }

uint64_t AvailableMemoryBytes() {
  // The kernel counts in KiB.
  const std::string text = LineOf("/proc/meminfo", "MemAvailable");
  return std::strtoull(text.c_str(), nullptr, 10) * 1024;
}

uint64_t FreeDiskBytes(const std::string& folder) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder, error);
  return error ? 0 : space.available;
}

uint64_t PeakMemoryBytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  // Linux counts in KiB here, too.
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// "2024-05-01T12:00:00Z".
std::string UtcNow() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace qualm
