// A template as tokens, cut as jinja2's lexer cuts it: line ends are normalised, comments are left
// out, blanks around tags go as the options and the signs of the tags ("-", "+") say.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/jinja.h"

namespace qualm::jinja {

struct Token {
  enum class Kind {
    kData,         // text between tags
    kBlockBegin,   // {%
    kBlockEnd,     // %}
    kOutputBegin,  // {{
    kOutputEnd,    // }}
    kName,
    kText,  // a literal, its escapes resolved
    kInteger,
    kFloat,
    kSign,  // an operator or bracket
    kEnd,   // of the template
  } kind = Kind::kEnd;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  int line = 0;
};

// Ends with a kEnd. Throws bad input at "place:line" for what is not a token, brackets that do not
// match, and templates of too many tokens.
std::vector<Token> Tokenize(std::string_view template_text, std::string_view place,
                            const JinjaOptions& options);

// Throws bad input at a line of the template.
[[noreturn]] void RefuseAt(std::string_view place, int line, std::string_view expected,
                           std::string_view got);

}  // namespace qualm::jinja
