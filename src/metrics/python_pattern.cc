// Reads a pattern of Python's `re` by recursive descent, with the rules and the errors of Python
// 3.11's own parser, and writes each item for PCRE2. The width of every part is kept, because
// Python asks for lookbehinds of one width.
#include "metrics/python_pattern.h"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "metrics/pattern_reader.h"
#include "metrics/python_class.h"

namespace qualm {
namespace {

constexpr size_t kMostBytes = 16384;         // of a pattern
constexpr int kMostDepth = 100;              // of groups inside groups
constexpr uint64_t kMostRepeats = 65535;     // PCRE2's bound
constexpr uint64_t kUnbounded = 1ull << 40;  // widths and counts stop growing here

// How many characters a part of a pattern matches.
struct Width {
  uint64_t least = 0, most = 0;
};

uint64_t Bounded(uint64_t value) { return std::min(value, kUnbounded); }

Width Sum(Width a, Width b) { return {Bounded(a.least + b.least), Bounded(a.most + b.most)}; }

// Widths are at most 2^40 and counts at most 65535 or 2^40, so a product may not fit.
uint64_t Product(uint64_t width, uint64_t count) {
  return width == 0 || count == 0 ? 0 : count > kUnbounded / width ? kUnbounded : width * count;
}

// One item of a sequence, written for PCRE2.
struct Item {
  enum class Kind {
    kUnit,       // one character or something in parentheses: a quantifier may follow it
    kAssertion,  // a lookaround: put into parentheses before a quantifier
    kAnchor,     // Python does not repeat these
    kRepeat,     // nor what is repeated already
  };
  std::string text;
  Width width;
  Kind kind = Kind::kUnit;
};

// A part of a pattern: a sequence or an alternation.
struct Written {
  std::string text;
  Width width;
};

class Translator : private PatternReader {
 public:
  using PatternReader::PatternReader;

  TranslatedPattern Run() {
    PatternFlags flags;
    Written all = Alternation(flags, 0);
    if (!AtEnd()) Refuse("an opening parenthesis for every closing one");
    for (const auto& [group, at] : conditions_) {
      if (group >= groups_.size()) RefuseAt(at, "a group that is there");
    }
    return {std::move(all.text), groups_.size() - 1};
  }

 private:
  // A capturing group: its width once it is closed.
  struct Group {
    std::optional<Width> width;
  };

  // --- sequences

  // Alternatives up to the end of the pattern or a closing parenthesis, which stays.
  Written Alternation(PatternFlags& flags, int depth) {
    if (depth > kMostDepth) RefuseUnequal(StrCat("groups nested more than ", kMostDepth, " deep"));
    Written all = Sequence(flags, depth, /*is_first=*/depth == 0);
    while (Match('|')) {
      const Written next = Sequence(flags, depth, /*is_first=*/false);
      all.text += StrCat("|", next.text);
      all.width = {std::min(all.width.least, next.width.least),
                   std::max(all.width.most, next.width.most)};
    }
    return all;
  }

  // Items up to '|', ')' or the end. Global flags may open the first sequence of the pattern.
  Written Sequence(PatternFlags& flags, int depth, bool is_first) {
    std::vector<Item> items;
    while (!AtEnd() && !NextIs('|') && !NextIs(')')) {
      if (flags.verbose && SkipVerbose()) continue;
      const char32_t c = points_[at_++];
      if (c == '*' || c == '+' || c == '?' || c == '{') {
        Quantify(c, flags, items);
      } else if (c == '(') {
        OpenGroup(flags, depth, is_first && items.empty(), items);
      } else {
        items.push_back(SimpleItem(c, flags));
      }
    }

    Written sequence;
    for (const Item& item : items) {
      sequence.text += item.text;
      sequence.width = Sum(sequence.width, item.width);
    }
    return sequence;
  }

  // A blank or a comment of the flag x.
  bool SkipVerbose() {
    static constexpr std::u32string_view kBlanks = U" \t\n\r\v\f";
    if (kBlanks.find(Peek()) != std::u32string_view::npos) {
      ++at_;
      return true;
    }
    if (!Match('#')) return false;
    const size_t end = points_.find(U'\n', at_);
    at_ = end == std::u32string::npos ? points_.size() : end + 1;
    return true;
  }

  Item SimpleItem(char32_t c, const PatternFlags& flags) {
    switch (c) {
      case '\\':
        return Escape(flags);
      case '[':
        return {Set(flags).Spelled(flags), {1, 1}};
      case '.':
        return {flags.dot_all ? "." : "[^\\n]", {1, 1}, Item::Kind::kUnit};
      case '^':
        // Where no other character than a line end comes before.
        return {flags.multiline ? "(?<![^\\n])" : "\\A", {}, Item::Kind::kAnchor};
      case '$':
        return {flags.multiline ? "(?![^\\n])" : "(?=\\n?\\z)", {}, Item::Kind::kAnchor};
      default:
        return Literal(c, flags);
    }
  }

