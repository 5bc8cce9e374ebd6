// Inside of JinjaTemplate: a template as pieces, and the words of a tag.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qualm {

// What stands in a tag.
struct JinjaToken {
  enum class Kind { kName, kNumber, kText, kSign, kEnd } kind = Kind::kEnd;
  std::string text;
  int line = 0;
};

// Text, {{ ... }} or {% ... %}.
struct JinjaPiece {
  enum class Kind { kText, kOutput, kBlock } kind = Kind::kText;
  std::string text;
  int line = 0;
};

// Comments are left out, blanks around tags as trim_blocks and lstrip_blocks say.
std::vector<JinjaPiece> CutJinja(std::string_view text, std::string_view place);
// Ends with a kEnd.
std::vector<JinjaToken> TokensOfJinja(const JinjaPiece& piece, std::string_view place);

bool IsJinjaNameCharacter(char c);
// Throws bad input at a line of the template.
[[noreturn]] void RefuseJinja(std::string_view place, int line, std::string_view expected,
                              std::string_view got);

}  // namespace qualm
