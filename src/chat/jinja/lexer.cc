// Cuts a template into tokens, by the rules of jinja2/lexer.py written out by hand.
#include "chat/jinja/lexer.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "chat/jinja/characters.h"
#include "chat/jinja/literal.h"
#include "tokenize/utf8.h"

namespace qualm::jinja {
namespace {

constexpr size_t kMostTokens = 1000000;

// Line ends become \n; one at the end of the template goes unless it is to be kept.
std::string Normalized(std::string_view text, bool keep_trailing_newline) {
  std::string normalized = NormalizeNewlines(text);
  if (!keep_trailing_newline && normalized.ends_with('\n')) normalized.pop_back();
  return normalized;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  Lexer(std::string text, std::string_view place, const JinjaOptions& options)
      : source_(std::move(text)), text_(source_), place_(place), options_(options) {}

  std::vector<Token> Run() {
    while (at_ < text_.size()) {
      const size_t open = FindTag();
      if (open == text_.size()) {
        AddData(text_.substr(at_));
        break;
      }
      TakeTag(open);
    }
    Add(Token::Kind::kEnd);
    return std::move(tokens_);
  }

 private:
  // --- between tags

  size_t FindTag() const {
    for (size_t i = at_; i + 1 < text_.size(); ++i) {
      const char next = text_[i + 1];
      if (text_[i] == '{' && (next == '{' || next == '%' || next == '#')) return i;
    }
    return text_.size();
  }

  void AddData(std::string_view data) {
    if (data.empty()) return;
    Token& token = Add(Token::Kind::kData);
    token.text = data;
  }

  // The text before a tag with `sign` ('-', '+' or another), without the blanks that the tag takes
  // away.
  std::string_view TextBefore(std::string_view text, char sign, bool is_output) const {
    if (sign == '-') return Strip(text, nullptr, /*left=*/false, /*right=*/true);
    if (sign == '+' || !options_.lstrip_blocks || is_output) return text;

    const size_t line_begin = text.rfind('\n') + 1;  // npos + 1 is 0
    if (line_begin == 0 && !line_starting_) return text;
    const std::string_view last_line = text.substr(line_begin);
    const bool is_blank = Strip(last_line, nullptr, true, true).empty();
    return is_blank ? text.substr(0, line_begin) : text;
  }

  void TakeTag(size_t open) {
    const char kind = text_[open + 1];
    const std::string_view data = text_.substr(at_, open - at_);
    const char sign = open + 2 < text_.size() ? text_[open + 2] : '\0';
    AddData(TextBefore(data, sign, kind == '{'));
    Advance(open);

    if (kind == '%' && TakeRaw()) return;
    Advance(at_ + (sign == '-' || sign == '+' ? 3 : 2));
    if (kind == '#') return TakeComment();
    Add(kind == '{' ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin);
    TakeInside(kind == '{');
  }

  // Moves on, counting lines.
  void Advance(size_t to) {
    line_ += static_cast<int>(std::ranges::count(text_.substr(at_, to - at_), '\n'));
    if (to > at_) line_starting_ = text_[to - 1] == '\n';
    at_ = to;
  }

  // Where the white space after `from` ends.
  size_t SpaceEnd(size_t from) const {
    return text_.size() - Strip(text_.substr(from), nullptr, true, false).size();
  }

  // The end of a tag at `from`: its sign, its two characters, and the blanks or the line end that
  // it takes along. `from` if there is none.
  size_t TagEnd(size_t from, std::string_view end, bool takes_plus, bool trims) const {
    const std::string_view rest = text_.substr(std::min(from, text_.size()));
    if (rest.starts_with('-') && rest.substr(1).starts_with(end)) return SpaceEnd(from + 3);
    if (takes_plus && rest.starts_with('+') && rest.substr(1).starts_with(end)) return from + 3;
    if (!rest.starts_with(end)) return from;
    const bool has_newline = from + 2 < text_.size() && text_[from + 2] == '\n';
    return from + 2 + (trims && has_newline ? 1 : 0);
  }

  void TakeComment() {
    if (at_ == text_.size()) return;  // jinja2 misses no end where nothing follows
    for (size_t i = at_; i < text_.size(); ++i) {
      const size_t end = TagEnd(i, "#}", /*takes_plus=*/true, options_.trim_blocks);
      if (end != i) return Advance(end);
    }
    Refuse("an end to every comment", "none");
  }

  // --- raw blocks

  // Where a tag {% name %} at `from` (its begin included) has its end begin; npos: it is another.
  size_t FindNamedTagEnd(size_t from, std::string_view name) const {
    size_t at = from + 2;
    if (at < text_.size() && (text_[at] == '-' || text_[at] == '+')) ++at;
    at = SpaceEnd(std::min(at, text_.size()));
    if (!text_.substr(at).starts_with(name)) return std::string_view::npos;
    return SpaceEnd(at + name.size());
  }

  bool TakeRaw() {
    const size_t begin_end = FindNamedTagEnd(at_, "raw");
    if (begin_end == std::string_view::npos) return false;
    const size_t body = TagEnd(begin_end, "%}", /*takes_plus=*/false, /*trims=*/false);
    if (body == begin_end) return false;

    Advance(body);
    if (at_ == text_.size()) return true;  // as for comments
    for (size_t i = at_; i + 1 < text_.size(); ++i) {
      if (text_[i] != '{' || text_[i + 1] != '%') continue;
      const size_t inner = FindNamedTagEnd(i, "endraw");
      if (inner == std::string_view::npos) continue;
      const size_t end = TagEnd(inner, "%}", /*takes_plus=*/true, options_.trim_blocks);
      if (end == inner) continue;
      AddData(TextBefore(text_.substr(at_, i - at_), text_[i + 2], /*is_output=*/false));
      Advance(end);
      return true;
    }
    Refuse("an end to every raw block", "none");
  }

  // --- inside tags

  void TakeInside(bool is_output) {
    const std::string_view end = is_output ? "}}" : "%}";
    std::string open_brackets;
    while (at_ < text_.size()) {
      if (open_brackets.empty()) {
        const size_t tag_end = TagEnd(at_, end, !is_output, !is_output && options_.trim_blocks);
        if (tag_end != at_) {
          Add(is_output ? Token::Kind::kOutputEnd : Token::Kind::kBlockEnd);
          return Advance(tag_end);
        }
      }
      const size_t space_end = SpaceEnd(at_);
      if (space_end != at_) {
        Advance(space_end);
      } else if (IsDigit(text_[at_])) {
        TakeNumber();
      } else if (text_[at_] == '\'' || text_[at_] == '"') {
        TakeText();
      } else if (!TakeName()) {
        TakeSign(open_brackets);
      }
    }
  }

  void TakeNumber() {
    Token& token = Add(Token::Kind::kInteger);
    const bool after_point = at_ > 0 && text_[at_ - 1] == '.';
    const size_t length = NumberLength(text_.substr(at_), after_point);
    token.text = text_.substr(at_, length);
    bool is_float = false;
    if (!ReadNumber(token.text, &is_float, &token.integer, &token.real)) {
      Refuse("integers of at most 64 bits", token.text);
    }
    if (is_float) token.kind = Token::Kind::kFloat;
    Advance(at_ + length);
  }

  void TakeText() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) Refuse("an end to every text", "none");

