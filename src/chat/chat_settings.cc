// Settings of a chat template from texts: days of the calendar, options, and the name of a result
// that was asked with them.
#include "chat/chat_settings.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "chat/chat_json.h"

namespace qualm {
namespace {

// The number that the digits write; -1 for anything but digits.
int NumberOf(std::string_view digits) {
  int number = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return -1;
    number = 10 * number + (c - '0');
  }
  return number;
}

// Variables from texts KEY=VALUE.
Json VariablesOf(const std::vector<std::string>& assignments, std::string_view place) {
  Json variables = Json::object();
  for (const std::string& assignment : assignments) {
    const size_t sign = assignment.find('=');
    if (sign == 0 || sign == std::string::npos) ThrowBadInput(place, "KEY=VALUE", assignment);

    const std::string text = assignment.substr(sign + 1);
    Json value = Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
    if (!value.is_discarded()) RequireExactIntegers(text, place);
    variables[assignment.substr(0, sign)] = value.is_discarded() ? Json(text) : std::move(value);
  }
  return variables;
}

// Removes and returns a variable; null if there is none.
Json TakeOut(Json& variables, const char* key) {
  const auto found = variables.find(key);
  if (found == variables.end()) return nullptr;
  Json value = std::move(*found);
  variables.erase(found);
  return value;
}

// A variable's value in a name: texts plain where they cannot be taken for JSON.
std::string ValueText(const Json& value) {
  if (!value.is_string()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string& text = value.get_ref<const std::string&>();
  return Json::accept(text) ? Json(text).dump() : PlainOrQuoted(text);
}

// Takes what the renderer sets itself out of the variables, where it would win over the renderer's
// or be lost.
void MoveRendererOptions(ChatOptions& options) {
  // Parameters of apply_chat_template, which no template sees as a variable.
  constexpr const char* kTaken[] = {"messages",        "conversation",
                                    "chat_template",   "continue_final_message",
                                    "tokenize",        "sanitize_control_tokens",
                                    "padding",         "truncation",
                                    "max_length",      "return_tensors",
                                    "return_dict",     "return_assistant_tokens_mask",
                                    "tokenizer_kwargs"};
  ChatPlaces& places = options.places;
  for (const char* name : kTaken) {
    if (!options.variables.contains(name)) continue;
    ThrowBadInput(places.options, "a variable that templates can be given", name,
                  "transformers' apply_chat_template has a parameter of that name");
  }

  options.tools = TakeOut(options.variables, "tools");
  if (!options.tools.is_null()) places.tools = StrCat(places.options, " tools");
  options.documents = TakeOut(options.variables, "documents");
  if (!options.documents.is_null()) places.documents = StrCat(places.options, " documents");

  if (!options.variables.contains("add_generation_prompt")) return;
  const Json value = TakeOut(options.variables, "add_generation_prompt");
  if (!value.is_boolean()) {
    ThrowBadInput(StrCat(places.options, " add_generation_prompt"), "true or false",
                  ValueText(value));
  }
  options.add_generation_prompt = value.get<bool>();
}

}  // namespace

ChatPlaces ChatKeys(std::string_view place) {
  const std::string before = place.empty() ? "" : StrCat(place, ": ");
  ChatPlaces places;
  places.chat_template = StrCat(before, "chat_template");
  places.date = StrCat(before, "date");
  places.options = StrCat(before, "chat_options");
  return places;
}

ChatOptions ChatOptionsOf(const ChatSettings& settings, ChatPlaces places) {
  ChatOptions options;
  options.date = settings.date.empty() ? std::string(kFixedChatDate) : settings.date;
  CheckDate(options.date, places.date);
  options.variables = VariablesOf(settings.options, places.options);
  options.places = std::move(places);
  MoveRendererOptions(options);
  return options;
}

Json SetOptions(const ChatOptions& options) {
  Json set = options.variables;
  if (!options.tools.is_null()) set["tools"] = options.tools;
  if (!options.documents.is_null()) set["documents"] = options.documents;
  if (!options.add_generation_prompt) set["add_generation_prompt"] = false;
  return set;
}

std::string ChatVariant(const ChatTemplate& chat, const ChatSettings& settings) {
  std::string variant = StrCat("@", chat.label());
  const Json set = SetOptions(ChatOptionsOf(settings));
  std::vector<std::string> options;
  for (const auto& [key, value] : set.items()) {
    // A variable named date is not the day that strftime_now says.
    const std::string name = key == "date" ? Json(key).dump() : PlainOrQuoted(key);
    options.push_back(StrCat(",", name, "=", ValueText(value)));
  }
  std::ranges::sort(options);
  for (const std::string& option : options) variant += option;

  const bool is_usual = settings.date.empty() || settings.date == kFixedChatDate;
  return is_usual ? variant : StrCat(variant, ",date=", settings.date);
}

std::string PlainOrQuoted(std::string_view text) {
  constexpr std::string_view kPlainMarks = "_-./: ";
  const bool is_plain = !text.empty() && std::ranges::all_of(text, [&](char c) {
    const bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || (static_cast<unsigned char>(c) & 0x80) != 0;
    return is_word || kPlainMarks.find(c) != std::string_view::npos;
  });
  if (is_plain) return std::string(text);
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string TodayAsText() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[16];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%d", &local);
  return std::string(text, size);
}

void CheckDate(std::string_view date, std::string_view place) {
  bool is_day = date.size() == 10 && date[4] == '-' && date[7] == '-';
  if (is_day) {
    const int year = NumberOf(date.substr(0, 4)), month = NumberOf(date.substr(5, 2)),
              day = NumberOf(date.substr(8, 2));
    is_day = year >= 0 && month >= 0 && day >= 0 &&
             std::chrono::year_month_day(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)))
                 .ok();
  }
  if (!is_day) ThrowBadInput(place, "a day as YYYY-MM-DD", date, "for example 2024-07-26");
}

}  // namespace qualm
