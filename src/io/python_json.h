// JSON as Python's json module writes it by default.
#pragma once

#include <string_view>

#include "io/json.h"

namespace qualm {

// Like ParseJson, but NaN, Infinity and -Infinity are numbers, too.
Json ParsePythonJson(std::string_view text, std::string_view place);

}  // namespace qualm