    Token& token = Add(Token::Kind::kText);
    const std::string_view inner = text_.substr(at_ + 1, end - at_ - 1);
    std::string problem;
    if (!Unescape(inner, &token.text, &problem)) Refuse("escapes that Python has", problem);
    Advance(end + 1);
  }

  bool TakeName() {
    size_t end = at_;
    bool is_identifier = true;
    while (end < text_.size()) {
      const size_t length = CharacterLength(text_.substr(end));
      const uint32_t code = CodePoint(text_.substr(end, length));
      if (code != '_' && !Is(code, kAlpha | kNumeric | kNameCharacter)) break;
      is_identifier = is_identifier && Is(code, end == at_ ? kNameStart : kNameCharacter);
      end += length;
    }
    if (end == at_) return false;

    Token& token = Add(Token::Kind::kName);
    token.text = text_.substr(at_, end - at_);
    if (!is_identifier) Refuse("names of letters, digits and '_'", token.text);
    Advance(end);
    return true;
  }

  void TakeSign(std::string& open_brackets) {
    static constexpr std::string_view kPairs[] = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kSigns = "+-/*%~[](){}><=.:|,;";
    const std::string_view two = text_.substr(at_, 2);
    const bool is_pair = std::ranges::find(kPairs, two) != std::end(kPairs);
    const char one = text_[at_];
    if (!is_pair && kSigns.find(one) == std::string_view::npos) {
      Refuse("a character that means something in a tag",
             text_.substr(at_, CharacterLength(text_.substr(at_))));
    }

    if (one == '(') open_brackets += ')';
    if (one == '[') open_brackets += ']';
    if (one == '{') open_brackets += '}';
    if (one == ')' || one == ']' || one == '}') {
      if (open_brackets.empty() || open_brackets.back() != one) {
        Refuse("brackets that match", StrCat("'", one, "'"));
      }
      open_brackets.pop_back();
    }
    Token& token = Add(Token::Kind::kSign);
    token.text = is_pair ? two : text_.substr(at_, 1);
    Advance(at_ + token.text.size());
  }

  Token& Add(Token::Kind kind) {
    if (tokens_.size() == kMostTokens) {
      Refuse(StrCat("a template of at most ", kMostTokens, " tokens"), "more");
    }
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.line = line_;
    return token;
  }

  [[noreturn]] void Refuse(std::string_view expected, std::string_view got) const {
    RefuseAt(place_, line_, expected, got);
  }

  const std::string source_;
  std::string_view text_;  // of source_
  std::string_view place_;
  const JinjaOptions& options_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // whether what was taken last ended a line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view template_text, std::string_view place,
                            const JinjaOptions& options) {
  if (!IsValidUtf8(template_text)) ThrowBadInput(place, "a template in UTF-8", "other bytes");
  return Lexer(Normalized(template_text, options.keep_trailing_newline), place, options).Run();
}

void RefuseAt(std::string_view place, int line, std::string_view expected, std::string_view got) {
  ThrowBadInput(StrCat(place, ":", line), expected, got);
}

}  // namespace qualm::jinja
