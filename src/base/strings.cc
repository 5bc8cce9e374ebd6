// The functions of strings.h that are not templates. Numbers become text by std::to_chars, which is
// exact and does not depend on the locale.
#include "base/strings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/error.h"

namespace qualm {
namespace internal {

void AppendPiece(std::string& out, std::string_view piece) { out.append(piece); }

template <typename T>
static void AppendChars(std::string& out, T value) {
  // The shortest text that reads back as the same value; 40 characters hold any number.
  std::array<char, 40> buffer;
  auto [end, ec] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  QUALM_CHECK(ec == std::errc());
  out.append(buffer.data(), end);
}

void AppendInteger(std::string& out, int64_t value) { AppendChars(out, value); }
void AppendUnsigned(std::string& out, uint64_t value) { AppendChars(out, value); }
void AppendReal(std::string& out, double value) { AppendChars(out, value); }

}  // namespace internal

std::string Join(std::span<const std::string> parts, std::string_view separator) {
  std::string out;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (true) {
    size_t end = text.find(separator, start);
    parts.emplace_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::string_view Trim(std::string_view text) {
  const char* blanks = " \t\r\n";
  size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string ToLower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string Fixed(double value, int digits) {
  std::array<char, 400> buffer;
  int n = std::snprintf(buffer.data(), buffer.size(), "%.*f", digits, value);
  return std::string(buffer.data(), static_cast<size_t>(n));
}

std::string Significant(double value, int digits) {
  std::array<char, 64> buffer;
  const int n = std::snprintf(buffer.data(), buffer.size(), "%.*g", std::min(digits, 20), value);
  return {buffer.data(), static_cast<size_t>(n)};
}

std::string Scientific(double value, int digits) {
  std::array<char, 64> buffer;
  const int n = std::snprintf(buffer.data(), buffer.size(), "%.*e", std::min(digits, 20), value);
  return {buffer.data(), static_cast<size_t>(n)};
}

std::string HumanBytes(uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? StrCat(bytes, " B") : StrCat(Fixed(value, 2), " ", kUnits[unit]);
}

std::string HumanSeconds(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "?";
  // Limits are where rounding would give one digit more.
  if (seconds < 9.95) return StrCat(Fixed(seconds, 1), "s");
  if (seconds < 59.5) return StrCat(Fixed(seconds, 0), "s");
  auto total = static_cast<int64_t>(std::llround(seconds));

  // Minutes and seconds below an hour, hours and minutes from there on.
  int64_t hours = total / 3600, minutes = total / 60 % 60, rest = total % 60;
  auto two = [](int64_t v) { return StrCat(v < 10 ? "0" : "", v); };
  return hours > 0 ? StrCat(hours, "h", two(minutes), "m") : StrCat(minutes, "m", two(rest), "s");
}

// Levenshtein's distance, with one row of the table at a time.
static size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  // row[j] is the distance between the first i letters of a and the first j of b.
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string NearestName(std::string_view name, std::span<const std::string> known) {
  constexpr size_t kLongest = 200;  // the comparison takes quadratic time; names come from files
  std::string best;
  if (name.size() > kLongest) return best;

  // A name is near if it differs in at most a third of its letters, or in two.
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string& candidate : known) {
    if (candidate.size() > kLongest) continue;
    // The first of several equally near names wins.
    size_t distance = EditDistance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

void ThrowUnknownName(std::string_view place, std::string_view kind, std::string_view name,
                      std::span<const std::string> known) {
  std::string near = NearestName(name, known);
  std::string message = StrCat("unknown ", kind, " '", name, "'; ");
  if (!near.empty()) message += StrCat("did you mean '", near, "'? ");
  throw Error(ErrorKind::kBadInput, place, message + "available: " + Join(known, ", "));
}

// Greedy matching: after a mismatch, the last star takes one character more and matching resumes
// after it.
bool MatchesGlob(std::string_view text, std::string_view pattern) {
  // `star` is the last star in the pattern, `retry` is where its text ends so far.
  size_t t = 0, p = 0, star = std::string_view::npos, retry = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p;
      ++p;
      retry = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      ++retry;
      t = retry;
    } else {
      return false;
    }
  }

  // Stars that are left match nothing.
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

// How many bytes follow the first byte of a character; kNone if it cannot be a first byte.
static constexpr size_t kNone = 9;
static size_t FollowingBytes(unsigned char first) {
  if (first < 0x80) return 0;
  if ((first >> 5) == 6) return 1;
  if ((first >> 4) == 14) return 2;
  if ((first >> 3) == 30) return 3;
  return kNone;
}

bool IsValidUtf8(std::string_view s) {
  size_t i = 0;
  while (i < s.size()) {
    auto c = static_cast<unsigned char>(s[i]);
    size_t extra = FollowingBytes(c);
    if (extra == kNone || i + extra >= s.size()) return false;
    // Collect the bits of the code point from the first byte and from those that follow.
    uint32_t code = extra == 0 ? c : c & (0x3fu >> extra);
    for (size_t k = 1; k <= extra; ++k) {
      auto next = static_cast<unsigned char>(s[i + k]);
      if ((next >> 6) != 2) return false;
      code = code << 6 | (next & 0x3f);
    }

    // A code point must need this many bytes and must not be a surrogate.
    static constexpr std::array<uint32_t, 4> kSmallest = {0, 0x80, 0x800, 0x10000};
    if (code < kSmallest[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
      return false;
    }
    i += extra + 1;
  }
  return true;
}

}  // namespace qualm
