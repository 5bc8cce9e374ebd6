// What became of a stage whose process ended without a record: how it ended and what it said last.
#pragma once

#include <filesystem>
#include <string>

namespace qualm {

// The last line of a log that is an error ("qualm: [place] ...", "slurmstepd: error: ..."), else
// its last line; empty where there is no log or nothing in it.
std::string LastErrorLine(const std::filesystem::path& log);

// "[process] died of signal 9 (Killed); out of memory?; last line: ...; its log: ...". `code` is an
// exit code as a shell gives it: 128 and the number of a signal, if it was one.
std::string DeathMessage(int code, const std::filesystem::path& log);

}  // namespace qualm
