#include "tokenize/nfc.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "tokenize/unicode_data.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// Hangul syllables: leading consonant x 588 + vowel x 28 + trailing consonant (0: none).
constexpr uint32_t kSyllables = 0xac00, kLeading = 0x1100, kVowels = 0x1161, kTrailing = 0x11a7;
constexpr uint32_t kLeadingCount = 19, kVowelCount = 21, kTrailingCount = 28;
constexpr uint32_t kSyllableCount = kLeadingCount * kVowelCount * kTrailingCount;

struct Properties {
  uint8_t combining_class = 0;
  bool may_change = false;  // NFC can replace it, or join it to the character before
};

class Tables {
 public:
  static const Tables& Get() {
    static const Tables tables;
    return tables;
  }

  Properties Of(uint32_t code) const {
    return pages_[page_of_[code >> kPageBits]][code & kPageMask];
  }

  // Appends the full canonical decomposition of `code`.
  void Decompose(uint32_t code, std::vector<uint32_t>& out) const {
    if (code - kSyllables < kSyllableCount) {
      uint32_t index = code - kSyllables;
      out.push_back(kLeading + index / (kVowelCount * kTrailingCount));
      out.push_back(kVowels + index / kTrailingCount % kVowelCount);
      if (uint32_t trailing = index % kTrailingCount) out.push_back(kTrailing + trailing);
      return;
    }
    auto found = decompositions_.find(code);
    if (found == decompositions_.end()) {
      out.push_back(code);
      return;
    }
    Decompose(found->second.first, out);  // the tables nest at most four deep
    if (found->second.second != 0) out.push_back(found->second.second);
  }

  // The composition of two characters, 0 if there is none.
  uint32_t Compose(uint32_t first, uint32_t second) const {
    if (first - kLeading < kLeadingCount && second - kVowels < kVowelCount) {
      return kSyllables + ((first - kLeading) * kVowelCount + second - kVowels) * kTrailingCount;
    }
    if (first - kSyllables < kSyllableCount && (first - kSyllables) % kTrailingCount == 0 &&
        second - kTrailing - 1 < kTrailingCount - 1) {
      return first + second - kTrailing;
    }
    auto found = compositions_.find(uint64_t{first} << 32 | second);
    return found == compositions_.end() ? 0 : found->second;
  }

 private:
  static constexpr uint32_t kPageBits = 7, kPageMask = (1u << kPageBits) - 1;

  Tables() : page_of_(0x110000 >> kPageBits, 0), pages_(1) {
    for (const auto& run : unicode::kCombining) {
      for (uint32_t code = run.first; code <= run.last; ++code) {
        Edit(code).combining_class = run.combining_class;
      }
    }
    for (const auto& entry : unicode::kDecomposing) {
      Edit(entry.code).may_change = true;
      decompositions_[entry.code] = entry;
    }
    for (const auto& entry : unicode::kComposing) {
      Edit(entry.second).may_change = true;
      decompositions_[entry.code] = entry;
      compositions_[uint64_t{entry.first} << 32 | entry.second] = entry.code;
    }
    for (uint32_t i = 0; i < kVowelCount; ++i) Edit(kVowels + i).may_change = true;
    for (uint32_t i = 1; i < kTrailingCount; ++i) Edit(kTrailing + i).may_change = true;
  }

  Properties& Edit(uint32_t code) {
    uint16_t& page = page_of_[code >> kPageBits];
    if (page == 0) {
      page = static_cast<uint16_t>(pages_.size());
      pages_.emplace_back();
    }
    return pages_[page][code & kPageMask];
  }

  std::vector<uint16_t> page_of_;  // page 0 holds nothing but defaults
  std::vector<std::array<Properties, 1u << kPageBits>> pages_;
  std::unordered_map<uint32_t, unicode::Decomposition> decompositions_;
  std::unordered_map<uint64_t, uint32_t> compositions_;
};

// Puts every run of combining marks into the order of their classes, equal ones as they stood.
void OrderMarks(const Tables& tables, std::vector<uint32_t>& text) {
  auto class_of = [&](uint32_t code) { return tables.Of(code).combining_class; };
  for (auto run = text.begin(); run != text.end();) {
    if (class_of(*run) == 0) {
      ++run;
      continue;
    }
    auto end = run;
    while (end != text.end() && class_of(*end) != 0) ++end;
    std::stable_sort(run, end, [&](uint32_t a, uint32_t b) { return class_of(a) < class_of(b); });
    run = end;
  }
}

void ComposeInPlace(const Tables& tables, std::vector<uint32_t>& text) {
  size_t kept = 0;
  size_t starter = text.size();  // index of the last character of class 0, in the kept part
  for (size_t i = 0; i < text.size(); ++i) {
    uint32_t code = text[i];
    uint8_t combining = tables.Of(code).combining_class;
    if (starter < kept) {
      // A mark between them of the same or a higher class (or a starter) blocks the two.
      bool adjacent = starter + 1 == kept;
      uint8_t before = adjacent ? 0 : tables.Of(text[kept - 1]).combining_class;
      bool blocked = !adjacent && (before == 0 || before >= combining);
      if (uint32_t composed = blocked ? 0 : tables.Compose(text[starter], code)) {
        text[starter] = composed;
        continue;
      }
    }
    if (combining == 0) starter = kept;
    text[kept++] = code;
  }
  text.resize(kept);
}

}  // namespace

bool IsSurelyNfc(std::string_view text) {
  const Tables& tables = Tables::Get();
  uint8_t last_class = 0;
  for (size_t i = 0; i < text.size();) {
    auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0xcc) {  // below U+0300 nothing combines and nothing changes
      i += lead < 0x80 ? 1 : 2;
      last_class = 0;
      continue;
    }
    size_t length = CharacterLength(text.substr(i));
    Properties of = tables.Of(CodePoint(text.substr(i, length)));
    if (of.may_change || (of.combining_class != 0 && of.combining_class < last_class)) return false;
    last_class = of.combining_class;
    i += length;
  }
  return true;
}

std::string ToNfc(std::string_view text) {
  if (IsSurelyNfc(text)) return std::string(text);
  const Tables& tables = Tables::Get();
  std::vector<uint32_t> codes;
  codes.reserve(text.size());
  while (!text.empty()) {
    size_t length = CharacterLength(text);
    tables.Decompose(CodePoint(text.substr(0, length)), codes);
    text.remove_prefix(length);
  }
  OrderMarks(tables, codes);
  ComposeInPlace(tables, codes);
  std::string out;
  for (uint32_t code : codes) AppendUtf8(code, out);
  return out;
}

}  // namespace qualm
