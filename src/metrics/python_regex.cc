// Runs translated patterns of Python's `re` with PCRE2. PCRE2 calls back before every item of the
// pattern that it tries; the calls and the characters between them are counted over all matches of
// a text, so that no pattern takes longer than the budget, wherever in the text it is slow.
#include "metrics/python_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <functional>

#include "base/error.h"
#include "base/strings.h"
#include "metrics/python_pattern.h"
#include "tokenize/utf8.h"

namespace qualm {

struct PythonRegex::Code {
  std::string place, pattern;
  size_t groups = 0;
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

namespace {

constexpr uint32_t kHeapLimit = 64 * 1024;  // KiB

// The memory of one search; PCRE2 wants these as handles.
struct MatchMemory {
  pcre2_match_data* data;
  pcre2_match_context* context;

  explicit MatchMemory(const pcre2_code* code)
      : data(pcre2_match_data_create_from_pattern(code, nullptr)),
        context(pcre2_match_context_create(nullptr)) {
    QUALM_CHECK(data != nullptr && context != nullptr);
  }
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;
  ~MatchMemory() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
};

// What a text may still cost.
struct Budget {
  uint64_t left = PythonRegex::kStepsPerText;
  size_t last_position = 0;
};

// Before an item of the pattern is tried: pays for it and for the characters since the last call.
int Pay(pcre2_callout_block* block, void* data) {
  auto& budget = *static_cast<Budget*>(data);
  const size_t at = block->current_position, last = budget.last_position;
  const uint64_t cost = 1 + (at > last ? at - last : last - at);
  budget.last_position = at;
  if (cost > budget.left) return PCRE2_ERROR_MATCHLIMIT;
  budget.left -= cost;
  return 0;
}

using Spans = std::span<const PCRE2_SIZE>;  // begin and end of the match and of each group

}  // namespace

PythonRegex::PythonRegex(std::string_view pattern, std::string_view place)
    : code_(std::make_unique<Code>()) {
  const TranslatedPattern translated = TranslatePythonPattern(pattern, place);
  code_->place = place;
  code_->pattern = pattern;
  code_->groups = translated.groups;

  int error = 0;
  PCRE2_SIZE offset = 0;
  constexpr uint32_t kOptions =
      PCRE2_UTF | PCRE2_UCP | PCRE2_DOTALL | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.text.data()),
                              translated.text.size(), kOptions, &error, &offset, nullptr);
  if (code_->code != nullptr) return;

  // Python's rules are met, so this is a bound of PCRE2: the pattern is too large for it.
  std::array<PCRE2_UCHAR, 200> message{};
  pcre2_get_error_message(error, message.data(), message.size());
  ThrowBadInput(place, "a regular expression that PCRE2 can run",
                StrCat("'", pattern, "': ", reinterpret_cast<const char*>(message.data())));
}

PythonRegex::~PythonRegex() = default;
PythonRegex::PythonRegex(PythonRegex&&) noexcept = default;
PythonRegex& PythonRegex::operator=(PythonRegex&&) noexcept = default;

size_t PythonRegex::groups() const { return code_->groups; }

namespace {

// Calls `on_match` for every match from left to right, as re.finditer finds them: after an empty
// match the next one begins at the same place but may not be empty there.
void ForEachMatch(const pcre2_code* code, std::string_view text,
                  const std::function<void(Spans)>& on_match,
                  const std::function<void(int error)>& on_error) {
  MatchMemory memory(code);
  Budget budget;
  pcre2_set_heap_limit(memory.context, kHeapLimit);
  pcre2_set_callout(memory.context, Pay, &budget);

  size_t start = 0;
  uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT;
  while (true) {
    budget.last_position = start;
    const int result = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                                   start, options, memory.data, memory.context);
    if (result == PCRE2_ERROR_NOMATCH) return;
    if (result < 0) return on_error(result);

    const Spans spans(pcre2_get_ovector_pointer(memory.data),
                      2 * pcre2_get_ovector_count(memory.data));
    on_match(spans);
    start = spans[1];
    options =
        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT | (spans[0] == spans[1] ? PCRE2_NOTEMPTY_ATSTART : 0);
  }
}

[[noreturn]] void ThrowTooSlow(std::string_view place, std::string_view pattern, size_t bytes) {
  ThrowBadInput(place,
                StrCat("a regular expression that needs at most ", PythonRegex::kStepsPerText,
                       " steps for a text"),
                StrCat("'", pattern, "' needing more for a text of ", bytes, " bytes"));
}

}  // namespace

std::vector<std::vector<std::string>> PythonRegex::FindAll(std::string_view given) const {
  const std::string text = RepairUtf8(given);
  std::vector<std::vector<std::string>> found;
  const auto part = [&](Spans spans, size_t i) {
    const bool is_set = spans[2 * i] != PCRE2_UNSET;
    return is_set ? text.substr(spans[2 * i], spans[2 * i + 1] - spans[2 * i]) : std::string();
  };

  ForEachMatch(
      code_->code, text,
      [&](Spans spans) {
        std::vector<std::string>& match = found.emplace_back();
        if (code_->groups == 0) match.push_back(part(spans, 0));
        for (size_t i = 1; i <= code_->groups; ++i) match.push_back(part(spans, i));
      },
      [&](int) { ThrowTooSlow(code_->place, code_->pattern, text.size()); });
  return found;
}

std::string PythonRegex::ReplaceAll(std::string_view given, std::string_view replacement) const {
  const std::string text = RepairUtf8(given);
  std::string out;
  size_t copied = 0;
  ForEachMatch(
      code_->code, text,
      [&](Spans spans) {
        out.append(text, copied, spans[0] - copied);
        out += replacement;
        copied = spans[1];
      },
      [&](int) { ThrowTooSlow(code_->place, code_->pattern, text.size()); });
  return out.append(text, copied);
}

}  // namespace qualm
