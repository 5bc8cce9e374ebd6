// JSON as text, where its strings may come from anywhere.
#pragma once

#include <string>

#include "io/json.h"

namespace qualm {

// On one line. Bytes that are not UTF-8 (of errors, rows, names of files) become U+FFFD: what is
// written at the end of hours of work must not fail because of them. Not for what is read back and
// compared by its bytes.
std::string JsonText(const Json& value);

}  // namespace qualm
