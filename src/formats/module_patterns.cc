// Python's three ways to match, each as a separate pattern.
#include "formats/module_patterns.h"

#include "base/strings.h"

namespace qualm {
namespace {

bool Finds(const Regex& regex, std::string_view name) {
  Regex::Scanner scanner(regex);
  scanner.Start(name);
  size_t begin = 0, end = 0;
  return scanner.Next(&begin, &end);
}

}  // namespace

ModulePattern::ModulePattern(std::string_view pattern, std::string_view place)
    : front_(StrCat("\\A(?:", pattern, ")"), place),
      whole_(StrCat("\\A(?:", pattern, ")\\z"), place),
      anywhere_(pattern, place) {}

bool ModulePattern::MatchesFront(std::string_view name) const { return Finds(front_, name); }
bool ModulePattern::MatchesWhole(std::string_view name) const { return Finds(whole_, name); }
bool ModulePattern::MatchesAnywhere(std::string_view name) const { return Finds(anywhere_, name); }

}  // namespace qualm
