// Parses JSON into nlohmann's tree, and reads typed values out of it. The parser is nlohmann's, but
// the tree is built here: duplicate keys and deep nesting are errors, and every message says line
// and column.
#include "io/json.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/file_kind.h"
#include "io/python_json.h"

namespace qualm {
namespace {

constexpr size_t kMaxDepth = 128;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

// "line 3, column 7" of the byte at `offset`; columns count bytes from 1.
std::string PositionIn(std::string_view text, size_t offset) {
  std::string_view before = text.substr(0, std::min(offset, text.size()));
  size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0: the first line
  return StrCat("line ", std::ranges::count(before, '\n') + 1, ", column ",
                std::max<size_t>(before.size() - line_start, 1));
}

// Cut at a character's first byte, so that the text stays valid UTF-8.
std::string Shortened(std::string_view text) {
  constexpr size_t kLongest = 200;
  if (text.size() <= kLongest) return std::string(text);
  size_t end = kLongest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return StrCat(text.substr(0, end), "...");
}

// The three numbers of Python's json module that JSON lacks.
struct NonFiniteWord {
  std::string_view word;
  std::string_view stand_in;  // a string literal of the same length
  double value;
};
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr NonFiniteWord kNonFiniteWords[] = {
    {"-Infinity", "\"-Infini\"", -kInfinity},
    {"Infinity", "\"Infini\"", kInfinity},
    {"NaN", "\"N\"", std::numeric_limits<double>::quiet_NaN()},
};

// A text whose words like NaN were replaced by string literals of the same length, so that every
// position is still right, and for each literal where it ends and what it stands for.
struct ReplacedNumbers {
  std::string text;
  std::unordered_map<size_t, double> value_by_end;
};

ReplacedNumbers ReplaceNonFinite(std::string_view text) {
  ReplacedNumbers replaced{std::string(text), {}};
  bool is_in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (is_in_string && text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      is_in_string = !is_in_string;
    }
    if (is_in_string || (text[i] != '-' && text[i] != 'I' && text[i] != 'N')) continue;

    for (const NonFiniteWord& word : kNonFiniteWords) {
      if (!text.substr(i).starts_with(word.word)) continue;
      replaced.text.replace(i, word.word.size(), word.stand_in);
      i += word.word.size() - 1;
      replaced.value_by_end[i + 1] = word.value;
      break;
    }
  }
  return replaced;
}

// An iterator over the text that also publishes how far the parser has read. The tree builder needs
// it to give its own complaints a position.
class TrackingIterator {
 public:
  using iterator_category = std::forward_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, const char** published) : at_(at), published_(published) {}
  reference operator*() const { return *at_; }
  TrackingIterator& operator++() {
    ++at_;
    *published_ = at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator old = *this;
    ++*this;
    return old;
  }
  bool operator==(const TrackingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** published_;
};

// Builds the tree from the parser's events. Parse() runs the parser, which calls the functions
// below in the order of the text; Open pushes a frame, Add puts a finished value into the innermost
// frame or makes it the root. Members of an open object are gathered in a plain vector, because
// ordered_map looks for equal keys one by one and copies whole subtrees when it grows.
class TreeBuilder {
 public:
  explicit TreeBuilder(std::string_view text) : text_(text) {}
  // `replaced` must outlive the builder.
  explicit TreeBuilder(const ReplacedNumbers& replaced)
      : text_(replaced.text), value_by_end_(&replaced.value_by_end) {}

  Json Parse() {
    const char* end = text_.data() + text_.size();
    // The events throw, so sax_parse's own answer says nothing new.
    Json::sax_parse(TrackingIterator(text_.data(), &reached_), TrackingIterator(end, &reached_),
                    this);
    return std::move(root_);
  }

  // The events, as nlohmann's parser calls them.
  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(int64_t value) { return Add(value); }
  bool number_unsigned(uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string&) { return Add(value); }
  bool string(std::string& value) {
    const double* number = NumberEndingHere();
    return number != nullptr ? Add(*number) : Add(std::move(value));
  }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return Open(/*is_object=*/true); }
  bool start_array(size_t) { return Open(/*is_object=*/false); }

