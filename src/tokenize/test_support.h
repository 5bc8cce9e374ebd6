// Helpers of this folder's tests: vector files, folders made on the fly, ids as text.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "base/strings.h"
#include "tokenize/tokenizer.h"

namespace qualm::testing {

struct TokenVector {
  std::string text;
  std::vector<TokenId> ids;
};

// The pairs of <name>.inp (texts, divided by a line of their own) and <name>.out (ids, a line
// each).
inline std::vector<TokenVector> ReadTokenVectors(const std::filesystem::path& stem) {
  constexpr std::string_view kDivider = "\n__ggml_vocab_test__\n";
  std::string inputs = ReadFile(stem.string() + ".inp");
  std::vector<TokenVector> vectors;
  std::string_view rest = inputs;
  for (const std::string& line : Split(Trim(ReadFile(stem.string() + ".out")), '\n')) {
    TokenVector vector;
    size_t end = rest.find(kDivider);
    vector.text = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + kDivider.size());
    for (const std::string& id : Split(Trim(line), ' ')) {
      if (!id.empty()) vector.ids.push_back(static_cast<TokenId>(std::stol(id)));
    }
    vectors.push_back(std::move(vector));
  }
  return vectors;
}

// A folder that is removed with everything in it at the end of the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "qualm_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void Write(const std::string& name, std::string_view bytes) const {
    WriteFileAtomically(path_ / name, bytes);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace qualm::testing
