// What a piece of code complains about.
#pragma once

#include <string>

#include "base/error.h"

namespace qualm::testing {

// The message of the Error of that kind which `body` throws; otherwise says what happened instead,
// so that a comparison with the expected message fails readably.
template <typename Body>
std::string ErrorOf(Body body, ErrorKind kind = ErrorKind::kBadInput) {
  try {
    body();
  } catch (const Error& error) {
    return error.kind() == kind ? error.what() : std::string("other kind: ") + error.what();
  }
  return "no error";
}

}  // namespace qualm::testing
