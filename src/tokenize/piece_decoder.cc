// Each step is a function from a list of pieces to another; what is left is joined. The steps and
// their corner cases are those of the Hugging Face library.
#include "tokenize/piece_decoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/byte_level.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Bytes that replacements may leave of all pieces together.
constexpr size_t kMostDecoded = size_t{1} << 26;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string OneCharacter(const Json& json, std::string_view key, std::string_view place,
                         std::string_view fallback) {
  std::string text = GetString(json, key, place, fallback);
  if (text.empty() || CharacterLength(text) != text.size()) {
    ThrowBadInput(place, StrCat("one character as '", key, "'"), StrCat("'", text, "'"));
  }
  return text;
}

// `text` with `from`, a string that may be empty, replaced; at most `most` bytes.
std::string Replaced(std::string_view text, std::string_view from, std::string_view to,
                     size_t most) {
  if (from.empty()) return Pattern::Expression("", "decoder").ReplaceAll(text, to, most);
  return Pattern::Literal(std::string(from)).ReplaceAll(text, to, most);
}

}  // namespace

std::string CleanUpSpaces(std::string text, bool contracts_do_not) {
  constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
      {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
      {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
      {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kReplacements) {
    if (from == " do not" && !contracts_do_not) continue;
    text = Replaced(text, from, to, kMostDecoded);
  }
  return text;
}

int ByteOfFallbackPiece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return -1;
  int high = HexDigit(piece[3]), low = HexDigit(piece[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string FallbackPieceOfByte(unsigned char byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return StrCat("<0x", kDigits[byte >> 4], kDigits[byte & 15], ">");
}

PieceDecoder PieceDecoder::Parse(const Json& json, std::string_view place) {
  PieceDecoder decoder;
  if (json.is_null()) {
    decoder.join_with_spaces_ = true;
  } else {
    decoder.Append(json, place);
  }
  return decoder;
}

PieceDecoder PieceDecoder::ByteLevel() {
  PieceDecoder decoder;
  decoder.steps_.emplace_back(ByteLevelStep{});
  return decoder;
}

PieceDecoder PieceDecoder::Spaces(std::string visible, bool with_bytes, bool strip_first) {
  PieceDecoder decoder;
  decoder.steps_.emplace_back(ReplaceStep{Pattern::Literal(std::move(visible)), " "});
  if (with_bytes) decoder.steps_.emplace_back(ByteFallbackStep{});
  decoder.steps_.emplace_back(FuseStep{});
  if (strip_first) decoder.steps_.emplace_back(StripStep{" ", /*start=*/1, /*stop=*/0});
  return decoder;
}

PieceDecoder PieceDecoder::Metaspace(std::string replacement, bool drop_in_first) {
  PieceDecoder decoder;
  decoder.steps_.emplace_back(MetaspaceStep{std::move(replacement), drop_in_first});
  return decoder;
}

PieceDecoder PieceDecoder::WordPiece(std::string prefix, bool cleanup) {
  PieceDecoder decoder;
  decoder.steps_.emplace_back(WordPieceStep{std::move(prefix), cleanup});
  return decoder;
}

PieceDecoder PieceDecoder::Suffix(std::string suffix) {
  PieceDecoder decoder;
  decoder.steps_.emplace_back(SuffixStep{std::move(suffix)});
  return decoder;
}

void PieceDecoder::Append(const Json& json, std::string_view place) {
  std::string type = GetString(json, "type", place);
  std::string here = StrCat(place, ".", type);
  if (type == "Sequence") {
    if (!json.contains("decoders") || !json["decoders"].is_array()) {
      ThrowBadInput(here, "a list 'decoders'", "none");
    }
    for (const Json& part : json["decoders"]) Append(part, here);
  } else if (type == "ByteLevel") {
    steps_.emplace_back(ByteLevelStep{});
  } else if (type == "WordPiece") {
    steps_.emplace_back(
        WordPieceStep{GetString(json, "prefix", here, "##"), GetBool(json, "cleanup", here, true)});
  } else if (type == "BPEDecoder") {
    steps_.emplace_back(SuffixStep{GetString(json, "suffix", here, "</w>")});
  } else if (type == "CTC") {
    steps_.emplace_back(CtcStep{GetString(json, "pad_token", here, "<pad>"),
                                GetString(json, "word_delimiter_token", here, "|"),
                                GetBool(json, "cleanup", here, true)});
  } else if (type == "ByteFallback") {
    steps_.emplace_back(ByteFallbackStep{});
  } else if (type == "Fuse") {
    steps_.emplace_back(FuseStep{});
  } else if (type == "Metaspace") {
    AppendMetaspace(json, here);
  } else if (type == "Replace") {
    if (!json.contains("pattern")) ThrowBadInput(here, "the key 'pattern'", "none");
    steps_.emplace_back(
        ReplaceStep{Pattern::Parse(json["pattern"], here), GetString(json, "content", here)});
  } else if (type == "Strip") {
    AppendStrip(json, here);
  } else {
    ThrowBadInput(
        place,
        "a decoder among BPEDecoder, ByteFallback, ByteLevel, CTC, Fuse, Metaspace, Replace, "
        "Sequence, Strip, WordPiece",
        StrCat("'", type, "', which is not supported"));
  }
}

void PieceDecoder::AppendMetaspace(const Json& json, std::string_view place) {
  std::string scheme = GetString(json, "prepend_scheme", place, "");
  bool add_prefix_space = GetBool(json, "add_prefix_space", place, true);
  steps_.emplace_back(MetaspaceStep{OneCharacter(json, "replacement", place, kMetaSpace),
                                    scheme.empty() ? add_prefix_space : scheme != "never"});
}

void PieceDecoder::AppendStrip(const Json& json, std::string_view place) {
  int64_t start = GetInt(json, "start", place, 0), stop = GetInt(json, "stop", place, 0);
  if (start < 0 || stop < 0) {
    ThrowBadInput(place, "'start' and 'stop' of at least 0", StrCat(start, " and ", stop));
  }
  steps_.emplace_back(StripStep{OneCharacter(json, "content", place, " "),
                                static_cast<size_t>(start), static_cast<size_t>(stop)});
}

std::string PieceDecoder::Decode(Pieces pieces) const {
  for (const Step& step : steps_) {
    std::visit([&pieces](const auto& concrete) { ApplyStep(concrete, pieces); }, step);
  }

  std::string out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && join_with_spaces_) out += ' ';
    out += pieces[i];
  }
  return out;
}

void PieceDecoder::ApplyStep(const ByteLevelStep&, Pieces& pieces) {
  std::string bytes;
  for (const std::string& piece : pieces) bytes += BytesOfByteLevelPiece(piece).value_or(piece);
  // The library hands on one text from here.
  pieces.assign(1, RepairUtf8ByParts(bytes));
}

void PieceDecoder::ApplyStep(const WordPieceStep& step, Pieces& pieces) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && pieces[i].starts_with(step.prefix)) {
      pieces[i].erase(0, step.prefix.size());
    } else if (i > 0) {
      pieces[i] = StrCat(" ", pieces[i]);
    }
    if (step.cleanup) pieces[i] = CleanUpSpaces(std::move(pieces[i]), /*contracts_do_not=*/true);
  }
}

