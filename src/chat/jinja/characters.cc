// Looks characters up in the generated tables; the rules for whole texts (the final sigma, which
// letter of a word is a title letter) are those of CPython's unicodeobject.c.
#include "chat/jinja/characters.h"

#include <algorithm>

#include "chat/jinja/character_data.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

struct CaseMap {
  std::span<const CaseRun> runs;
  std::span<const CaseExpansion> expansions;
};

const CaseMap& UpperMap() {
  static const CaseMap map = {kUpperRuns, kUpperExpansions};
  return map;
}
const CaseMap& LowerMap() {
  static const CaseMap map = {kLowerRuns, kLowerExpansions};
  return map;
}
const CaseMap& TitleMap() {
  static const CaseMap map = {kTitleRuns, kTitleExpansions};
  return map;
}
const CaseMap& FoldMap() {
  static const CaseMap map = {kFoldRuns, kFoldExpansions};
  return map;
}

void AppendMapped(uint32_t code, const CaseMap& map, std::string& out) {
  const auto expansion = std::ranges::lower_bound(map.expansions, code, {}, &CaseExpansion::code);
  if (expansion != map.expansions.end() && expansion->code == code) {
    for (const uint32_t one : expansion->to) {
      if (one != 0) AppendUtf8(one, out);
    }
    return;
  }

  const auto run = std::ranges::lower_bound(map.runs, code, {}, &CaseRun::last);
  const bool is_mapped = run != map.runs.end() && code >= run->first &&
                         (code - run->first) % static_cast<uint32_t>(run->stride) == 0;
  AppendUtf8(is_mapped ? static_cast<uint32_t>(static_cast<int64_t>(code) + run->delta) : code,
             out);
}

bool IsCased(uint32_t code) { return Is(code, kLower | kUpper | kTitle); }

// Whether the capital sigma at `at` ends a word: cased before it and not after it, characters that
// case ignores left out.
bool IsFinalSigma(std::u32string_view points, size_t at) {
  size_t before = at;
  while (before > 0 && Is(points[before - 1], kCaseIgnorable)) --before;
  if (before == 0 || !IsCased(points[before - 1])) return false;

  size_t after = at + 1;
  while (after < points.size() && Is(points[after], kCaseIgnorable)) ++after;
  return after == points.size() || !IsCased(points[after]);
}

void AppendLower(std::u32string_view points, size_t at, std::string& out) {
  if (points[at] == 0x3a3) {
    AppendUtf8(IsFinalSigma(points, at) ? 0x3c2 : 0x3c3, out);
  } else {
    AppendMapped(points[at], LowerMap(), out);
  }
}

std::string Mapped(std::string_view text, const CaseMap& map) {
  std::string out;
  for (const char32_t code : PointsOf(text)) AppendMapped(code, map, out);
  return out;
}

}  // namespace

uint16_t FlagsOf(uint32_t code) {
  const auto after = std::ranges::upper_bound(kFlagRuns, code, {}, &FlagRun::first);
  return std::prev(after)->flags;
}

std::u32string PointsOf(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const std::string_view character = text.substr(at, CharacterLength(text.substr(at)));
    points.push_back(CodePoint(character));
    at += character.size();
  }
  return points;
}

std::string BytesOf(std::u32string_view points) {
  std::string bytes;
  for (const char32_t code : points) AppendUtf8(code, bytes);
  return bytes;
}

std::string Upper(std::string_view text) { return Mapped(text, UpperMap()); }
std::string Fold(std::string_view text) { return Mapped(text, FoldMap()); }

std::string Lower(std::string_view text) {
  const std::u32string points = PointsOf(text);
  std::string out;
  for (size_t i = 0; i < points.size(); ++i) AppendLower(points, i, out);
  return out;
}

std::string Title(std::string_view text) {
  const std::u32string points = PointsOf(text);
  std::string out;
  bool after_cased = false;
  for (size_t i = 0; i < points.size(); ++i) {
    if (after_cased) {
      AppendLower(points, i, out);
    } else {
      AppendMapped(points[i], TitleMap(), out);
    }
    after_cased = IsCased(points[i]);
  }
  return out;
}

std::string Capitalize(std::string_view text) {
  const std::u32string points = PointsOf(text);
  std::string out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (i == 0) {
      AppendMapped(points[i], TitleMap(), out);
    } else {
      AppendLower(points, i, out);
    }
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  const std::u32string points = PointsOf(text);
  std::string out;
  for (size_t i = 0; i < points.size(); ++i) {
    if (Is(points[i], kUpper)) {
      AppendLower(points, i, out);
    } else if (Is(points[i], kLower)) {
      AppendMapped(points[i], UpperMap(), out);
    } else {
      AppendUtf8(points[i], out);
    }
  }
  return out;
}

bool IsOfCase(std::string_view text, CharacterFlag wanted) {
  const int others = kTitle | (wanted == kLower ? kUpper : kLower);
  bool has_wanted = false;
  for (const char32_t code : PointsOf(text)) {
    if (Is(code, others)) return false;
    has_wanted = has_wanted || Is(code, wanted);
  }
  return has_wanted;
}

std::string_view Strip(std::string_view text, const std::u32string* set, bool left, bool right) {
  const auto is_stripped = [&](uint32_t code) {
    return set == nullptr ? Is(code, kSpace) : set->find(code) != std::u32string::npos;
  };
  while (left && !text.empty()) {
    const size_t length = CharacterLength(text);
    if (!is_stripped(CodePoint(text.substr(0, length)))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
    if (!is_stripped(CodePoint(text.substr(begin)))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace qualm::jinja
