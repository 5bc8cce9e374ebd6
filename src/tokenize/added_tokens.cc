// Reads the flags of an added token, and splits a text at the added tokens that it contains.
#include "tokenize/added_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/normalizer.h"
#include "tokenize/regex.h"
#include "tokenize/utf8.h"
#include "tokenize/vocabulary.h"

namespace qualm {
namespace {

bool IsWordCharacter(std::string_view character) {
  auto c = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  }
  static const Regex word(StrCat("[", kRustWord, "]"), "added tokens");
  size_t begin = 0, end = 0;
  Regex::Scanner scanner(word);
  scanner.Start(character);
  return scanner.Next(&begin, &end);
}

bool TouchesWord(std::string_view text, size_t begin, size_t end) {
  if (end < text.size()) {
    std::string_view behind = text.substr(end);
    if (IsWordCharacter(behind.substr(0, CharacterLength(behind)))) return true;
  }
  if (begin == 0) return false;
  size_t at = begin - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return IsWordCharacter(text.substr(at, begin - at));
}

}  // namespace

AddedToken ParseAddedToken(const Json& json, int64_t id, std::string_view place) {
  AddedToken token;
  token.content = GetString(json, "content", place);
  if (id < 0 || id > Vocabulary::kMaxId) {
    ThrowBadInput(place, StrCat("token ids from 0 to ", Vocabulary::kMaxId),
                  StrCat(id, " for '", token.content, "'"));
  }
  token.id = static_cast<TokenId>(id);
  token.is_special = GetBool(json, "special", place, false);
  token.is_normalized = GetBool(json, "normalized", place, !token.is_special);
  token.single_word = GetBool(json, "single_word", place, false);
  token.strip_left = GetBool(json, "lstrip", place, false);
  token.strip_right = GetBool(json, "rstrip", place, false);
  return token;
}

void AddedTokenSplitter::Add(const AddedToken& token, std::string_view spelling,
                             std::string_view place) {
  if (spelling.empty()) {
    ThrowBadInput(place, "added tokens with a text", StrCat("an empty one, id ", token.id));
  }
  trie_.Add(spelling, static_cast<int32_t>(tokens_.size()));
  tokens_.push_back(token);
}

std::vector<AddedTokenSplitter::Part> AddedTokenSplitter::Split(std::string_view text) const {
  std::vector<Part> parts;
  size_t done = 0;
  auto add_text = [&](size_t end) {
    if (done < end) parts.push_back({text.substr(done, end - done), -1});
  };
  for (size_t at = 0; at < text.size() && !empty();) {
    if (!trie_.CanStartWith(text[at])) {
      ++at;
      continue;
    }
    ByteTrie::Match match = trie_.Longest(text.substr(at));
    if (match.length == 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.value)];
    size_t begin = at, end = at + match.length;
    at = end;  // the next search begins behind the token, whatever becomes of this match
    if (token.single_word && TouchesWord(text, begin, end)) continue;
    if (token.strip_left) begin -= TrailingSpace(text.substr(0, begin));
    if (token.strip_right) end += LeadingSpace(text.substr(end));
    begin = std::max(begin, done);  // white space that the token before swallowed already
    add_text(begin);
    parts.push_back({text.substr(begin, std::max(begin, end) - begin), token.id});
    done = std::max(done, end);
  }
  add_text(text.size());
  return parts;
}

}  // namespace qualm