  bool key(std::string& name) {
    if (NumberEndingHere() != nullptr) Fail("a key in quotes", "NaN or Infinity", Offset());
    Frame& frame = stack_.back();
    // The parser itself would let the last of two equal keys win.
    if (!frame.seen.insert(name).second) {
      Fail("every key once", StrCat("the key '", Shortened(name), "' again"), Offset());
    }
    frame.members.emplace_back(std::move(name), nullptr);
    return true;
  }

  bool end_object() {
    Json::object_t object;
    // Append directly: keys are known to differ, so ordered_map need not search.
    object.reserve(stack_.back().members.size());
    for (auto& [name, value] : stack_.back().members) {
      object.emplace_back(std::move(name), std::move(value));
    }
    stack_.pop_back();
    return Add(std::move(object));
  }

  bool end_array() {
    Json::array_t array = std::move(stack_.back().items);
    stack_.pop_back();
    return Add(std::move(array));
  }

  // The parser's own complaint, put into our words.
  template <typename Exception>
  bool parse_error(size_t position, const std::string&, const Exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...": the
    // part after the position is what we want.
    std::string_view reason = error.what();
    for (std::string_view opening : {"] ", ": "}) {
      size_t at = reason.find(opening);
      if (at != std::string_view::npos) reason.remove_prefix(at + opening.size());
    }
    Fail("JSON", Shortened(reason), position);
  }

 private:
  // An object or array that is still open.
  struct Frame {
    bool is_object;
    std::vector<std::pair<std::string, Json>> members;
    std::unordered_set<std::string> seen;
    Json::array_t items;
  };

  // The number that the string just read was put for; null: it is a string.
  const double* NumberEndingHere() const {
    if (value_by_end_ == nullptr) return nullptr;
    const auto found = value_by_end_->find(Offset());
    return found == value_by_end_->end() ? nullptr : &found->second;
  }

  size_t Offset() const { return static_cast<size_t>(reached_ - text_.data()); }

  // Complains with line and column of `offset`.
  [[noreturn]] void Fail(std::string_view expected, std::string_view got, size_t offset) const {
    ThrowExpected(expected, StrCat(got, " at ", PositionIn(text_, offset)));
  }

  bool Open(bool is_object) {
    if (stack_.size() == kMaxDepth) {
      Fail(StrCat("JSON nested at most ", kMaxDepth, " deep"), "deeper nesting", Offset());
    }
    stack_.push_back({is_object, {}, {}, {}});
    return true;
  }

