// Which settings a quantization_config has for a module: names, Python regular expressions.
#pragma once

#include <string>
#include <string_view>

#include "tokenize/regex.h"

namespace qualm {

// A regular expression as Python's `re` reads it, over names of modules.
class ModulePattern {
 public:
  // Throws bad input naming the position of the first mistake.
  ModulePattern(std::string_view pattern, std::string_view place);
  // re.match: a match that begins at the front of the name.
  bool MatchesFront(std::string_view name) const;
  // re.fullmatch.
  bool MatchesWhole(std::string_view name) const;
  // re.search.
  bool MatchesAnywhere(std::string_view name) const;

 private:
  Regex front_, whole_, anywhere_;
};

}  // namespace qualm
