// Each step is a function from text to text. Their order and their corner cases are those of the
// Hugging Face library, which the goldens of single components check.
#include "tokenize/normalizer.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/base64.h"
#include "tokenize/byte_level.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Graphemes of at least so many bytes are not looked up as a whole in a character map.
constexpr size_t kLongGrapheme = 6;

// What a rewriting of `text` may leave of it.
void RequireGrowth(size_t before, size_t after) {
  const size_t most = GrowthLimit(before);
  if (after > most) {
    ThrowBadInput("tokenizer", StrCat("normalizers that leave at most ", most, " bytes"),
                  StrCat(after));
  }
}

// The rule of BERT's own code for what gets blanks around it.
bool IsIdeograph(uint32_t code) {
  return (code >= 0x4e00 && code <= 0x9fff) || (code >= 0x3400 && code <= 0x4dbf) ||
         (code >= 0x20000 && code <= 0x2a6df) || (code >= 0x2a700 && code <= 0x2b73f) ||
         (code >= 0x2b740 && code <= 0x2b81f) || (code >= 0x2b920 && code <= 0x2ceaf) ||
         (code >= 0xf900 && code <= 0xfaff) || (code >= 0x2f800 && code <= 0x2fa1f);
}

bool IsNmtControl(uint32_t code) {
  return (code >= 0x01 && code <= 0x08) || code == 0x0b || (code >= 0x0e && code <= 0x1f) ||
         code == 0x7f || code == 0x8f || code == 0x9f;
}

bool IsNmtSpace(uint32_t code) {
  return code == 0x09 || code == 0x0a || code == 0x0c || code == 0x0d || code == 0x1680 ||
         (code >= 0x200b && code <= 0x200f) || code == 0x2028 || code == 0x2029 || code == 0x2581 ||
         code == 0xfeff || code == 0xfffd;
}

std::string CleanedForBert(std::string_view text) {
  std::string out;
  ForEachCharacter(text, [&out](uint32_t code, std::string_view character) {
    const bool is_line_space = code == '\t' || code == '\n' || code == '\r';
    if (code == 0xfffd || (IsControlOrFormat(code) && !is_line_space)) return;
    if (IsWhiteSpace(code)) {
      out += ' ';
    } else {
      out += character;
    }
  });
  return out;
}

std::string WithSpacesAroundIdeographs(std::string_view text) {
  std::string out;
  ForEachCharacter(text, [&out](uint32_t code, std::string_view character) {
    const std::string_view space = IsIdeograph(code) ? " " : "";
    out += space;
    out += character;
    out += space;
  });
  return out;
}

std::string LowerCased(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  ForEachCharacter(text, [&out](uint32_t code, std::string_view) { AppendLowerCase(code, out); });
  return out;
}

}  // namespace

size_t LeadingSpace(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    size_t length = CharacterLength(text.substr(at));
    if (!IsWhiteSpace(CodePoint(text.substr(at, length)))) break;
    at += length;
  }
  return at;
}

size_t TrailingSpace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t at = end - 1;
    while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
    if (!IsWhiteSpace(CodePoint(text.substr(at, end - at)))) break;
    end = at;
  }
  return text.size() - end;
}

Normalizer Normalizer::Parse(const Json& json, std::string_view place) {
  Normalizer normalizer;
  if (!json.is_null()) normalizer.Append(json, place);
  return normalizer;
}

Normalizer Normalizer::Nfc() {
  Normalizer normalizer;
  normalizer.steps_.emplace_back(NormalFormStep{NormalForm::kNfc});
  return normalizer;
}

Normalizer Normalizer::Bert(const BertOptions& options) {
  Normalizer normalizer;
  normalizer.steps_.emplace_back(BertStep{options});
  return normalizer;
}

Normalizer Normalizer::ReplaceSpaces(std::string content) {
  Normalizer normalizer;
  normalizer.steps_.emplace_back(ReplaceStep{Pattern::Literal(" "), std::move(content)});
  return normalizer;
}

Normalizer Normalizer::Precompiled(std::string_view charsmap, std::string_view place) {
  Normalizer normalizer;
  if (!charsmap.empty()) normalizer.AppendPrecompiled(charsmap, place);
  return normalizer;
}

void Normalizer::Append(const Json& json, std::string_view place) {
  std::string type = GetString(json, "type", place);
  std::string here = StrCat(place, ".", type);
  if (type == "Sequence") {
    if (!json.contains("normalizers") || !json["normalizers"].is_array()) {
      ThrowBadInput(here, "a list 'normalizers'", "none");
    }
    for (const Json& part : json["normalizers"]) Append(part, here);
  } else if (type == "NFC") {
    steps_.emplace_back(NormalFormStep{NormalForm::kNfc});
  } else if (type == "NFD") {
    steps_.emplace_back(NormalFormStep{NormalForm::kNfd});
  } else if (type == "NFKC") {
    steps_.emplace_back(NormalFormStep{NormalForm::kNfkc});
  } else if (type == "NFKD") {
    steps_.emplace_back(NormalFormStep{NormalForm::kNfkd});
  } else if (type == "Lowercase") {
    steps_.emplace_back(LowercaseStep{});
  } else if (type == "StripAccents") {
    steps_.emplace_back(StripAccentsStep{});
  } else if (type == "Nmt") {
    steps_.emplace_back(NmtStep{});
  } else if (type == "ByteLevel") {
    steps_.emplace_back(ByteLevelStep{});
  } else if (type == "BertNormalizer") {
    AppendBert(json, here);
  } else if (type == "Precompiled") {
    std::string charsmap;
    const std::string coded = GetString(json, "precompiled_charsmap", here);
    if (!DecodeBase64(coded, charsmap)) {
      ThrowBadInput(here, "base64 as 'precompiled_charsmap'", coded.substr(0, 60));
    }
    if (!charsmap.empty()) AppendPrecompiled(charsmap, here);
  } else if (type == "Prepend") {
    steps_.emplace_back(PrependStep{GetString(json, "prepend", here)});
  } else if (type == "Replace") {
    if (!json.contains("pattern")) ThrowBadInput(here, "the key 'pattern'", "none");
    steps_.emplace_back(
        ReplaceStep{Pattern::Parse(json["pattern"], here), GetString(json, "content", here)});
  } else if (type == "Strip") {
    steps_.emplace_back(StripStep{GetBool(json, "strip_left", here, true),
                                  GetBool(json, "strip_right", here, true)});
  } else {
    ThrowBadInput(place,
                  "a normalizer among BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, "
                  "Nmt, Precompiled, Prepend, Replace, Sequence, Strip, StripAccents",
                  StrCat("'", type, "', which is not supported"));
  }
}

