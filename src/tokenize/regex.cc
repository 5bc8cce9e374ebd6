// Compiles the rewritten expression with PCRE2, and scans a text for one match after the other.
#include "tokenize/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/oniguruma.h"
#include "tokenize/utf8.h"

namespace qualm {

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