void PieceDecoder::ApplyStep(const SuffixStep& step, Pieces& pieces) {
  size_t left = kMostDecoded;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool is_last = i + 1 == pieces.size();
    pieces[i] = Replaced(pieces[i], step.suffix, is_last ? "" : " ", left);
    left -= pieces[i].size();
  }
}

void PieceDecoder::ApplyStep(const CtcStep& step, Pieces& pieces) {
  // A piece that follows itself is the same sound, held.
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());

  size_t left = kMostDecoded;
  for (std::string& piece : pieces) {
    piece = Replaced(piece, step.pad, "", left);
    if (step.cleanup) {
      piece = Replaced(CleanUpSpaces(std::move(piece), /*contracts_do_not=*/true),
                       step.word_delimiter, " ", left);
    }
    left -= piece.size();
  }
  std::erase(pieces, "");
}

void PieceDecoder::ApplyStep(const ByteFallbackStep&, Pieces& pieces) {
  Pieces out;
  std::string bytes;  // of the run of byte pieces before the current one
  const auto flush = [&] {
    if (bytes.empty()) return;
    if (IsValidUtf8(bytes)) {
      out.push_back(bytes);
    } else {
      // One bad byte spoils the run: every byte of it is replaced, even those that are ASCII.
      out.insert(out.end(), bytes.size(), std::string(kReplacementCharacter));
    }
    bytes.clear();
  };

  for (std::string& piece : pieces) {
    if (const int byte = ByteOfFallbackPiece(piece); byte >= 0) {
      bytes.push_back(static_cast<char>(byte));
      continue;
    }
    flush();
    out.push_back(std::move(piece));
  }
  flush();
  pieces = std::move(out);
}

void PieceDecoder::ApplyStep(const FuseStep&, Pieces& pieces) {
  std::string fused;
  for (const std::string& piece : pieces) fused += piece;
  pieces.assign(1, std::move(fused));
}

void PieceDecoder::ApplyStep(const MetaspaceStep& step, Pieces& pieces) {
  size_t left = kMostDecoded;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool drop = i == 0 && step.drop_in_first;
    pieces[i] = Replaced(pieces[i], step.replacement, drop ? "" : " ", left);
    left -= pieces[i].size();
  }
}

void PieceDecoder::ApplyStep(const ReplaceStep& step, Pieces& pieces) {
  size_t left = kMostDecoded;
  for (std::string& piece : pieces) {
    // The library looks for nothing in an empty piece, not even for an empty match.
    if (!piece.empty()) piece = step.pattern.ReplaceAll(piece, step.content, left);
    left -= piece.size();
  }
}

// Where a piece is shorter than what is to be taken away, the library stops with a panic; here
// nothing is left of it.
void PieceDecoder::ApplyStep(const StripStep& step, Pieces& pieces) {
  for (std::string& piece : pieces) {
    std::string_view rest = piece;
    for (size_t i = 0; i < step.start && rest.starts_with(step.content); ++i) {
      rest.remove_prefix(step.content.size());
    }
    for (size_t i = 0; i < step.stop && rest.ends_with(step.content); ++i) {
      rest.remove_suffix(step.content.size());
    }
    piece = std::string(rest);
  }
}

}  // namespace qualm
