// Running text out of WikiText's pieces, as lm-evaluation-harness's task wikitext makes it.
#pragma once

#include <string>

namespace qualm {

// " = Title = \n \n He said : \" yes \" , 1 @,@ 000" becomes " = Title =\n\nHe said: \"yes\",
// 1,000". All steps of the harness in its order, its slips included: "/' 5/" becomes "/'[0-9]/", "
// N " becomes " 1 ".
std::string DetokenizeWikitext(std::string text);

}  // namespace qualm