void Normalizer::AppendBert(const Json& json, std::string_view place) {
  BertOptions options;
  options.clean_text = GetBool(json, "clean_text", place, true);
  options.handle_chinese_chars = GetBool(json, "handle_chinese_chars", place, true);
  options.lowercase = GetBool(json, "lowercase", place, true);
  // Null means: as for the lower case.
  options.strip_accents = GetBool(json, "strip_accents", place, options.lowercase);
  steps_.emplace_back(BertStep{options});
}

void Normalizer::AppendPrecompiled(std::string_view charsmap, std::string_view place) {
  steps_.emplace_back(PrecompiledStep{Charsmap(charsmap, place), Regex("\\X", place)});
}

std::string Normalizer::Apply(std::string_view text) const {
  std::string out(text);
  for (const Step& step : steps_) {
    std::visit([&](const auto& concrete) { ApplyStep(concrete, out); }, step);
    RequireGrowth(text.size(), out.size());
  }
  return out;
}

void Normalizer::ApplyStep(const NormalFormStep& step, std::string& text) {
  if (!IsInNormalForm(text, step.form)) text = ToNormalForm(text, step.form);
}

void Normalizer::ApplyStep(const LowercaseStep&, std::string& text) { text = LowerCased(text); }

void Normalizer::ApplyStep(const StripAccentsStep&, std::string& text) {
  std::string out;
  ForEachCharacter(text, [&out](uint32_t code, std::string_view character) {
    if (!IsMark(code)) out += character;
  });
  text = std::move(out);
}

void Normalizer::ApplyStep(const NmtStep&, std::string& text) {
  std::string out;
  ForEachCharacter(text, [&out](uint32_t code, std::string_view character) {
    if (IsNmtControl(code)) return;
    if (IsNmtSpace(code)) {
      out += ' ';
    } else {
      out += character;
    }
  });
  text = std::move(out);
}

void Normalizer::ApplyStep(const BertStep& step, std::string& text) {
  if (step.options.clean_text) text = CleanedForBert(text);
  if (step.options.handle_chinese_chars) text = WithSpacesAroundIdeographs(text);
  if (step.options.strip_accents) {
    std::string out;
    ForEachCharacter(ToNormalForm(text, NormalForm::kNfd),
                     [&out](uint32_t code, std::string_view character) {
                       if (!IsNonspacingMark(code)) out += character;
                     });
    text = std::move(out);
  }
  if (step.options.lowercase) text = LowerCased(text);
}

void Normalizer::ApplyStep(const PrependStep& step, std::string& text) {
  if (!text.empty()) text.insert(0, step.content);
}

void Normalizer::ApplyStep(const ReplaceStep& step, std::string& text) {
  // The library looks for nothing in an empty text, not even for an empty match.
  if (!text.empty()) text = step.pattern.ReplaceAll(text, step.content, GrowthLimit(text.size()));
}

void Normalizer::ApplyStep(const StripStep& step, std::string& text) {
  if (step.left) text.erase(0, LeadingSpace(text));
  if (step.right) text.resize(text.size() - TrailingSpace(text));
}

// A short grapheme that begins with something of the map becomes its replacement as a whole;
// otherwise each character is looked up. The map's shortest match counts, unlike in SentencePiece.
void Normalizer::ApplyStep(const PrecompiledStep& step, std::string& text) {
  std::string out;
  Regex::Scanner scanner(step.grapheme);
  scanner.Start(text);
  for (size_t begin = 0, end = 0; scanner.Next(&begin, &end);) {
    const std::string_view grapheme = std::string_view(text).substr(begin, end - begin);
    const Charsmap::Match whole = step.charsmap.Shortest(grapheme);
    if (grapheme.size() < kLongGrapheme && whole.length > 0) {
      out += whole.replacement;
    } else {
      ForEachCharacter(grapheme, [&](uint32_t, std::string_view character) {
        const Charsmap::Match match = step.charsmap.Shortest(character);
        out += match.length > 0 ? match.replacement : character;
      });
    }
    RequireGrowth(text.size(), out.size());
  }
  text = std::move(out);
}

void Normalizer::ApplyStep(const ByteLevelStep&, std::string& text) {
  text = ByteLevelPieceOf(text);
}

}  // namespace qualm
