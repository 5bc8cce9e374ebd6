// Places of errors are put together on the way up: the code that finds a mistake says what is
// wrong, and each caller that knows more (a key, a layer, a file) puts its place in front. Nothing
// about places travels down.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace qualm {

// For functions that take a place, where a caller of theirs adds it.
inline constexpr std::string_view kNoPlace = "";

// Throws bad input without a place: "expected <expected>; got <got>[; <hint>]".
[[noreturn]] inline void ThrowExpected(std::string_view expected, std::string_view got,
                                       std::string_view hint = "") {
  ThrowBadInput(kNoPlace, expected, got, hint);
}

// Returns body(); an Error from it gets `place` in front (Error::Within). `place` is a text, or a
// function that makes one when it is needed.
template <class Place, class Body>
decltype(auto) At(const Place& place, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& error) {
    if constexpr (std::invocable<const Place&>) {
      throw error.Within(place());
    } else {
      throw error.Within(place);
    }
  }
}

}  // namespace qualm
