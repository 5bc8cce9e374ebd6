// The functions that a template finds without being given them.
#include <algorithm>
#include <array>
#include <ctime>
#include <limits>

#include "base/strings.h"
#include "chat/jinja/evaluator_parts.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

constexpr int64_t kLongestRange = 100000;  // of jinja2's sandbox

Value RangeFunction(Runtime& runtime, const Value&, Bound& a, Arguments&) {
  auto* range = runtime.New<RangeObject>();
  range->start = a[1].IsAbsent() ? 0 : IntArgument(runtime, a[0], "the start of a range");
  range->stop = IntArgument(runtime, a[1].IsAbsent() ? a[0] : a[1], "the end of a range");
  range->step = IntArgument(runtime, Or(a[2], Value::Int(1)), "the step of a range");
  if (range->step == 0) runtime.Refuse("a step of a range that is not 0", "0");
  // A count beyond 63 bits comes out negative.
  const int64_t size = range->Size();
  if (size < 0 || size > kLongestRange) {
    runtime.Refuse(StrCat("a range of at most ", kLongestRange),
                   StrCat(range->start, " to ", range->stop));
  }
  return Value::Of(Kind::kRange, range);
}

Value DictFunction(Runtime& runtime, const Value&, Bound&, Arguments& all) {
  const Value dict = runtime.Dict();
  FillDict(runtime, dict.As<DictObject>(), all);
  return dict;
}

Value NamespaceFunction(Runtime& runtime, const Value& self, Bound& a, Arguments& all) {
  auto* made = runtime.New<NamespaceObject>();
  made->attributes = DictFunction(runtime, self, a, all);
  for (const auto& [key, value] : made->attributes.As<DictObject>().items) {
    if (key.IsText()) CheckNamespaceName(runtime, key.Bytes());
  }
  return Value::Of(Kind::kNamespace, made);
}

Value CyclerFunction(Runtime& runtime, const Value&, Bound&, Arguments& all) {
  if (all.positional.empty()) runtime.Refuse("values to cycle through", "none");
  auto* cycler = runtime.New<CyclerObject>();
  cycler->items = all.positional;
  return Value::Of(Kind::kCycler, cycler);
}

Value JoinerFunction(Runtime& runtime, const Value&, Bound& a, Arguments&) {
  auto* joiner = runtime.New<JoinerObject>();
  joiner->separator = a[0].IsAbsent() ? runtime.Text(", ") : a[0];
  return Value::Of(Kind::kJoiner, joiner);
}

Value Lipsum(Runtime& runtime, const Value&, Bound&, Arguments&) {
  runtime.Refuse("a function whose result is the same each time", "'lipsum'");
}

Value RaiseException(Runtime& runtime, const Value&, Bound& a, Arguments&) {
  runtime.Refuse("messages that the chat template takes", ToText(runtime, a[0]));
}

// Midnight of the day in the options, else the clock of the machine.
std::tm TimeOf(Runtime& runtime) {
  std::tm time{};
  const std::string& date = runtime.options().date;
  if (date.empty()) {
    const std::time_t now = std::time(nullptr);
    localtime_r(&now, &time);
    return time;
  }
  const char* end = strptime(date.c_str(), "%Y-%m-%d", &time);
  if (end == nullptr || *end != '\0' || date.size() != 10) {
    runtime.Refuse("a date as YYYY-MM-DD", date);
  }
  // Days of the week and of the year follow from the others.
  std::tm whole = time;
  whole.tm_hour = 12;
  whole.tm_isdst = -1;
  std::mktime(&whole);
  time.tm_wday = whole.tm_wday;
  time.tm_yday = whole.tm_yday;
  return time;
}

Value StrftimeNow(Runtime& runtime, const Value&, Bound& a, Arguments&) {
  const std::string format = TextArgument(runtime, a[0], "the form of a date");
  std::tm time = TimeOf(runtime);
  std::string text;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      text += format[i];
      continue;
    }
    // A flag of the C library ("%-d") may come before the letter.
    std::string directive = {'%', format[++i]};
    if (format[i] == '-' && i + 1 < format.size()) directive += format[++i];
    const char letter = directive.back();
    if (letter == 'f') {
      text += "000000";
      continue;
    }
    if (letter == 'z' || letter == 'Z') continue;  // a time without a zone
    static constexpr std::string_view kKnown = "aAwdbBmyYHIpMSjUWcxX%GuVCeDFgGhklnrRstTuP";
    if (kKnown.find(letter) == std::string_view::npos) {
      runtime.Refuse("a form of a date that is known", StrCat("'", directive, "'"));
    }
    std::array<char, 128> buffer{};
    text.append(buffer.data(),
                std::strftime(buffer.data(), buffer.size(), directive.c_str(), &time));
  }
  return runtime.Text(std::move(text));
}

constexpr NativeFunction kGlobals[] = {
    {"cycler", "*", CyclerFunction},       {"dict", "*", DictFunction},
    {"joiner", "sep?", JoinerFunction},    {"lipsum", "*", Lipsum},
    {"namespace", "*", NamespaceFunction}, {"range", "/ start stop? step?", RangeFunction}};
constexpr NativeFunction kChatGlobals[] = {{"raise_exception", "message", RaiseException},
                                           {"strftime_now", "format", StrftimeNow}};

}  // namespace

void FillDict(Runtime& runtime, DictObject& dict, const Arguments& all) {
  if (all.positional.size() > 1) {
    runtime.Refuse("at most one value to make a dict of", StrCat(all.positional.size()));
  }
  for (const Value& given : all.positional) {
    if (given.Is(Kind::kDict)) {
      const auto items = given.As<DictObject>().items;
      for (const auto& [key, value] : items) SetKey(runtime, dict, key, value);
      continue;
    }
    for (const Value& one : ItemsOf(runtime, given)) {
      const std::vector<Value> pair = ItemsOf(runtime, one);
      if (pair.size() != 2)
        runtime.Refuse("pairs to make a dict of", StrCat(pair.size(), " values"));
      SetKey(runtime, dict, pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : all.named) {
    SetKey(runtime, dict, runtime.Text(std::string(name)), value);
  }
}

const NativeFunction* FindGlobal(std::string_view name, bool is_chat) {
  const NativeFunction* found = FindIn(kGlobals, name);
  return found == nullptr && is_chat ? FindIn(kChatGlobals, name) : found;
}

}  // namespace qualm::jinja
