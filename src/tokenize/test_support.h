// Helpers of this folder's tests: vector files, folders made on the fly, ids as text.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "tokenize/sentencepiece_model.h"
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

// The bytes of a model file, written field by field as protocol buffers are.
inline std::string SerializeSentencePiece(const SentencePieceModel& model) {
  auto varint = [](std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
  };
  auto number = [&](std::string& out, uint64_t field, uint64_t value) {
    varint(out, field << 3);
    varint(out, value);
  };
  auto text = [&](std::string& out, uint64_t field, std::string_view value) {
    varint(out, field << 3 | 2);
    varint(out, value.size());
    out += value;
  };
  std::string out;
  for (const auto& piece : model.pieces) {
    std::string message;
    text(message, 1, piece.text);
    varint(message, 2 << 3 | 5);
    message.append(reinterpret_cast<const char*>(&piece.score), 4);
    number(message, 3, static_cast<uint64_t>(piece.type));
    text(out, 1, message);
  }
  std::string trainer;
  number(trainer, 3, static_cast<uint64_t>(model.type));
  number(trainer, 24, model.whitespace_is_suffix ? 1 : 0);
  number(trainer, 35, model.byte_fallback ? 1 : 0);
  text(trainer, 44, model.unknown_surface);
  text(out, 2, trainer);
  std::string normalizer;
  text(normalizer, 2, model.charsmap);
  number(normalizer, 3, model.add_dummy_prefix ? 1 : 0);
  number(normalizer, 4, model.remove_extra_whitespaces ? 1 : 0);
  number(normalizer, 5, model.escape_whitespaces ? 1 : 0);
  text(out, 3, normalizer);
  return out;
}

// A message that bad input gave, empty if nothing was thrown.
template <typename Body>
std::string BadInputFrom(Body body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

}  // namespace qualm::testing
