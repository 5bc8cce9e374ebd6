// Runs a Python program that a model wrote, with the user's python3, cut off from the rest: no
// network, no files but an empty /tmp and read-only /usr, bounded time, memory and output. The
// walls are bubblewrap's (namespaces) and prlimit's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace qualm {

struct SandboxLimits {
  int seconds = 5;  // of the processor and of the clock
  uint64_t memory_bytes = uint64_t{1} << 30;
  uint64_t file_bytes = uint64_t{16} << 20;  // of all files together
};

// Whether the program runs to its end without an exception; leaving early by exit() is not that.
// Throws kFailed where bwrap, prlimit, timeout or python3 are missing or walls cannot be put up.
bool RunsToItsEnd(std::string_view program, const SandboxLimits& limits = {});

}  // namespace qualm
