// One pass over the pattern. Character classes that PCRE2 cannot write as one pair of brackets
// become groups: a union is an alternation of classes, an intersection a class after lookaheads, a
// complement any character after a negative lookahead. All of them match exactly one character.
#include "tokenize/oniguruma.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/unicode.h"

namespace qualm {
namespace {

// Classes inside classes inside classes; real patterns have two.
constexpr size_t kDeepestClass = 32;

// Far beyond real patterns; bounds the work of putting groups around what is written already.
constexpr size_t kLongestPattern = size_t{1} << 17;  // bytes

// Unicode's White_Space is Z and these controls; PCRE2 counts U+180E too.
constexpr std::string_view kSpaces = "\\x09-\\x0d\\x85\\p{Z}";
constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
// Oniguruma has a separate table for Latin-1 outside of brackets, where these are word
// characters.
constexpr std::string_view kLatinWord = "\\xb2\\xb3\\xb9\\xbc-\\xbe";

// What a name means, as the inside of a character class.
struct NamedClass {
  std::string_view name, body;
};

// [:name:]
constexpr NamedClass kBracketClasses[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"ascii", "\\x00-\\x7f"},
    {"blank", "\\x09\\p{Zs}"},
    {"cntrl", "\\p{Cc}"},
    {"digit", "\\p{Nd}"},
    {"graph", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"},
    {"lower", "\\p{Lowercase}"},
    {"print", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}\\p{Zs}"},
    {"punct", "\\p{P}\\p{S}"},
    {"space", kSpaces},
    {"upper", "\\p{Uppercase}"},
    {"word", kWord},
    {"xdigit", "0-9A-Fa-f"},
};

// \p{Name}, in lower case and without what a name may be divided by; names that are not here mean
// the same to PCRE2 or nothing.
constexpr NamedClass kProperties[] = {
    {"alnum", "\\p{Alphabetic}\\p{Nd}"},
    {"alpha", "\\p{Alphabetic}"},
    {"blank", "\\x09\\p{Zs}"},
    {"closepunctuation", "\\p{Pe}"},
    {"cntrl", "\\p{Cc}"},
    {"connectorpunctuation", "\\p{Pc}"},
    {"control", "\\p{Cc}"},
    {"currencysymbol", "\\p{Sc}"},
    {"dashpunctuation", "\\p{Pd}"},
    {"decimalnumber", "\\p{Nd}"},
    {"digit", "\\p{Nd}"},
    {"enclosingmark", "\\p{Me}"},
    {"finalpunctuation", "\\p{Pf}"},
    {"format", "\\p{Cf}"},
    {"graph", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}"},
    {"initialpunctuation", "\\p{Pi}"},
    {"lc", "\\p{Lu}\\p{Ll}\\p{Lt}"},
    {"letter", "\\p{L}"},
    {"letternumber", "\\p{Nl}"},
    {"lineseparator", "\\p{Zl}"},
    {"lower", "\\p{Lowercase}"},
    {"lowercaseletter", "\\p{Ll}"},
    {"mark", "\\p{M}"},
    {"mathsymbol", "\\p{Sm}"},
    {"modifierletter", "\\p{Lm}"},
    {"modifiersymbol", "\\p{Sk}"},
    {"nonspacingmark", "\\p{Mn}"},
    {"number", "\\p{N}"},
    {"openpunctuation", "\\p{Ps}"},
    {"other", "\\p{C}"},
    {"otherletter", "\\p{Lo}"},
    {"othernumber", "\\p{No}"},
    {"otherpunctuation", "\\p{Po}"},
    {"othersymbol", "\\p{So}"},
    {"paragraphseparator", "\\p{Zp}"},
    {"print", "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Cf}\\p{Co}\\p{Zs}"},
    {"privateuse", "\\p{Co}"},
    {"punct", "\\p{P}"},
    {"punctuation", "\\p{P}"},
    {"separator", "\\p{Z}"},
    {"space", kSpaces},
    {"spaceseparator", "\\p{Zs}"},
    {"spacingmark", "\\p{Mc}"},
    {"symbol", "\\p{S}"},
    {"titlecaseletter", "\\p{Lt}"},
    {"unassigned", "\\p{Cn}"},
    {"upper", "\\p{Uppercase}"},
    {"uppercaseletter", "\\p{Lu}"},
    {"whitespace", kSpaces},
    {"word", kWord},
    {"xdigit", "0-9A-Fa-f"},
};

template <size_t kCount>
std::optional<std::string_view> BodyOf(const NamedClass (&classes)[kCount], std::string_view name) {
  for (const NamedClass& entry : classes) {
    if (entry.name == name) return entry.body;
  }
  return std::nullopt;
}

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

// A part of a character class: the inside of brackets, or the inside of negated ones.
struct ClassItem {
  std::string body;
  bool negated = false;
};

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view place) : pattern_(pattern), place_(place) {}

