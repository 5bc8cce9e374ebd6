// The day that chat templates are told: some write it into the prompt (strftime_now).
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// The day for evaluations, so that their prompts are the same on every day. It is the one that
// Llama 3.1's template takes when it is not told any.
inline constexpr std::string_view kFixedChatDate = "2024-07-26";

// Today by this machine's clock, YYYY-MM-DD.
std::string TodayAsText();

// Throws bad input at `place` unless `date` is a day of the calendar as YYYY-MM-DD.
void CheckDate(std::string_view date, std::string_view place);

}  // namespace qualm
