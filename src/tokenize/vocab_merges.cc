// vocab.json + merges.txt: the older form of a BPE tokenizer. What splits the text into words is
// not in the files but in the tokenizer class that reads them.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/post_processor.h"

namespace qualm {
namespace {

// "left right" on every line, the most important first; "#version: ..." may stand above them.
std::vector<std::pair<std::string, std::string>> ParseMerges(std::string_view text,
                                                             const std::string& place) {
  std::vector<std::pair<std::string, std::string>> merges;
  size_t line_number = 0;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos ||
        !IsValidUtf8(line)) {
      ThrowBadInput(StrCat(place, ":", line_number), "two pieces with a space between",
                    StrCat("'", line.substr(0, 60), "'"));
    }
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

constexpr std::string_view kEndOfText = "<|endoftext|>";

// GPT-2's class takes its end-of-text token for all roles even if no file names it.
void NameEndOfText(const HfSpec& spec, TokenizerConfig& config) {
  const bool is_added =
      std::any_of(config.added_tokens.begin(), config.added_tokens.end(),
                  [](const AddedToken& token) { return token.content == kEndOfText; });
  if (!is_added && spec.vocabulary.Find(kEndOfText) < 0) return;
  for (auto* role : {&config.bos, &config.eos, &config.unk}) {
    if (!*role) *role = std::string(kEndOfText);
  }
  NameSpecialToken(kEndOfText, spec.vocabulary, config);
}

// RoBERTa's puts its own tokens around a text.
void ApplyRoberta(HfSpec& spec, TokenizerConfig& config) {
  const std::string cls = config.cls.value_or("<s>"), sep = config.sep.value_or("</s>");
  for (const std::string& piece : {cls, sep}) {
    if (spec.vocabulary.Find(piece) < 0) {
      ThrowBadInput(spec.place, StrCat("the piece '", piece, "', which is put around a text"),
                    "none");
    }
  }
  for (std::string_view piece : {"<s>", "</s>", "<unk>", "<pad>", "<mask>"}) {
    NameSpecialToken(piece, spec.vocabulary, config);
  }
  SetTemplate(spec.vocabulary.Find(cls), spec.vocabulary.Find(sep), spec.special);
}

// GPT-1's: words in lower case, the last piece of each with a suffix.
void ApplyOpenAiGpt(HfSpec& spec, TokenizerConfig& config) {
  auto& bpe = std::get<BpeSpec>(spec.model);
  bpe.word_suffix = "</w>";
  bpe.unknown_piece = config.unk.value_or("<unk>");
  spec.normalizer = Normalizer::Bert(Normalizer::BertOptions());
  spec.pre_tokenizer = PreTokenizer::Bert();
  spec.decoder = PieceDecoder::Suffix(bpe.word_suffix);
  NameSpecialToken(bpe.unknown_piece, spec.vocabulary, config);
}

}  // namespace

std::unique_ptr<Tokenizer> LoadVocabAndMerges(const std::filesystem::path& vocab_path,
                                              const std::filesystem::path& merges_path,
                                              const TokenizerConfig& given) {
  TokenizerConfig config = given;
  HfSpec spec;
  spec.place = vocab_path.string();
  spec.kind = "vocab.json+merges.txt-bpe";
  spec.vocabulary = ParseVocabulary(ReadJsonFile(vocab_path), spec.place);
  BpeSpec bpe;
  bpe.merges = ParseMerges(ReadFile(merges_path), merges_path.string());
  spec.model = std::move(bpe);

  // Most classes spell bytes.
  spec.decoder = PieceDecoder::ByteLevel();
  const bool add_prefix_space = config.add_prefix_space.value_or(false);
  spec.pre_tokenizer = PreTokenizer::Gpt2(add_prefix_space);
  bool flags_count = true;
  const std::string name = ClassName(config);
  if (name.empty() || name == "GPT2Tokenizer" || name == "CodeGenTokenizer") {
    NameEndOfText(spec, config);
  } else if (name == "Qwen2Tokenizer") {
    spec.normalizer = Normalizer::Nfc();
    spec.pre_tokenizer = PreTokenizer::Qwen2(add_prefix_space);
    NameSpecialToken(kEndOfText, spec.vocabulary, config);
  } else if (name == "RobertaTokenizer" || name == "BartTokenizer") {
    ApplyRoberta(spec, config);
    flags_count = false;
  } else if (name == "OpenAIGPTTokenizer") {
    ApplyOpenAiGpt(spec, config);
  } else {
    const std::vector<std::string> known = {"BartTokenizer",  "CodeGenTokenizer",
                                            "GPT2Tokenizer",  "OpenAIGPTTokenizer",
                                            "Qwen2Tokenizer", "RobertaTokenizer"};
    ThrowUnknownName(StrCat(config.folder, "/tokenizer_config.json"), "tokenizer_class", name,
                     known);
  }
  return FinishTokenizer(std::move(spec), config, flags_count);
}

}  // namespace qualm
