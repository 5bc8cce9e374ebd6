#include "tokenize/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// What stands inside brackets for each class escape. Unicode's White_Space is Z and these controls;
// PCRE2 counts U+180E too, and leaves marks out of \w.
std::string_view ClassBody(char escape) {
  switch (escape) {
    case 's':
      return "\\x09-\\x0d\\x85\\p{Z}";
    case 'S':
      return "\\S\\x{180e}";
    case 'w':
      return "\\p{L}\\p{M}\\p{N}\\p{Pc}";
    case 'W':
      return "\\p{C}\\p{Pd}\\p{Ps}\\p{Pe}\\p{Pi}\\p{Pf}\\p{Po}\\p{S}\\p{Z}";
    case 'd':
      return "\\p{Nd}";
    case 'D':
      return "\\P{Nd}";
    case 'h':
      return "0-9A-Fa-f";
    case 'H':
      return "\\x00-/:-@G-`g-\\x{10ffff}";
    default:
      return {};
  }
}

// True for "(?m", "(?i-m:" and the like at `at`.
bool SetsOptionM(std::string_view pattern, size_t at) {
  if (pattern.substr(at, 2) != "(?") return false;
  for (size_t i = at + 2; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == 'm') return true;
    if (c != '-' && (c < 'a' || c > 'z')) return false;
  }
  return false;
}

[[noreturn]] void ThrowUnsupported(std::string_view what, std::string_view pattern,
                                   std::string_view place) {
  ThrowBadInput(place, "a pattern that means the same to PCRE2", StrCat(what, " in ", pattern));
}

}  // namespace

std::string TranslateOnigurumaPattern(std::string_view pattern, std::string_view place) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      std::string_view body = ClassBody(pattern[++i]);
      if (body.empty()) {
        out += c;
        out += pattern[i];
      } else {
        out += in_class ? std::string(body) : StrCat("[", body, "]");
      }
      continue;
    }
    if (!in_class) {
      if (SetsOptionM(pattern, i)) ThrowUnsupported("the inline option m", pattern, place);
      if (c == '[') {
        in_class = true;
        // A bracket right at the beginning is an ordinary character.
        for (std::string_view opening : {"[^]", "[]", "[^"}) {
          if (pattern.substr(i, opening.size()) != opening) continue;
          out += opening.substr(0, opening.size() - 1);
          i += opening.size() - 1;
          c = pattern[i];
          break;
        }
      }
    } else if (pattern.substr(i, 2) == "[:") {
      size_t end = pattern.find(":]", i);
      if (end == std::string_view::npos) ThrowUnsupported("an open [:name:]", pattern, place);
      out += pattern.substr(i, end + 2 - i);
      i = end + 1;
      continue;
    } else if (c == '[') {
      ThrowUnsupported("a character class inside another", pattern, place);
    } else if (pattern.substr(i, 2) == "&&") {
      ThrowUnsupported("an intersection of character classes (&&)", pattern, place);
    } else if (c == ']') {
      in_class = false;
    }
    out += c;
  }
  return out;
}

struct Regex::Code {
  std::string place, pattern;
  pcre2_code* code = nullptr;
  bool has_jit = false;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, std::string_view place) : code_(std::make_unique<Code>()) {
  code_->place = place;
  code_->pattern = pattern;
  std::string translated = TranslateOnigurumaPattern(pattern, place);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // In the syntax these patterns are written for, ^ and $ match at every line.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              kOptions, &error, &offset, nullptr);
  if (code_->code == nullptr) {
    std::array<PCRE2_UCHAR, 200> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    ThrowBadInput(place, "a regular expression",
                  StrCat(pattern, ": ", reinterpret_cast<const char*>(message.data()), " at byte ",
                         offset, " of ", translated));
  }
  code_->has_jit = pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

struct Regex::Scanner::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

Regex::Scanner::Scanner(const Regex& regex) : regex_(regex), state_(std::make_unique<State>()) {
  state_->data = pcre2_match_data_create(1, nullptr);
  state_->context = pcre2_match_context_create(nullptr);
  QUALM_CHECK(state_->data != nullptr && state_->context != nullptr);
  pcre2_set_match_limit(state_->context, 10'000'000);
  pcre2_set_heap_limit(state_->context, 64 * 1024);  // KiB
}

Regex::Scanner::~Scanner() = default;
Regex::Scanner::Scanner(Scanner&&) noexcept = default;

void Regex::Scanner::Start(std::string_view text) {
  text_ = text;
  position_ = 0;
  last_end_ = static_cast<size_t>(-1);
}

int Regex::Scanner::Match(size_t start) {
  auto subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  auto run = [&](uint32_t options) {
    return pcre2_match(regex_.code_->code, subject, text_.size(), start,
                       PCRE2_NO_UTF_CHECK | options, state_->data, state_->context);
  };
  int result = run(0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT && state_->stack == nullptr) {
    // Deep backtracking: the 32 KiB of the machine stack did not do.
    state_->stack = pcre2_jit_stack_create(64 * 1024, 8 * 1024 * 1024, nullptr);
    if (state_->stack != nullptr) {
      pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
      result = run(0);
    }
  }
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  return result;
}

bool Regex::Scanner::Next(size_t* begin, size_t* end) {
  while (position_ <= text_.size()) {
    int result = Match(position_);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      ThrowBadInput(
          regex_.code_->place, "a pattern that finds its matches in bounded time",
          StrCat(regex_.code_->pattern, " giving up on a text of ", text_.size(), " bytes"));
    }
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state_->data);
    *begin = found[0];
    *end = found[1];
    // \K can put the beginning behind the end; such a match is taken as empty.
    if (*begin > *end) *begin = *end;
    bool is_empty = *begin == *end;
    bool touches = is_empty && *end == last_end_;
    position_ = *end;
    if (is_empty) {
      position_ += *end < text_.size() ? CharacterLength(text_.substr(*end)) : 1;
    }
    if (touches) continue;
    last_end_ = *end;
    return true;
  }
  position_ = text_.size() + 1;
  return false;
}

}  // namespace qualm
