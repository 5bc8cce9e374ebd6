// vocab.txt: BERT's WordPiece vocabulary, one piece a line. What cleans and splits the text is in
// the tokenizer class that reads it.
#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/normalizer.h"
#include "tokenize/post_processor.h"

namespace qualm {
namespace {

// Classes that read the file in the same way, without what transformers adds to the name.
constexpr std::string_view kClasses[] = {
    "BertTokenizer",       "ConvBertTokenizer",  "DistilBertTokenizer",
    "ElectraTokenizer",    "LayoutLMTokenizer",  "LxmertTokenizer",
    "MobileBertTokenizer", "RetriBertTokenizer", "SqueezeBertTokenizer"};

void RequireKnownClass(const TokenizerConfig& config) {
  const std::string name = ClassName(config);
  const std::vector<std::string> known(std::begin(kClasses), std::end(kClasses));
  if (name.empty() || name == "PreTrainedTokenizer") return;
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    ThrowUnknownName(StrCat(config.folder, "/tokenizer_config.json"), "tokenizer_class", name,
                     known);
  }
}

// A piece that is on several lines has the id of the last one.
Vocabulary ParseLines(std::string_view text, const std::string& place) {
  if (!IsValidUtf8(text)) ThrowBadInput(place, "UTF-8", "other bytes");
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::vector<std::string> lines = Split(text, '\n');
  std::unordered_map<std::string, size_t> last_line;
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].resize(lines[i].size() - TrailingSpace(lines[i]));
    last_line[lines[i]] = i;
  }

  Vocabulary vocabulary;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (last_line[lines[i]] == i) vocabulary.Add(lines[i], static_cast<int64_t>(i), place);
  }
  return vocabulary;
}

}  // namespace

std::unique_ptr<Tokenizer> LoadVocabText(const std::filesystem::path& path,
                                         const TokenizerConfig& given) {
  RequireKnownClass(given);
  TokenizerConfig config = given;
  HfSpec spec;
  spec.place = path.string();
  spec.kind = "vocab.txt-wordpiece";
  spec.vocabulary = ParseLines(ReadFile(path), spec.place);
  WordPieceSpec model;
  model.unknown_piece = config.unk.value_or("[UNK]");

  Normalizer::BertOptions options;
  options.lowercase = config.do_lower_case.value_or(true);
  options.handle_chinese_chars = config.tokenize_chinese_chars.value_or(true);
  options.strip_accents = config.strip_accents.value_or(options.lowercase);
  spec.normalizer = Normalizer::Bert(options);
  spec.pre_tokenizer = PreTokenizer::Bert();
  spec.decoder = PieceDecoder::WordPiece(model.continuing_prefix, /*cleanup=*/true);
  spec.model = model;

  // The tokens around a text, which the class names if the files do not.
  const std::string cls = config.cls.value_or("[CLS]"), sep = config.sep.value_or("[SEP]");
  for (const std::string& piece :
       {model.unknown_piece, sep, std::string("[PAD]"), cls, std::string("[MASK]")}) {
    NameSpecialToken(piece, spec.vocabulary, config);
  }
  for (const std::string& piece : {cls, sep}) {
    if (spec.vocabulary.Find(piece) < 0) {
      ThrowBadInput(spec.place, StrCat("the piece '", piece, "', which is put around a text"),
                    "none");
    }
  }
  SetTemplate(spec.vocabulary.Find(cls), spec.vocabulary.Find(sep), spec.special);
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/false);
}

}  // namespace qualm
