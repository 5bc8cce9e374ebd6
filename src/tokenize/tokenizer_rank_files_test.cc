// Vectors of tokenizers that are here only as rank files ("IQ== 0": base64 bytes and rank, the rank
// being the id). The merges follow from the ranks; with them the usual files can be written.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "io/json.h"
#include "support/shared_data.h"
#include "tokenize/base64.h"
#include "tokenize/byte_level.h"
#include "tokenize/test_support.h"

namespace qualm {
namespace {

using testing::TemporaryFolder;

struct RankFile {
  std::vector<std::string> pieces;  // by rank
  std::unordered_map<std::string, size_t> ranks;

  explicit RankFile(const std::filesystem::path& path) {
    for (const std::string& line : Split(Trim(ReadFile(path)), '\n')) {
      EXPECT_TRUE(DecodeBase64(line.substr(0, line.find(' ')), pieces.emplace_back()));
      ranks[pieces.back()] = pieces.size() - 1;
    }
  }

  // The last two parts of a piece when only merges of lower rank are made.
  std::pair<std::string, std::string> LastMerge(size_t rank) const {
    std::vector<std::string> parts;
    for (char c : pieces[rank]) parts.emplace_back(1, c);
    while (parts.size() > 2) {
      size_t best = parts.size(), best_rank = rank;
      for (size_t i = 0; i + 1 < parts.size(); ++i) {
        auto found = ranks.find(parts[i] + parts[i + 1]);
        if (found == ranks.end() || found->second >= best_rank) continue;
        best = i;
        best_rank = found->second;
      }
      if (best == parts.size()) return {};  // no merges lead to this piece
      parts[best] += parts[best + 1];
      parts.erase(parts.begin() + static_cast<ptrdiff_t>(best) + 1);
    }
    return {parts[0], parts[1]};
  }
};

std::string Spelled(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += ByteLevelCharacter(static_cast<unsigned char>(c));
  return out;
}

// "left right" of every piece that comes from a merge.
std::vector<std::string> MergesOf(const RankFile& file) {
  std::vector<std::string> merges;
  for (size_t rank = 0; rank < file.pieces.size(); ++rank) {
    if (file.pieces[rank].size() < 2) continue;
    auto [left, right] = file.LastMerge(rank);
    if (!left.empty()) merges.push_back(StrCat(Spelled(left), " ", Spelled(right)));
  }
  return merges;
}

void ExpectVectors(const Tokenizer& tokenizer, const char* name) {
  for (const auto& vector :
       testing::ReadTokenVectors(testing::SharedRoot() / StrCat("tokenizers/ggml-vocab/", name))) {
    EXPECT_EQ(tokenizer.Encode(vector.text), vector.ids) << vector.text;
    EXPECT_EQ(tokenizer.Decode(vector.ids), vector.text);
  }
}

TEST(RankFiles, TheFilesThemselvesPassTheirVectors) {
  QUALM_SHARED_OR_SKIP(source, "tokenizers/qwen2");
  const auto qwen = LoadTokenizer(source / "qwen.tiktoken");
  ExpectVectors(*qwen, "ggml-vocab-qwen2.gguf");
  EXPECT_EQ(qwen->special().eos, 151645);

  QUALM_SHARED_OR_SKIP(llama, "tokenizers/llama3-tiktoken");
  const auto llama3 = LoadTokenizer(llama);
  ExpectVectors(*llama3, "ggml-vocab-llama-bpe.gguf");
  // The release's code has 256 special tokens after the ranks.
  EXPECT_EQ(llama3->vocab_size(), 128256u);
  EXPECT_EQ(llama3->IdOfPiece("<|eot_id|>"), 128009);
  EXPECT_EQ(llama3->EncodeWithSpecial("a")[0], 128000);
}

TEST(RankFiles, Qwen2sVocabAndMergesPassItsVectors) {
  QUALM_SHARED_OR_SKIP(source, "tokenizers/qwen2");
  TemporaryFolder folder;
  folder.Write("vocab.json", ReadFile(source / "vocab.json"));
  folder.Write("tokenizer_config.json", ReadFile(source / "tokenizer_config.json"));
  folder.Write("merges.txt", Join(MergesOf(RankFile(source / "qwen.tiktoken")), "\n"));
  auto tokenizer = LoadTokenizer(folder.path());
  EXPECT_EQ(tokenizer->vocab_size(), 151646u);
  EXPECT_EQ(tokenizer->special().eos, 151645);
  EXPECT_FALSE(tokenizer->special().add_bos);
  ExpectVectors(*tokenizer, "ggml-vocab-qwen2.gguf");
}

TEST(RankFiles, Llama3AsTokenizerJsonPassesItsVectors) {
  QUALM_SHARED_OR_SKIP(source, "tokenizers/llama3-tiktoken/tokenizer.model");
  RankFile file(source);
  std::string vocab, merges;
  for (size_t rank = 0; rank < file.pieces.size(); ++rank) {
    vocab += StrCat(rank == 0 ? "" : ",", Json(Spelled(file.pieces[rank])).dump(), ":", rank);
  }
  for (const std::string& merge : MergesOf(file)) {
    merges += StrCat(merges.empty() ? "" : ",", Json(merge).dump());
  }
  TemporaryFolder folder;
  folder.Write("tokenizer.json", StrCat(R"({"added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
          {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
           "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|)",
                                        R"( ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|)",
                                        R"(\\s+(?!\\S)|\\s+"}},
          {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]},
      "post_processor": {"type": "ByteLevel"}, "decoder": {"type": "ByteLevel"},
      "model": {"type": "BPE", "ignore_merges": true, "vocab": {)",
                                        vocab, R"(}, "merges": [)", merges, "]}}"));
  ExpectVectors(*LoadTokenizer(folder.path()), "ggml-vocab-llama-bpe.gguf");
}

}  // namespace
}  // namespace qualm