  Item Literal(char32_t c, const PatternFlags& flags) const {
    if (IsSurrogate(c)) RefuseUnequal("a surrogate");
    const bool has_case = IsLetter(c) || (c >= 0x80 && !flags.ascii);
    if (!flags.ignore_case || !has_case) return {SpelledCodePoint(c), {1, 1}};
    CharacterSet set;
    set.AddRange(c, c);
    return {set.Spelled(flags), {1, 1}};
  }

  // --- quantifiers

  uint64_t Count(uint64_t otherwise) {
    if (!IsDigit(Peek())) return otherwise;
    uint64_t count = 0;
    while (IsDigit(Peek())) count = Bounded(count * 10 + (points_[at_++] - '0'));
    return count;
  }

  // The bounds after '{'. If there are none, as in "{x}", nothing is read: it is a plain brace.
  std::optional<Width> Braces() {
    const size_t start = at_;
    if (NextIs('}')) return std::nullopt;
    Width bounds;
    const bool has_least = IsDigit(Peek());
    bounds.least = Count(0);
    if (Match(',')) {
      bounds.most = Count(kUnbounded);
    } else {
      bounds.most = has_least ? bounds.least : kUnbounded;
    }
    if (Match('}')) return bounds;
    at_ = start;
    return std::nullopt;
  }

  void Quantify(char32_t c, const PatternFlags& flags, std::vector<Item>& items) {
    Width bounds = {c == '+' ? 1u : 0u, c == '?' ? 1 : kUnbounded};
    if (c == '{') {
      const std::optional<Width> read = Braces();
      if (!read) {
        items.push_back(Literal(c, flags));
        return;
      }
      bounds = *read;
    }

    // What Python refuses, and what PCRE2 cannot count.
    if (bounds.most < bounds.least) Refuse("at least as many repetitions at most as at least");
    if (items.empty() || items.back().kind == Item::Kind::kAnchor) Refuse("something to repeat");
    if (items.back().kind == Item::Kind::kRepeat) Refuse("one quantifier for each item");
    if (bounds.least > kMostRepeats || (bounds.most > kMostRepeats && bounds.most != kUnbounded)) {
      RefuseUnequal(StrCat("more than ", kMostRepeats, " repetitions"));
    }

    Item& item = items.back();
    if (item.kind != Item::Kind::kUnit) item.text = StrCat("(?:", item.text, ")");
    const std::string most = bounds.most == kUnbounded ? "" : StrCat(bounds.most);
    item.text += StrCat("{", bounds.least, ",", most, "}");
    item.text += Match('?') ? "?" : Match('+') ? "+" : "";
    item.width = {Product(item.width.least, bounds.least), Product(item.width.most, bounds.most)};
    item.kind = Item::Kind::kRepeat;
  }

  // --- escapes

  // After a backslash outside sets.
  Item Escape(const PatternFlags& flags) {
    const char32_t c = Get("something after a backslash");
    const std::string category = CategoryBody(c, flags.ascii);
    if (!category.empty()) return {StrCat("[", category, "]"), {1, 1}};
    if (c == 'A') return {"\\A", {}, Item::Kind::kAnchor};
    if (c == 'Z') return {"\\z", {}, Item::Kind::kAnchor};
    if (c == 'b' || c == 'B') return WordBoundary(c == 'b', flags);
    if (const auto control = ControlEscape(c)) return Literal(*control, flags);
    if (const auto code = CodePointEscape(c)) return Literal(*code, flags);
    if (c == '0') return Literal(Octal(0), flags);
    if (IsDigit(c)) return NumberEscape(c, flags);
    if (IsLetter(c)) Refuse(StrCat("an escape that it knows, not \\", static_cast<char>(c)));
    return Literal(c, flags);
  }

  // A place between a word character and another one, spelled out because PCRE2's \b depends on its
  // version. Python finds no \B in an empty text.
  static Item WordBoundary(bool is_boundary, const PatternFlags& flags) {
    const std::string word = StrCat("[", CategoryBody('w', flags.ascii), "]");
    const std::string before = StrCat("(?<=", word, ")"), no_before = StrCat("(?<!", word, ")");
    const std::string after = StrCat("(?=", word, ")"), no_after = StrCat("(?!", word, ")");
    std::string text = is_boundary
                           ? StrCat("(?:", before, no_after, "|", no_before, after, ")")
                           : StrCat("(?!\\A\\z)(?:", before, after, "|", no_before, no_after, ")");
    return {std::move(text), {}, Item::Kind::kAnchor};
  }

