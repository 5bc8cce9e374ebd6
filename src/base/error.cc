// The wording of errors: "[place] expected ...; got ...; hint", and the end of a program that found
// a mistake in its own input.
#include "base/error.h"

#include <cstdio>
#include <cstdlib>

#include "base/strings.h"

namespace qualm {

namespace {

// An error without a place is on its way to a caller that knows one (error_place.h).
std::string TextOf(std::string_view place, std::string_view message) {
  return place.empty() ? std::string(message) : StrCat("[", place, "] ", message);
}

// "outer: inner", but a key follows its file as "outer:key".
std::string Joined(std::string_view outer, std::string_view inner) {
  if (outer.empty() || inner.empty() || inner.starts_with(':')) return StrCat(outer, inner);
  return StrCat(outer, ": ", inner);
}

}  // namespace

Error::Error(ErrorKind kind, std::string_view place, std::string_view message)
    : std::runtime_error(TextOf(place, message)), kind_(kind), place_(place), message_(message) {}

Error Error::Within(std::string_view outer) const {
  return Error(kind_, Joined(outer, place_), message_);
}

void ThrowBadInput(std::string_view place, std::string_view expected, std::string_view got,
                   std::string_view hint) {
  // The hint is optional; everything else is always said.
  std::string message = StrCat("expected ", expected, "; got ", got);
  if (!hint.empty()) message += StrCat("; ", hint);
  throw Error(ErrorKind::kBadInput, place, message);
}

void ThrowFailed(std::string_view place, std::string_view message) {
  throw Error(ErrorKind::kFailed, place, message);
}

namespace internal {
void CheckFailed(const char* condition, const char* file, int line) {
  // The only place where the library prints: the program is about to end.
  std::fprintf(stderr, "%s:%d: check failed: %s (this is a bug in qualm)\n", file, line, condition);
  std::abort();
}
}  // namespace internal

}  // namespace qualm
