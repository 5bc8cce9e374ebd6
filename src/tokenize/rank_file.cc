// Rank files of tiktoken: base64 of a piece's bytes and its rank on every line. The rank is the id,
// and of all pairs that could be joined the one whose result has the lowest rank is joined first.
#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/base64.h"
#include "tokenize/byte_level.h"
#include "tokenize/hf_tokenizer.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Bounds the work of finding a piece's splits, which grows with the square of its length.
constexpr size_t kLongestPiece = 1000;  // bytes
constexpr size_t kLongestLine = 2000;   // bytes

// Llama 3's own release is nothing but a rank file; its 256 special tokens are in its code.
constexpr size_t kLlama3Ranks = 128000;
constexpr size_t kLlama3SpecialTokens = 256;

// "IQ== 0"; false for a line of another form.
bool ParseLine(std::string_view line, std::string& bytes, int64_t& rank) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  const size_t space = line.find(' ');
  if (line.size() > kLongestLine || space == std::string_view::npos || space == 0) return false;
  const std::string_view number = line.substr(space + 1);
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), rank);
  if (error != std::errc() || end != number.data() + number.size()) return false;
  bytes.clear();
  return DecodeBase64(line.substr(0, space), bytes) && !bytes.empty();
}

// Pieces in the alphabet of byte_level.h, by rank.
Vocabulary ParseRanks(std::string_view text, std::string_view place) {
  Vocabulary vocabulary;
  std::string bytes;
  for (size_t line_number = 1; !text.empty(); ++line_number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line == "\r") continue;
    int64_t rank = -1;
    const std::string here = StrCat(place, ":", line_number);
    if (!ParseLine(line, bytes, rank)) {
      ThrowBadInput(here, "base64 and a rank, such as \"IQ== 0\"",
                    StrCat("'", line.substr(0, 60), "'"));
    }
    if (bytes.size() > kLongestPiece) {
      ThrowBadInput(here, StrCat("pieces of at most ", kLongestPiece, " bytes"),
                    StrCat(bytes.size()));
    }
    vocabulary.Add(ByteLevelPieceOf(bytes), rank, here);
  }
  if (vocabulary.pieces() == 0) ThrowBadInput(place, "at least one rank", "none");
  return vocabulary;
}

// All pairs that join to a piece, by the piece's rank, then by the ranks of the pair.
std::vector<std::pair<std::string, std::string>> MergesOf(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<std::pair<TokenId, TokenId>> pairs;
  for (size_t id = 0; id < vocabulary.size(); ++id) {
    const std::string_view piece = vocabulary.Piece(static_cast<TokenId>(id));
    pairs.clear();
    for (size_t at = piece.empty() ? 0 : CharacterLength(piece); at < piece.size();
         at += CharacterLength(piece.substr(at))) {
      const TokenId left = vocabulary.Find(piece.substr(0, at));
      const TokenId right = vocabulary.Find(piece.substr(at));
      if (left >= 0 && right >= 0) pairs.emplace_back(left, right);
    }
    std::sort(pairs.begin(), pairs.end());
    for (const auto& [left, right] : pairs) {
      merges.emplace_back(vocabulary.Piece(left), vocabulary.Piece(right));
    }
  }
  return merges;
}

void AddSpecial(std::string content, TokenizerConfig& config) {
  AddedToken token;
  token.content = std::move(content);
  token.is_special = true;
  token.is_normalized = false;
  config.further_tokens.push_back(std::move(token));
}

// The 256 tokens after the ranks, in the order of the release's code.
void AddLlama3Tokens(TokenizerConfig& config) {
  const auto reserved = [](size_t i) { return StrCat("<|reserved_special_token_", i, "|>"); };
  AddSpecial("<|begin_of_text|>", config);
  AddSpecial("<|end_of_text|>", config);
  for (size_t i = 0; i < 4; ++i) AddSpecial(reserved(i), config);
  AddSpecial("<|start_header_id|>", config);
  AddSpecial("<|end_header_id|>", config);
  AddSpecial(reserved(4), config);
  AddSpecial("<|eot_id|>", config);
  for (size_t i = 5; config.further_tokens.size() < kLlama3SpecialTokens; ++i) {
    AddSpecial(reserved(i), config);
  }
  config.bos = config.bos.value_or("<|begin_of_text|>");
  config.eos = config.eos.value_or("<|end_of_text|>");
  config.add_bos = config.add_bos.value_or(true);
}

// Qwen's first release: three tokens and 205 that have no use yet.
void AddQwenTokens(TokenizerConfig& config) {
  for (const char* content : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    AddSpecial(content, config);
  }
  for (int i = 0; i < 205; ++i) AddSpecial(StrCat("<|extra_", i, "|>"), config);
  config.eos = config.eos.value_or("<|endoftext|>");
}

}  // namespace

bool IsRankFile(std::string_view bytes) {
  std::string piece;
  int64_t rank = -1;
  return ParseLine(bytes.substr(0, bytes.find('\n')), piece, rank);
}

std::unique_ptr<Tokenizer> ParseRankFile(std::string_view bytes, std::string_view place,
                                         const TokenizerConfig& given) {
  TokenizerConfig config = given;
  HfSpec spec;
  spec.place = place;
  spec.kind = "rank-file-bpe";
  spec.vocabulary = ParseRanks(bytes, place);
  BpeSpec bpe;
  bpe.merges = MergesOf(spec.vocabulary);
  bpe.ignore_merges = true;
  spec.model = std::move(bpe);
  spec.decoder = PieceDecoder::ByteLevel();

  const std::string name = ClassName(config);
  const bool is_qwen =
      name.starts_with("Qwen") || name.starts_with("QWen") || place.ends_with("qwen.tiktoken");
  if (is_qwen) {
    spec.normalizer = Normalizer::Nfc();
    spec.pre_tokenizer = PreTokenizer::Qwen2(/*add_prefix_space=*/false);
  } else {
    spec.pre_tokenizer = PreTokenizer::Llama3();
  }
  if (config.added_tokens.empty() && config.further_tokens.empty()) {
    if (is_qwen) {
      AddQwenTokens(config);
    } else if (spec.vocabulary.size() == kLlama3Ranks) {
      AddLlama3Tokens(config);
    }
  }
  return FinishTokenizer(std::move(spec), config, /*flags_count=*/true);
}

}  // namespace qualm