  // \1 to \99 are groups; three octal digits are a character.
  Item NumberEscape(char32_t first, const PatternFlags& flags) {
    size_t group = first - '0';
    if (IsDigit(Peek())) {
      const char32_t second = points_[at_++];
      if (IsOctal(first) && IsOctal(second) && IsOctal(Peek())) {
        --at_;
        return Literal(Octal(first - '0'), flags);
      }
      group = group * 10 + (second - '0');
    }
    return BackReference(group, flags);
  }

  Item BackReference(size_t group, const PatternFlags& flags) const {
    if (group >= groups_.size()) Refuse("references to groups that are there");
    CheckReference(group);
    if (!groups_[group].width) Refuse("references to closed groups");
    if (flags.ignore_case) RefuseUnequal("a back reference that ignores case");
    return {StrCat("\\g{", group, "}"), *groups_[group].width};
  }

  // A lookbehind may use groups from before it only.
  void CheckReference(size_t group) const {
    if (!lookbehind_groups_) return;
    if (group >= groups_.size() || !groups_[group].width) Refuse("references to closed groups");
    if (group >= *lookbehind_groups_) Refuse("no reference to a group of the same lookbehind");
  }

  // --- groups

  void Close() {
    if (!Match(')')) Refuse("an end of every group");
  }

  // After '('. Comments and global flags add no item.
  void OpenGroup(PatternFlags& flags, int depth, bool is_start, std::vector<Item>& items) {
    if (!Match('?')) {
      items.push_back(Capture(U"", flags, depth));
      return;
    }
    const char32_t c = Get("something after (?");
    if (c == 'P') {
      items.push_back(NamedGroup(flags, depth));
    } else if (c == ':' || c == '>') {
      items.push_back(Plain(c == ':' ? "(?:" : "(?>", flags, depth));
    } else if (c == '#') {
      while (Get("an end of every comment") != ')') {
      }
    } else if (c == '=' || c == '!') {
      items.push_back(Lookaround(c == '=' ? "(?=" : "(?!", flags, depth));
    } else if (c == '<') {
      items.push_back(Lookbehind(flags, depth));
    } else if (c == '(') {
      items.push_back(Condition(flags, depth));
    } else {
      --at_;
      FlagGroup(flags, depth, is_start, items);
    }
  }

  Item Capture(const std::u32string& name, PatternFlags flags, int depth) {
    const size_t number = groups_.size();
    groups_.emplace_back();
    if (!name.empty() && !names_.emplace(name, number).second) Refuse("every group's name once");
    const Written inner = Alternation(flags, depth + 1);
    Close();
    groups_[number].width = inner.width;
    return {StrCat("(", inner.text, ")"), inner.width};
  }

  Item Plain(std::string_view open, PatternFlags flags, int depth) {
    const Written inner = Alternation(flags, depth + 1);
    Close();
    return {StrCat(open, inner.text, ")"), inner.width};
  }

  Item Lookaround(std::string_view open, const PatternFlags& flags, int depth) {
    return {Plain(open, flags, depth).text, {}, Item::Kind::kAssertion};
  }

  Item Lookbehind(const PatternFlags& flags, int depth) {
    const char32_t c = Get("= or ! after (?<");
    if (c != '=' && c != '!') Refuse("= or ! after (?<");

    // The outermost lookbehind says which groups may be referred to.
    const bool is_outermost = !lookbehind_groups_.has_value();
    if (is_outermost) lookbehind_groups_ = groups_.size();
    const Item inner = Plain(c == '=' ? "(?<=" : "(?<!", flags, depth);
    if (is_outermost) lookbehind_groups_.reset();
    if (inner.width.least != inner.width.most || inner.width.most == kUnbounded) {
      Refuse("lookbehinds of one width");
    }
    return {inner.text, {}, Item::Kind::kAssertion};
  }

  // ASCII's letters, digits and underscores, and anything beyond ASCII.
  void CheckName(const std::u32string& name) const {
    const bool good =
        !name.empty() && !IsDigit(name[0]) && std::ranges::all_of(name, [](char32_t c) {
          return IsLetter(c) || IsDigit(c) || c == '_' || c >= 0x80;
        });
    if (!good) Refuse("names of letters, digits and underscores");
  }

  size_t GroupOfName(const std::u32string& name) const {
    CheckName(name);
    const auto found = names_.find(name);
    if (found == names_.end()) Refuse("names of groups that are there");
    return found->second;
  }

