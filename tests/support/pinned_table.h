// A committed table of what the program computed, in tests/baseline/: one row a line, a name
// without blanks and a value (a hash, or the exact bits of a number). A test computes each value
// again and hands it to Check; Finish names the rows that nobody computed. A table is rewritten
// only on purpose,
//   QUALM_WRITE_BASELINE=1 build/tests/baseline_quantize_test      (or another test with a table)
// and a change in it needs a line in CHANGELOG.md that says why.
//
// The tests pin the instruction set (AVX2, which every x86-64 machine that runs qualm has), the
// version's text and all seeds; the number of threads changes nothing. No call of BLAS or LAPACK is
// among what they compute. What is left is the C library: its exp, log, pow and the like may differ
// in the last bit between versions of glibc (the tables were made with 2.36), not between machines,
// for the build asks for FMA.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "support/shared_data.h"
#include "tensor/isa.h"

namespace qualm::testing {

// The version's text in every artefact that a baseline test writes.
inline constexpr const char* kBaselineVersion = "baseline";

// False where the tables cannot be compared. AVX2 is what every x86-64 machine has that runs qualm.
inline bool PinForBaseline() { return SetInstructionSet("avx2"); }

// The bits of a number, as text. The sign of a NaN says nothing.
inline std::string ExactText(double value) {
  if (std::isnan(value)) return "nan";
  char buffer[40];
  std::snprintf(buffer, sizeof(buffer), "%a", value);
  return buffer;
}

class PinnedTable {
 public:
  // `file` is a name in tests/baseline/.
  explicit PinnedTable(const std::string& file)
      : path_(SourceRoot() / "tests/baseline" / file),
        is_rewriting_(std::getenv("QUALM_WRITE_BASELINE") != nullptr) {
    if (!is_rewriting_) Read();
  }

  bool is_rewriting() const { return is_rewriting_; }

  void Check(const std::string& name, const std::string& value) {
    // The same name may come again, from another way to the same result.
    const auto [computed, is_first] = computed_.try_emplace(name, value);
    if (!is_first) {
      EXPECT_EQ(computed->second, value) << name << " was computed twice";
      return;
    }
    order_.push_back(name);
    if (is_rewriting_) return;

    const auto pinned = pinned_.find(name);
    if (pinned == pinned_.end()) {
      ADD_FAILURE() << "[" << path_.filename().string() << "] expected a row " << name
                    << "; got none; its value is " << value;
    } else if (pinned->second != value) {
      ADD_FAILURE() << "[" << path_.filename().string() << "] " << name << ": expected "
                    << pinned->second << "; got " << value;
    }
  }

  // After the last Check.
  void Finish() const {
    if (is_rewriting_) {
      std::string text;
      for (const std::string& name : order_) text += StrCat(name, " ", computed_.at(name), "\n");
      WriteFileAtomically(path_, text);
      return;
    }
    for (const auto& [name, value] : pinned_) {
      if (computed_.contains(name)) continue;
      ADD_FAILURE() << "[" << path_.filename().string() << "] " << name << ": expected " << value
                    << "; got nothing: it was not computed";
    }
  }

 private:
  void Read() {
    if (!std::filesystem::exists(path_)) return;
    for (const std::string& line : Split(ReadFile(path_), '\n')) {
      const size_t blank = line.find(' ');
      if (blank == std::string::npos) continue;
      pinned_.emplace(line.substr(0, blank), line.substr(blank + 1));
    }
  }

  std::filesystem::path path_;
  bool is_rewriting_;
  std::map<std::string, std::string> pinned_, computed_;
  std::vector<std::string> order_;  // of the names, as they were computed
};

}  // namespace qualm::testing

// Skips the test, saying why, where its table cannot be compared.
#define QUALM_PIN_OR_SKIP()                        \
  if (!::qualm::testing::PinForBaseline())         \
  GTEST_SKIP() << "the tables are of AVX2, which " \
                  "this processor or build lacks"
