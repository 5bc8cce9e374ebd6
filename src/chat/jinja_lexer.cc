#include "chat/jinja_lexer.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"

namespace qualm {
namespace {

// --- pieces: comments leave, blanks around tags as trim_blocks and lstrip_blocks say

class Cutter {
 public:
  Cutter(std::string_view text, std::string_view place) : text_(text), place_(place) {}

  std::vector<JinjaPiece> Run() {
    while (at_ < text_.size()) {
      const size_t open = FindTag();
      AddText(open);
      if (open == text_.size()) break;
      AddTag(open);
    }
    return std::move(pieces_);
  }

 private:
  size_t FindTag() const {
    for (size_t i = at_; i + 1 < text_.size(); ++i) {
      if (text_[i] == '{' && (text_[i + 1] == '{' || text_[i + 1] == '%' || text_[i + 1] == '#')) {
        return i;
      }
    }
    return text_.size();
  }

  // The text before a tag at `end`.
  void AddText(size_t end) {
    std::string text(text_.substr(at_, end - at_));
    if (strip_left_) text.erase(0, text.find_first_not_of(" \t\r\n"));
    if (end < text_.size()) {
      const bool strips = end + 2 < text_.size() && text_[end + 2] == '-';
      const bool is_block = text_[end + 1] != '{';
      const bool keeps = end + 2 < text_.size() && text_[end + 2] == '+';
      if (strips) {
        text.erase(text.find_last_not_of(" \t\r\n") + 1);
      } else if (is_block && !keeps) {
        // Blanks before a block go if it is the first thing on its line.
        const size_t last = text.find_last_not_of(" \t");
        const bool line_begins = last == std::string::npos ? IsLineStart() : text[last] == '\n';
        if (line_begins) text.erase(last == std::string::npos ? 0 : last + 1);
      }
    }
    if (!text.empty()) pieces_.push_back({JinjaPiece::Kind::kText, std::move(text), line_});
    line_ += static_cast<int>(std::ranges::count(text_.substr(at_, end - at_), '\n'));
    at_ = end;
  }

  // Whether at_ is at the beginning of a line of the template.
  bool IsLineStart() const { return at_ == 0 || text_[at_ - 1] == '\n'; }

  void AddTag(size_t open) {
    const char kind = text_[open + 1];
    const char close_sign = kind == '{' ? '}' : kind;
    const size_t close = FindClose(open + 2, close_sign);
    std::string_view inner = text_.substr(open + 2, close - open - 2);
    strip_left_ = inner.ends_with('-');
    if (inner.starts_with('-') || inner.starts_with('+')) inner.remove_prefix(1);
    if (inner.ends_with('-') || inner.ends_with('+')) inner.remove_suffix(1);
    if (kind != '#') {
      pieces_.push_back({kind == '{' ? JinjaPiece::Kind::kOutput : JinjaPiece::Kind::kBlock,
                         std::string(inner), line_});
    }
    line_ += static_cast<int>(std::ranges::count(text_.substr(open, close + 2 - open), '\n'));
    at_ = close + 2;
    if (kind != '{' && at_ < text_.size() && text_[at_] == '\n') {  // trim_blocks
      ++at_;
      ++line_;
    }
  }

  // Where the tag ends, texts in quotes left alone.
  size_t FindClose(size_t from, char sign) const {
    char quote = 0;
    for (size_t i = from; i + 1 < text_.size(); ++i) {
      const char c = text_[i];
      if (quote != 0) {
        if (c == '\\') ++i;
        if (c == quote) quote = 0;
      } else if (sign != '#' && (c == '\'' || c == '"')) {
        quote = c;
      } else if (c == sign && text_[i + 1] == '}') {
        return i;
      }
    }
    RefuseJinja(place_, line_, "an end to every tag", "none");
  }

  std::string_view text_, place_;
  size_t at_ = 0;
  int line_ = 1;
  bool strip_left_ = false;
  std::vector<JinjaPiece> pieces_;
};

}  // namespace

std::vector<JinjaPiece> CutJinja(std::string_view text, std::string_view place) {
  return Cutter(text, place).Run();
}

std::vector<JinjaToken> TokensOfJinja(const JinjaPiece& piece, std::string_view place) {
  std::vector<JinjaToken> tokens;
  const std::string& text = piece.text;
  int line = piece.line;
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
      ++i;
      continue;
    }
    JinjaToken token;
    token.line = line;
    const size_t begin = i;
    if (c >= '0' && c <= '9') {
      while (i < text.size() && (IsJinjaNameCharacter(text[i]) || text[i] == '.')) ++i;
      token.kind = JinjaToken::Kind::kNumber;
      token.text = text.substr(begin, i - begin);
    } else if (IsJinjaNameCharacter(c)) {
      while (i < text.size() && IsJinjaNameCharacter(text[i])) ++i;
      token.kind = JinjaToken::Kind::kName;
      token.text = text.substr(begin, i - begin);
    } else if (c == '\'' || c == '"') {
      token.kind = JinjaToken::Kind::kText;
      for (++i; i < text.size() && text[i] != c; ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
          token.text += text[i];
          continue;
        }
        const char escaped = text[++i];
        token.text += escaped == 'n'   ? '\n'
                      : escaped == 't' ? '\t'
                      : escaped == 'r' ? '\r'
                                       : escaped;
      }
      if (i == text.size()) RefuseJinja(place, line, "an end to every text", "none");
      ++i;
    } else {
      token.kind = JinjaToken::Kind::kSign;
      static constexpr std::string_view kPairs[] = {"==", "!=", "<=", ">=", "//", "**"};
      const std::string two = text.substr(i, 2);
      token.text = std::ranges::find(kPairs, two) != std::end(kPairs) ? two : std::string(1, c);
      i += token.text.size();
    }
    tokens.push_back(std::move(token));
  }
  tokens.push_back({JinjaToken::Kind::kEnd, "", line});
  return tokens;
}

bool IsJinjaNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

void RefuseJinja(std::string_view place, int line, std::string_view expected,
                 std::string_view got) {
  ThrowBadInput(StrCat(place, ":", line), StrCat("a chat template with ", expected), got);
}

}  // namespace qualm