  // After (?P.
  Item NamedGroup(const PatternFlags& flags, int depth) {
    if (Match('=')) return BackReference(GroupOfName(Until(')')), flags);
    if (!Match('<')) Refuse("< or = after (?P");
    const std::u32string name = Until('>');
    CheckName(name);
    return Capture(name, flags, depth);
  }

  // (?(1)yes|no): by whether a group took part.
  Item Condition(PatternFlags flags, int depth) {
    const std::u32string name = Until(')');
    size_t group = 0;
    if (!name.empty() && std::ranges::all_of(name, IsDigit)) {
      for (char32_t c : name) group = std::min<size_t>(group * 10 + (c - '0'), 1u << 30);
      if (group == 0) Refuse("group numbers from 1");
      conditions_.emplace(group, at_);
    } else {
      group = GroupOfName(name);
    }
    CheckReference(group);

    if (depth >= kMostDepth) RefuseUnequal(StrCat("groups nested more than ", kMostDepth, " deep"));
    const Written yes = Sequence(flags, depth + 1, /*is_first=*/false);
    Written no;
    std::string text = StrCat("(?(", group, ")", yes.text);
    if (Match('|')) {
      no = Sequence(flags, depth + 1, /*is_first=*/false);
      text += StrCat("|", no.text);
      if (NextIs('|')) Refuse("at most two branches of a condition");
    }
    Close();
    return {StrCat(text, ")"),
            {std::min(yes.width.least, no.width.least), std::max(yes.width.most, no.width.most)}};
  }

  // --- flags

  // Letters of flags as a set: bit 0 is the first one.
  static constexpr std::u32string_view kFlagLetters = U"imsxau";
  static constexpr unsigned kLocal = 0b001111, kAscii = 0b010000, kUnicode = 0b100000;

  unsigned FlagBit(char32_t c) const {
    const size_t at = kFlagLetters.find(c);
    if (c == 'L') Refuse("no flag L, which is for bytes");
    if (at == std::u32string_view::npos) Refuse("flags among a, i, m, s, u, x or a known group");
    return 1u << at;
  }

  static void SetFlags(unsigned bits, bool value, PatternFlags& flags) {
    if (bits & 1) flags.ignore_case = value;
    if (bits & 2) flags.multiline = value;
    if (bits & 4) flags.dot_all = value;
    if (bits & 8) flags.verbose = value;
    if (bits & kAscii) flags.ascii = true;
    if (bits & kUnicode) flags.ascii = false;
  }

  // (?i) for the whole pattern, (?i-m:...) for what is inside.
  void FlagGroup(PatternFlags& flags, int depth, bool is_start, std::vector<Item>& items) {
    unsigned added = 0, removed = 0;
    while (!NextIs(')') && !NextIs(':') && !NextIs('-')) added |= FlagBit(Get("an end of flags"));
    if ((added & kAscii) != 0 && (added & kUnicode) != 0) Refuse("one of the flags a and u");
    if (NextIs(')')) {
      if (!is_start) Refuse("global flags only at its start");
      ++at_;
      global_types_ |= added & (kAscii | kUnicode);
      if (global_types_ == (kAscii | kUnicode)) Refuse("one of the flags a and u");
      SetFlags(added, true, flags);
      return;
    }

    if (Match('-')) {
      do {
        removed |= FlagBit(Get("an end of flags"));
      } while (!NextIs(':'));
      if ((removed & ~kLocal) != 0) Refuse("flags a and u that are not turned off");
    }
    ++at_;
    if ((added & removed) != 0) Refuse("no flag that is turned on and off");
    PatternFlags inner = flags;
    SetFlags(added, true, inner);
    SetFlags(removed, false, inner);
    items.push_back(Plain("(?:", inner, depth));
  }

  std::vector<Group> groups_ = std::vector<Group>(1);  // the first is the whole match
  std::map<std::u32string, size_t> names_;
  std::map<size_t, size_t> conditions_;      // groups of conditions by number, and where
  std::optional<size_t> lookbehind_groups_;  // groups before the lookbehind around this place
  unsigned global_types_ = 0;                // which of a and u the whole pattern has
};

}  // namespace

TranslatedPattern TranslatePythonPattern(std::string_view pattern, std::string_view place) {
  if (pattern.size() > kMostBytes) {
    ThrowBadInput(place, StrCat("a regular expression of at most ", kMostBytes, " bytes"),
                  StrCat(pattern.size()));
  }
  if (!IsValidUtf8(pattern)) ThrowBadInput(place, "a regular expression in UTF-8", "other bytes");
  return Translator(pattern, place).Run();
}

}  // namespace qualm
