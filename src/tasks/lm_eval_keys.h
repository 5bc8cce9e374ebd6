// Which keys a task file of lm-evaluation-harness may have, and what kind of value each one takes.
#pragma once

#include "io/yaml.h"

namespace qualm {

// Checks the keys of one file and the kinds of their values, also of keys that the task's
// output_type has no use for. Throws bad input with the line; for a file that lists the tasks of a
// group, with their names.
void CheckLmEvalKeys(const Yaml& file);

// YAML 1.1 knows more ways to say yes and no.
bool LmEvalTruth(const Yaml& value);

}  // namespace qualm
