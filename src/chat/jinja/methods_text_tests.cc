// The methods of texts that ask what characters they have: isalpha, isdigit, istitle, ...
#include "chat/jinja/characters.h"
#include "chat/jinja/tables.h"

namespace qualm::jinja {
namespace {

using Bound = std::vector<Value>;

// All characters have one of the flags, and there is one.
template <int flags>
Value All(Runtime&, const Value& self, Bound&, Arguments&) {
  const std::u32string points = PointsOf(self.Bytes());
  for (const char32_t code : points) {
    if (!Is(code, flags)) return Value::Bool(false);
  }
  return Value::Bool(!points.empty());
}

template <CharacterFlag wanted>
Value OfCase(Runtime&, const Value& self, Bound&, Arguments&) {
  return Value::Bool(IsOfCase(self.Bytes(), wanted));
}

Value IsTitle(Runtime&, const Value& self, Bound&, Arguments&) {
  bool after_cased = false, has_cased = false;
  for (const char32_t code : PointsOf(self.Bytes())) {
    const bool is_large = Is(code, kUpper | kTitle), is_small = Is(code, kLower);
    if ((is_large && after_cased) || (is_small && !after_cased)) return Value::Bool(false);
    after_cased = is_large || is_small;
    has_cased = has_cased || after_cased;
  }
  return Value::Bool(has_cased);
}

Value IsIdentifier(Runtime&, const Value& self, Bound&, Arguments&) {
  const std::u32string points = PointsOf(self.Bytes());
  for (size_t i = 0; i < points.size(); ++i) {
    if (!Is(points[i], i == 0 ? kNameStart : kNameCharacter)) return Value::Bool(false);
  }
  return Value::Bool(!points.empty());
}

Value IsAscii(Runtime&, const Value& self, Bound&, Arguments&) {
  const auto& text = self.As<TextObject>();
  for (const char c : text.bytes) {
    if (static_cast<unsigned char>(c) >= 0x80) return Value::Bool(false);
  }
  return Value::Bool(true);
}

Value IsPrintable(Runtime&, const Value& self, Bound&, Arguments&) {
  for (const char32_t code : PointsOf(self.Bytes())) {
    if (!Is(code, kPrintable)) return Value::Bool(false);
  }
  return Value::Bool(true);
}

}  // namespace

std::span<const NativeFunction> TextTestMethods() {
  static constexpr NativeFunction kMethods[] = {
      {"isalnum", "", All<kAlpha | kNumeric | kDecimal | kDigit>},
      {"isalpha", "", All<kAlpha>},
      {"isascii", "", IsAscii},
      {"isdecimal", "", All<kDecimal>},
      {"isdigit", "", All<kDigit>},
      {"isidentifier", "", IsIdentifier},
      {"islower", "", OfCase<kLower>},
      {"isnumeric", "", All<kNumeric>},
      {"isprintable", "", IsPrintable},
      {"isspace", "", All<kSpace>},
      {"istitle", "", IsTitle},
      {"isupper", "", OfCase<kUpper>},
  };
  return kMethods;
}

}  // namespace qualm::jinja
