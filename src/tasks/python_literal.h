// Values as Python prints them: what a template of an lm-evaluation-harness task makes of a list is
// "['a', 'b']", and the harness reads it back with ast.literal_eval.
#pragma once

#include <optional>
#include <string_view>

#include "io/json.h"

namespace qualm {

// Texts, numbers, True, False, None, lists, tuples (as lists) and dictionaries with texts for keys.
// Empty where the text is something else, or nested deeper than 64.
std::optional<Json> ParsePythonLiteral(std::string_view text);

}  // namespace qualm
