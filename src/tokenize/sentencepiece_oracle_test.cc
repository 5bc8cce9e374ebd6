// Our SentencePiece against Google's library, on models trained here and on real ones.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <memory>

#include "base/rng.h"
#include "support/shared_data.h"
#include "tokenize/sentencepiece_tokenizer.h"
#include "tokenize/test_support.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

using testing::TemporaryFolder;

// A few hundred invented words, written with spaces, digits, marks and other scripts between them.
class TextSource {
 public:
  explicit TextSource(uint64_t seed) : rng_(seed, "text") {
    constexpr std::string_view kSyllables[] = {"ba",  "ko", "ri", "tel", "an",
                                               "sch", "u",  "mo", "Ü"};
    for (int i = 0; i < 300; ++i) {
      std::string word;
      for (uint64_t n = 1 + rng_.Below(4); n > 0; --n) word += kSyllables[rng_.Below(9)];
      words_.push_back(word);
    }
  }

  std::string Line(size_t words) {
    std::string line;
    for (size_t i = 0; i < words; ++i) line += NextPart();
    return line;
  }

 private:
  std::string NextPart() {
    // Low indices more often: a vocabulary needs something to learn.
    std::string word = words_[std::min(rng_.Below(300), rng_.Below(300))];
    switch (rng_.Below(16)) {
      case 0:
        return StrCat("  ", word, ".");
      case 1:
        return StrCat(" ", rng_.Below(10000));
      case 2:
        return "我想在苹果工作";
      case 3:
        return "ﬁ Ⅷ ① ｶﾞ Ａ";  // what NFKC rewrites
      case 4:
        return "\xf0\x9f\xa6\x99";
      case 5:
        return "\t\u00a0\u3000";
      case 6:
        return "<sep>";
      case 7:
        return StrCat(word, "▁", word);
      default:
        return StrCat(" ", word);
    }
  }

  Rng rng_;
  std::vector<std::string> words_;
};

std::string TrainModel(const TemporaryFolder& folder, const std::string& options) {
  TextSource source(/*seed=*/1);
  std::string corpus;
  for (int i = 0; i < 400; ++i) corpus += source.Line(12) + "\n";
  folder.Write("corpus.txt", corpus);
  std::string prefix = (folder.path() / "model").string();
  auto status = sentencepiece::SentencePieceTrainer::Train(
      StrCat("--minloglevel=2 --input=", (folder.path() / "corpus.txt").string(),
             " --model_prefix=", prefix, " --hard_vocab_limit=false --num_threads=1 ", options));
  EXPECT_TRUE(status.ok()) << status.ToString();
  return ReadFile(prefix + ".model");
}

void ExpectAgreement(const sentencepiece::SentencePieceProcessor& library, const Tokenizer& ours,
                     const std::string& text) {
  std::vector<int> expected;
  ASSERT_TRUE(library.Encode(text, &expected).ok());
  std::vector<TokenId> ids = ours.Encode(text);
  ASSERT_EQ(ids, expected) << "text: " << text;
  std::string decoded;
  ASSERT_TRUE(library.Decode(expected, &decoded).ok());
  ASSERT_EQ(ours.Decode(ids), decoded) << "text: " << text;
}

class TrainedModel : public ::testing::TestWithParam<const char*> {};

TEST_P(TrainedModel, GivesTheLibrarysIdsAndTexts) {
  TemporaryFolder folder;
  std::string bytes = TrainModel(folder, GetParam());
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(bytes).ok());
  auto ours = ParseSentencePiece(bytes, "trained.model", {});
  ASSERT_EQ(ours->vocab_size(), static_cast<size_t>(library.GetPieceSize()));
  TextSource source(/*seed=*/2);
  for (int i = 0; i < 300; ++i) {
    ExpectAgreement(library, *ours, source.Line(1 + static_cast<size_t>(i) % 40));
  }
  for (const char* text :
       {"", " ", "   ", "\n", " \n ", "▁", "▁▁ a", "\xff", "a\xf0\x9f", "\xed\xa0\x80",
        "zzzz ЖЖЖ q", "<sep><sep>", "<s>", "<unk>", "<0x41>", "x\ty"}) {
    ExpectAgreement(library, *ours, text);
  }
  ExpectAgreement(library, *ours, std::string("a\0b", 3));
  if (ours->kind() == "sentencepiece-bpe") ExpectAgreement(library, *ours, source.Line(3000));
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, TrainedModel,
    ::testing::Values(
        "--model_type=bpe --vocab_size=700 --byte_fallback --normalization_rule_name=identity "
        "--remove_extra_whitespaces=false --split_digits",
        "--model_type=bpe --vocab_size=300 --character_coverage=0.98 --user_defined_symbols=<sep>",
        "--model_type=bpe --vocab_size=300 --add_dummy_prefix=false "
        "--normalization_rule_name=nfkc_cf --split_by_whitespace=false",
        "--model_type=unigram --vocab_size=300 --user_defined_symbols=<sep>",
        "--model_type=unigram --vocab_size=500 --byte_fallback --character_coverage=0.98 "
        "--normalization_rule_name=identity --remove_extra_whitespaces=false"));

class RealModel : public ::testing::TestWithParam<const char*> {};

TEST_P(RealModel, GivesTheLibrarysIdsAndTexts) {
  QUALM_SHARED_OR_SKIP(path, GetParam());
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(path.string()).ok());
  // Without the folder's configuration, which makes special tokens of "<s>" and the like in a text.
  auto ours = ParseSentencePiece(ReadFile(path), path.string(), {});
  for (const char* name : {"datasets/calib-exllamav2/multilingual.utf8",
                           "datasets/calib-exllamav2/code.utf8", "text/cmmlu-questions-zh.txt"}) {
    QUALM_SHARED_OR_SKIP(text_path, name);
    for (const std::string& line : Split(ReadFile(text_path), '\n')) {
      ExpectAgreement(library, *ours, line);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, RealModel,
                         ::testing::Values("tokenizers/llama2-spm/tokenizer.model",
                                           "tokenizers/baichuan1-spm/tokenizer.model",
                                           "models/qualm-bilingual/tokenizer.model",
                                           "models/stories260K/tokenizer.model"));

}  // namespace
}  // namespace qualm
