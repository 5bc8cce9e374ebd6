#include "tokenize/normalizer.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/nfc.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

bool IsWhiteSpace(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0d);
  return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) ||
         code == 0x2028 || code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
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
  normalizer.steps_.emplace_back(ComposeStep{});
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
    steps_.emplace_back(ComposeStep{});
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
    ThrowBadInput(place, "a normalizer among NFC, Prepend, Replace, Sequence, Strip",
                  StrCat("'", type, "', which is not supported"));
  }
}

std::string Normalizer::Apply(std::string_view text) const {
  const size_t most = GrowthLimit(text.size());
  std::string out(text);
  for (const Step& step : steps_) {
    std::visit([&](const auto& concrete) { ApplyStep(concrete, most, out); }, step);
  }
  return out;
}

void Normalizer::ApplyStep(const ComposeStep&, size_t, std::string& text) {
  if (!IsSurelyNfc(text)) text = ToNfc(text);
}

void Normalizer::ApplyStep(const PrependStep& step, size_t most, std::string& text) {
  if (text.empty()) return;
  text.insert(0, step.content);
  if (text.size() > most) {
    ThrowBadInput("tokenizer", StrCat("normalizers that leave at most ", most, " bytes"), "more");
  }
}

void Normalizer::ApplyStep(const ReplaceStep& step, size_t most, std::string& text) {
  text = step.pattern.ReplaceAll(text, step.content, most);
}

void Normalizer::ApplyStep(const StripStep& step, size_t, std::string& text) {
  if (step.left) text.erase(0, LeadingSpace(text));
  if (step.right) text.resize(text.size() - TrailingSpace(text));
}

}  // namespace qualm
