#include "tokenize/piece_decoder.h"

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

}  // namespace

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
        place, "a decoder among ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip",
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

std::string PieceDecoder::Decode(std::vector<DecodedPiece> pieces) const {
  for (const Step& step : steps_) {
    std::visit([&pieces](const auto& concrete) { ApplyStep(concrete, pieces); }, step);
  }
  std::string out;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0 && join_with_spaces_) out += ' ';
    out += pieces[i].text;
  }
  return out;
}

void PieceDecoder::ApplyStep(const ByteLevelStep&, Pieces& pieces) {
  for (DecodedPiece& piece : pieces) {
    if (piece.is_literal) continue;
    if (auto bytes = BytesOfByteLevelPiece(piece.text)) piece.text = *std::move(bytes);
  }
  // The library hands on one text from here.
  ApplyStep(FuseStep{}, pieces);
}

void PieceDecoder::ApplyStep(const ByteFallbackStep&, Pieces& pieces) {
  for (DecodedPiece& piece : pieces) {
    if (int byte = ByteOfFallbackPiece(piece.text); byte >= 0) {
      piece.text.assign(1, static_cast<char>(byte));
    }
  }
}

void PieceDecoder::ApplyStep(const FuseStep&, Pieces& pieces) {
  if (pieces.size() < 2) return;
  for (size_t i = 1; i < pieces.size(); ++i) pieces[0].text += pieces[i].text;
  pieces.resize(1);
}

void PieceDecoder::ApplyStep(const MetaspaceStep& step, Pieces& pieces) {
  Pattern replacement = Pattern::Literal(step.replacement);
  size_t left = kMostDecoded;
  for (size_t i = 0; i < pieces.size(); ++i) {
    bool drop = i == 0 && step.drop_in_first;
    pieces[i].text = replacement.ReplaceAll(pieces[i].text, drop ? "" : " ", left);
    left -= pieces[i].text.size();
  }
}

void PieceDecoder::ApplyStep(const ReplaceStep& step, Pieces& pieces) {
  size_t left = kMostDecoded;
  for (DecodedPiece& piece : pieces) {
    // Single bytes may stand here; a regular expression needs characters.
    if (step.pattern.is_regex()) piece.text = RepairUtf8(piece.text);
    piece.text = step.pattern.ReplaceAll(piece.text, step.content, left);
    left -= piece.text.size();
  }
}

void PieceDecoder::ApplyStep(const StripStep& step, Pieces& pieces) {
  for (DecodedPiece& piece : pieces) {
    std::string_view rest = piece.text;
    for (size_t i = 0; i < step.start && rest.starts_with(step.content); ++i) {
      rest.remove_prefix(step.content.size());
    }
    for (size_t i = 0; i < step.stop && rest.ends_with(step.content); ++i) {
      rest.remove_suffix(step.content.size());
    }
    piece.text = std::string(rest);
  }
}

}  // namespace qualm