  std::string Run() {
    if (pattern_.size() > kLongestPattern) {
      ThrowBadInput(place_, StrCat("a pattern of at most ", kLongestPattern, " bytes"),
                    StrCat(pattern_.size()));
    }
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '(') {
        OpenGroup();
      } else if (c == ')') {
        CloseGroup();
      } else if (c == '{') {
        Interval();
      } else if (c == '*' || c == '+' || c == '?') {
        Copy(1);  // the atom stays the same: a second sign belongs to it too
      } else {
        atom_ = out_.size();
        if (c == '\\' && at_ + 1 < pattern_.size()) {
          Escape();
        } else if (c == '[') {
          ++at_;
          out_ += Class(/*depth=*/0);
        } else {
          Copy(1);
        }
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void ThrowUnsupported(std::string_view what) const {
    ThrowBadInput(place_, "a pattern that means the same to PCRE2", StrCat(what, " in ", pattern_));
  }

  void Copy(size_t bytes) {
    out_ += pattern_.substr(at_, bytes);
    at_ += bytes;
  }

  // "(", "(?:", "(?<=", "(?<name>", "(?i-m:" and the like; the option m, that a dot matches every
  // character, is PCRE2's s.
  void OpenGroup() {
    if (pattern_.substr(at_, 3) == "(?~") ThrowUnsupported("the absence operator (?~...)");
    groups_.push_back(out_.size());
    Copy(1);
    if (pattern_.substr(at_, 1) != "?") return;
    Copy(1);
    size_t end = at_;
    while (end < pattern_.size() &&
           (pattern_[end] == '-' || (pattern_[end] >= 'a' && pattern_[end] <= 'z'))) {
      ++end;
    }
    // Letters in front of anything else are not options ("(?<name>" begins with its bracket).
    if (end == pattern_.size() || (pattern_[end] != ':' && pattern_[end] != ')')) {
      if (end == at_ && at_ < pattern_.size()) Copy(1);
      return;
    }
    for (; at_ < end; ++at_) out_ += pattern_[at_] == 'm' ? 's' : pattern_[at_];
  }

  void CloseGroup() {
    if (groups_.empty()) {
      atom_ = out_.size();  // PCRE2 names the mistake
    } else {
      atom_ = groups_.back();
      groups_.pop_back();
    }
    Copy(1);
  }

  // {n}, {n,}, {n,m}, {,m}. A plus after it repeats the whole once more; to PCRE2 it would forbid
  // backtracking.
  void Interval() {
    const size_t end = pattern_.find('}', at_);
    const std::string_view inside =
        end == std::string_view::npos ? "" : pattern_.substr(at_ + 1, end - at_ - 1);
    const bool is_interval = inside.find_first_not_of("0123456789,") == std::string_view::npos &&
                             inside.size() > 0 &&
                             std::count(inside.begin(), inside.end(), ',') <= 1 && inside != ",";
    if (!is_interval) {
      atom_ = out_.size();
      out_ += "\\{";
      ++at_;
      return;
    }

    out_ += inside.starts_with(',') ? StrCat("{0", inside, "}") : StrCat("{", inside, "}");
    at_ = end + 1;
    if (pattern_.substr(at_, 1) == "+") {
      out_.insert(atom_, "(?:");
      out_ += ")";
    }
  }

  // An escape outside of a character class.
  void Escape() {
    const char c = pattern_[at_ + 1];
    const std::string word = StrCat(kWord, kLatinWord);
    const auto put = [&](const std::string& text) {
      out_ += text;
      at_ += 2;
    };
    switch (c) {
      case 'w':
        return put(StrCat("[", word, "]"));
      case 'W':
        return put(StrCat("[^", word, "]"));
      case 'b':
        return put(
            StrCat("(?:(?<=[", word, "])(?![", word, "])|(?<![", word, "])(?=[", word, "]))"));
      case 'B':
        return put(
            StrCat("(?:(?<=[", word, "])(?=[", word, "])|(?<![", word, "])(?![", word, "]))"));
      case 'O':
        return put("(?s:.)");
      case 'N':
        return put("[^\\n]");
      case 'y':
      case 'Y':
        ThrowUnsupported(StrCat("\\", c));
      case 'Q':
      case 'E':
        return put(std::string(1, c));  // ordinary letters
      default:
        break;
    }

    const std::optional<ClassItem> item = ClassEscape();
    if (item) {
      out_ += StrCat(item->negated ? "[^" : "[", item->body, "]");
    } else if (!CodePointEscape(out_)) {
      Copy(EscapeLength());
    }
  }

  // \s \S \d \D \h \H \p{...} \P{...}, which mean the same inside and outside of brackets; at_ is
  // after it then. Nothing for any other escape.
  std::optional<ClassItem> ClassEscape() {
    const auto take = [&](std::string_view body, bool negated) {
      at_ += 2;
      return ClassItem{std::string(body), negated};
    };
    switch (pattern_[at_ + 1]) {
      case 's':
        return take(kSpaces, false);
      case 'S':
        return take("\\S\\x{180e}", false);
      case 'd':
        return take("\\p{Nd}", false);
      case 'D':
        return take("\\P{Nd}", false);
      case 'h':
        return take("0-9A-Fa-f", false);
      case 'H':
        return take("\\x00-/:-@G-`g-\\x{10ffff}", false);
      case 'p':
      case 'P':
        return Property();
      default:
        return std::nullopt;
    }
  }

  // \p{Name}, \p{^Name}, \P{Name}. Without a brace the letter is ordinary.
  ClassItem Property() {
    bool negated = pattern_[at_ + 1] == 'P';
    const size_t end = pattern_.find('}', at_);
    if (pattern_.substr(at_ + 2, 1) != "{" || end == std::string_view::npos) {
      at_ += 2;
      return {std::string(1, negated ? 'P' : 'p'), false};
    }

    std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    at_ = end + 1;
    if (name.starts_with('^')) {
      name.remove_prefix(1);
      negated = !negated;
    }
    std::string plain;
    for (char c : name) {
      if (c != ' ' && c != '_' && c != '-')
        plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    const std::optional<std::string_view> body = BodyOf(kProperties, plain);
    if (body) return {std::string(*body), negated};
    // A script means the characters of that script, not also those that are used with it.
    const std::string_view kind = IsScriptName(name) ? "sc:" : "";
    return {StrCat(negated ? "\\P{" : "\\p{", kind, name, "}"), false};
  }

  // Bytes of an escape that means the same to PCRE2: \x{...} and \o{...} go up to their brace.
  size_t EscapeLength() const {
    const char c = pattern_[at_ + 1];
    if ((c != 'x' && c != 'o') || pattern_.substr(at_ + 2, 1) != "{") return 2;
    const size_t end = pattern_.find('}', at_);
    return end == std::string_view::npos ? 2 : end + 1 - at_;
  }

  // \uHHHH; appends PCRE2's spelling.
  bool CodePointEscape(std::string& out) {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    if (pattern_[at_ + 1] != 'u' || digits.size() < 4) return false;
    if (!std::all_of(digits.begin(), digits.end(), IsHexDigit)) return false;
    out += StrCat("\\x{", digits, "}");
    at_ += 6;
    return true;
  }

  // What is between two && of a class: the inside of brackets, and further expressions.
  struct Term {
    std::string body;
    std::vector<std::string> others;

    std::string Expression() const {
      if (others.empty()) return body.empty() ? "(?!)" : StrCat("[", body, "]");
      std::string out = body.empty() ? "(?:" : StrCat("(?:[", body, "]|");
      for (size_t i = 0; i < others.size(); ++i) out += StrCat(i > 0 ? "|" : "", others[i]);
      return out + ")";
    }
  };

  void AddItem(const ClassItem& item, Term& term) {
    if (item.negated) {
      term.others.push_back(StrCat("[^", item.body, "]"));
    } else {
      term.body += item.body;
    }
  }

  // An escape inside of a class.
  void EscapeInClass(Term& term) {
    const char c = pattern_[at_ + 1];
    if (c == 'w' || c == 'W') {
      AddItem({std::string(kWord), c == 'W'}, term);
      at_ += 2;
    } else if (const std::optional<ClassItem> item = ClassEscape()) {
      AddItem(*item, term);
    } else if (c == 'R' || c == 'X' || c == 'Q' || c == 'E' || c == 'B' || c == 'N') {
      term.body += c;  // ordinary letters here
      at_ += 2;
    } else if (!CodePointEscape(term.body)) {
      const size_t length = EscapeLength();
      term.body += pattern_.substr(at_, length);
      at_ += length;
    }
  }

  // [:name:] or [:^name:] at the current place.
  bool NamedClassInClass(Term& term) {
    if (pattern_.substr(at_, 2) != "[:") return false;
    const size_t end = pattern_.find(":]", at_);
    if (end == std::string_view::npos) ThrowUnsupported("an open [:name:]");
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const std::optional<std::string_view> body = BodyOf(kBracketClasses, name);
    if (!body) ThrowUnsupported(StrCat("the class [:", name, ":]"));
    AddItem({std::string(*body), negated}, term);
    at_ = end + 2;
    return true;
  }

  // The class whose bracket was just read, as an expression that matches one character.
  std::string Class(size_t depth) {
    if (depth > kDeepestClass) {
      ThrowUnsupported(StrCat("more than ", kDeepestClass, " character classes in one another"));
    }
    const bool negated = pattern_.substr(at_, 1) == "^";
    if (negated) ++at_;

    std::vector<Term> terms(1);
    for (bool is_first = true;; is_first = false) {
      Term& term = terms.back();
      if (at_ >= pattern_.size()) {
        return StrCat("[", negated ? "^" : "", term.body);  // PCRE2 names the mistake
      }
      const char c = pattern_[at_];
      if (c == ']' && !is_first) break;
      if (c == ']') {
        term.body += "\\]";  // right at the beginning it is an ordinary character
        ++at_;
      } else if (c == '\\' && at_ + 1 < pattern_.size()) {
        EscapeInClass(term);
      } else if (NamedClassInClass(term)) {
        continue;
      } else if (c == '[') {
        ++at_;
        term.others.push_back(Class(depth + 1));
      } else if (pattern_.substr(at_, 2) == "&&") {
        terms.emplace_back();
        at_ += 2;
      } else {
        term.body += c;
        ++at_;
      }
    }
    ++at_;
    return ClassExpression(terms, negated);
  }

  static std::string ClassExpression(const std::vector<Term>& terms, bool negated) {
    const Term& last = terms.back();
    if (terms.size() == 1 && last.others.empty() && !last.body.empty()) {
      return StrCat(negated ? "[^" : "[", last.body, "]");
    }

    std::string expression;
    for (size_t i = 0; i + 1 < terms.size(); ++i) {
      expression += StrCat("(?=", terms[i].Expression(), ")");
    }
    expression += last.Expression();
    return negated ? StrCat("(?:(?!", expression, ")(?s:.))") : StrCat("(?:", expression, ")");
  }

  std::string_view pattern_, place_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where the last atom begins in out_
  std::vector<size_t> groups_;  // where the open groups begin in out_
};

}  // namespace

std::string TranslateOnigurumaPattern(std::string_view pattern, std::string_view place) {
  return Translator(pattern, place).Run();
}

}  // namespace qualm
