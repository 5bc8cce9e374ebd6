// Fixed replacements, and brackets and quotes without blanks inside.
#include "metrics/wikitext.h"

#include <string_view>

#include "metrics/words.h"
#include "tokenize/blanks.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

struct Replacement {
  std::string_view from, to;
};

std::string_view WithoutBlanks(std::string_view text) {
  text = WithoutBlanksAtEnd(text);
  while (BeginsWithBlank(text)) text.remove_prefix(ValidCharacterLength(text));
  return text;
}

// What is between an opening sign and the next closing one loses the blanks at its ends.
std::string StripInside(std::string_view text, char open, char close) {
  std::string out;
  size_t at = 0;
  while (true) {
    const size_t begin = text.find(open, at);
    const size_t end = begin == std::string_view::npos ? begin : text.find(close, begin + 1);
    if (end == std::string_view::npos) break;
    out += text.substr(at, begin + 1 - at);
    out += WithoutBlanks(text.substr(begin + 1, end - begin - 1));
    out += close;
    at = end + 1;
  }
  out += text.substr(at);
  return out;
}

// A pattern of the harness that was meant otherwise: "/' 5/" becomes the text "/'[0-9]/".
std::string ReplaceSlashed(std::string text) {
  constexpr std::string_view kBegin = "/' ", kNew = "/'[0-9]/";
  for (size_t at = text.find(kBegin); at != std::string::npos; at = text.find(kBegin, at)) {
    const std::string_view rest = std::string_view(text).substr(at + kBegin.size());
    if (rest.size() < 2 || rest[0] < '0' || rest[0] > '9' || rest[1] != '/') {
      ++at;
      continue;
    }
    text.replace(at, kBegin.size() + 2, kNew);
    at += kNew.size();
  }
  return text;
}

}  // namespace

std::string DetokenizeWikitext(std::string text) {
  text = ReplaceSlashed(ReplaceAll(std::move(text), "s '", "s'"));

  constexpr Replacement kNumbersAndStops[] = {{" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."},
                                              {" : ", ": "},  {" ; ", "; "},  {" . ", ". "},
                                              {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
  for (const auto& [from, to] : kNumbersAndStops) text = ReplaceAll(std::move(text), from, to);

  constexpr std::pair<char, char> kPairs[] = {
      {'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}};
  for (const auto& [open, close] : kPairs) text = StripInside(text, open, close);

  constexpr Replacement kOthers[] = {
      {"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \xc2\xb0 ", "\xc2\xb0"},
      {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};
  for (const auto& [from, to] : kOthers) text = ReplaceAll(std::move(text), from, to);
  return text;
}

}  // namespace qualm
