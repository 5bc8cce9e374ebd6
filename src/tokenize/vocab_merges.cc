// vocab.json + merges.txt: the older form of a byte-level BPE tokenizer. What splits the text into
// words is not in the files but in the tokenizer class that reads them.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"

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

// The library's class adds its end-of-text token even if no file names it.
void AddDefaultToken(HfSpec& spec) {
  constexpr std::string_view kEndOfText = "<|endoftext|>";
  TokenId id = spec.model.vocabulary.Find(kEndOfText);
  if (id < 0) return;
  spec.special.bos = spec.special.eos = spec.special.unk = id;
  bool is_known = std::any_of(spec.added_tokens.begin(), spec.added_tokens.end(),
                              [&](const AddedToken& token) { return token.content == kEndOfText; });
  if (is_known) return;
  AddedToken token;
  token.id = id;
  token.content = kEndOfText;
  token.is_special = true;
  token.is_normalized = false;
  spec.added_tokens.push_back(token);
}

}  // namespace

std::unique_ptr<Tokenizer> LoadVocabAndMerges(const std::filesystem::path& vocab_path,
                                              const std::filesystem::path& merges_path,
                                              const TokenizerConfig& config) {
  HfSpec spec;
  spec.place = vocab_path.string();
  spec.kind = "vocab.json+merges.txt-bpe";
  spec.model.vocabulary = ParseVocabulary(ReadJsonFile(vocab_path), spec.place);
  spec.model.merges = ParseMerges(ReadFile(merges_path), merges_path.string());
  spec.added_tokens = config.added_tokens;
  spec.decoder = PieceDecoder::ByteLevel();
  std::string class_name = config.tokenizer_class;
  if (class_name.ends_with("Fast")) class_name.resize(class_name.size() - 4);
  bool add_prefix_space = config.add_prefix_space.value_or(false);
  if (class_name.empty() || class_name == "GPT2Tokenizer" || class_name == "CodeGenTokenizer") {
    spec.pre_tokenizer = PreTokenizer::Gpt2(add_prefix_space);
    AddDefaultToken(spec);
  } else if (class_name == "Qwen2Tokenizer") {
    spec.normalizer = Normalizer::Nfc();
    spec.pre_tokenizer = PreTokenizer::Qwen2(add_prefix_space);
  } else {
    const std::vector<std::string> known = {"CodeGenTokenizer", "GPT2Tokenizer", "Qwen2Tokenizer"};
    ThrowUnknownName(StrCat(config.folder, "/tokenizer_config.json"), "tokenizer_class", class_name,
                     known);
  }
  return std::make_unique<HfTokenizer>(std::move(spec), config);
}

}  // namespace qualm