  bool Add(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (stack_.back().is_object) {
      stack_.back().members.back().second = std::move(value);
    } else {
      stack_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::string_view text_;
  const std::unordered_map<size_t, double>* value_by_end_ = nullptr;  // of stand-ins for numbers
  const char* reached_ = text_.data();
  std::vector<Frame> stack_;
  Json root_;
};

// The value of a key; null if the key is absent or its value is null.
const Json* Find(const Json& object, std::string_view key) {
  if (!object.is_object()) ThrowExpected("a JSON object", object.type_name());
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

// Complains about a value of the wrong type, and shows it.
[[noreturn]] void ThrowWrong(const Json& value, std::string_view key, std::string_view type) {
  // Invalid UTF-8 in a hostile file must not make the message throw.
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  ThrowExpected(StrCat("'", key, "' to be ", type), Shortened(text));
}

const Json& FindOrThrow(const Json& object, std::string_view key, std::string_view type) {
  const Json* value = Find(object, key);
  if (value == nullptr) ThrowExpected(StrCat("the key '", key, "', ", type), "none");
  return *value;
}

// The types in the words of an error message.
constexpr std::string_view kInteger = "an integer", kNumber = "a number", kText = "a text",
                           kTruth = "true or false";

int64_t ToInt(const Json& value, std::string_view key) {
  if (!value.is_number_integer()) ThrowWrong(value, key, kInteger);
  // JSON's unsigned integers reach beyond int64_t.
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    ThrowWrong(value, key, "an integer below 2^63");
  }
  return value.get<int64_t>();
}

double ToDouble(const Json& value, std::string_view key) {
  if (!value.is_number()) ThrowWrong(value, key, kNumber);
  return value.get<double>();
}

std::string ToText(const Json& value, std::string_view key) {
  if (!value.is_string()) ThrowWrong(value, key, kText);
  return value.get<std::string>();
}

}  // namespace

Json ParseJson(std::string_view text, std::string_view place) {
  return At(place, [&] { return TreeBuilder(text).Parse(); });
}

Json ParsePythonJson(std::string_view text, std::string_view place) {
  // Most texts have none of these words and need no copy.
  if (text.find("NaN") == std::string_view::npos &&
      text.find("Infinity") == std::string_view::npos) {
    return ParseJson(text, place);
  }
  const ReplacedNumbers replaced = ReplaceNonFinite(text);
  return At(place, [&] { return TreeBuilder(replaced).Parse(); });
}

Json NumberOrNull(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json ReadJsonFile(const std::filesystem::path& path) {
  const std::string text = ReadFile(path, kMaxFileBytes);
  if (IsGitLfsPointer(text)) {
    ThrowBadInput(path.string(), "JSON", "a git-lfs pointer to the file",
                  "get the file by git lfs pull");
  }
  return ParseJson(text, path.string());
}

void WriteJsonFile(const std::filesystem::path& path, const Json& value) {
  std::string text;
  try {
    text = value.dump(2);
  } catch (const Json::exception&) {
    ThrowFailed(path.string(), "cannot write a text that is not valid UTF-8 as JSON");
  }
  WriteFileAtomically(path, text + "\n");
}

int64_t GetInt(const Json& object, std::string_view key, std::string_view place) {
  return At(place, [&] { return ToInt(FindOrThrow(object, key, kInteger), key); });
}

int64_t GetInt(const Json& object, std::string_view key, std::string_view place, int64_t fallback) {
  return At(place, [&] {
    const Json* value = Find(object, key);
    return value == nullptr ? fallback : ToInt(*value, key);
  });
}

double GetDouble(const Json& object, std::string_view key, std::string_view place) {
  return At(place, [&] { return ToDouble(FindOrThrow(object, key, kNumber), key); });
}

double GetDouble(const Json& object, std::string_view key, std::string_view place,
                 double fallback) {
  return At(place, [&] {
    const Json* value = Find(object, key);
    return value == nullptr ? fallback : ToDouble(*value, key);
  });
}

bool GetBool(const Json& object, std::string_view key, std::string_view place, bool fallback) {
  return At(place, [&] {
    const Json* value = Find(object, key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) ThrowWrong(*value, key, kTruth);
    return value->get<bool>();
  });
}

std::string GetString(const Json& object, std::string_view key, std::string_view place) {
  return At(place, [&] { return ToText(FindOrThrow(object, key, kText), key); });
}

std::string GetString(const Json& object, std::string_view key, std::string_view place,
                      std::string_view fallback) {
  return At(place, [&] {
    const Json* value = Find(object, key);
    return value == nullptr ? std::string(fallback) : ToText(*value, key);
  });
}

void RequireKnownKeys(const Json& object, std::span<const std::string> allowed,
                      std::string_view place) {
  if (!object.is_object()) ThrowBadInput(place, "a JSON object", object.type_name());
  for (const auto& [name, value] : object.get_ref<const Json::object_t&>()) {
    if (std::ranges::find(allowed, name) == allowed.end()) {
      ThrowUnknownName(place, "key", Shortened(name), allowed);
    }
  }
}

void RequireObject(const Json& json, std::initializer_list<const char*> keys,
                   std::string_view place) {
  RequireObject(json, std::vector<std::string>(keys.begin(), keys.end()), place);
}

void RequireObject(const Json& json, std::span<const std::string> keys, std::string_view place) {
  if (!json.is_object()) ThrowBadInput(place, "an object", json.type_name());
  RequireKnownKeys(json, keys, place);
}

const Json& GetChild(const Json& json, const char* key, std::string_view place) {
  auto it = json.find(key);
  if (it == json.end()) ThrowBadInput(place, StrCat("the key '", key, "'"), "none");
  return *it;
}

}  // namespace qualm
