// Reads the steps from JSON and applies them one after the other to a list of words. The steps are
// those of the Hugging Face library, with its names and corner cases.
#include "tokenize/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/byte_level.h"
#include "tokenize/unicode.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

constexpr std::string_view kBuiltIn = "pre_tokenizer";

constexpr std::string_view kGpt2Words =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

constexpr std::string_view kQwen2Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

constexpr std::string_view kLlama3Words =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

constexpr std::string_view kPunctuation = "[!-/:-@\\[-`{-~\\p{P}]";

// A character of JSON's string `key`; any other length is bad input.
std::string OneCharacter(const std::string& text, std::string_view key, std::string_view place) {
  if (text.empty() || CharacterLength(text) != text.size()) {
    ThrowBadInput(place, StrCat("one character as '", key, "'"), StrCat("'", text, "'"));
  }
  return text;
}

}  // namespace

PreTokenizer PreTokenizer::Parse(const Json& json, std::string_view place) {
  PreTokenizer pre_tokenizer;
  if (!json.is_null()) pre_tokenizer.Append(json, place);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::Gpt2(bool add_prefix_space) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendByteLevel(add_prefix_space, /*use_regex=*/true);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::Qwen2(bool add_prefix_space) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendExpression(kQwen2Words, Behavior::kIsolated);
  pre_tokenizer.AppendByteLevel(add_prefix_space, /*use_regex=*/false);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::Llama3() {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendExpression(kLlama3Words, Behavior::kIsolated);
  pre_tokenizer.AppendByteLevel(/*add_prefix_space=*/false, /*use_regex=*/false);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::Bert() {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendBert();
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::WhiteSpaceSplit() {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendExpression("\\s+", Behavior::kRemoved);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::Metaspace(Prefix prefix, bool split) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.AppendMetaspace(std::string(kMetaSpace), prefix, split);
  return pre_tokenizer;
}

PreTokenizer PreTokenizer::AfterSpaces() {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.steps_.emplace_back(
      SplitStep{Pattern::Literal(" "), Behavior::kMergedWithPrevious, /*invert=*/false});
  return pre_tokenizer;
}

void PreTokenizer::Then(PreTokenizer other) {
  if (is_byte_level_) SpellBytes();
  std::move(other.steps_.begin(), other.steps_.end(), std::back_inserter(steps_));
  is_byte_level_ = other.is_byte_level_;
}

void PreTokenizer::SpellBytes() {
  if (!is_byte_level_) return;
  steps_.emplace_back(SpellBytesStep{});
  is_byte_level_ = false;
}

void PreTokenizer::Append(const Json& json, std::string_view place) {
  std::string type = GetString(json, "type", place);
  std::string here = StrCat(place, ".", type);
  if (type == "Sequence") {
    // Both spellings occur.
    const char* key = json.contains("pretokenizers") ? "pretokenizers" : "pre_tokenizers";
    if (!json.contains(key) || !json[key].is_array()) {
      ThrowBadInput(here, "a list 'pretokenizers'", "none");
    }
    for (const Json& part : json[key]) Append(part, here);
    return;
  }

  // What follows ByteLevel looks at the characters that spell the bytes.
  SpellBytes();
  if (type == "ByteLevel") {
    AppendByteLevel(GetBool(json, "add_prefix_space", here, true),
                    GetBool(json, "use_regex", here, true));
  } else if (type == "Metaspace") {
    AppendMetaspace(json, here);
  } else if (type == "Split") {
    AppendSplit(json, here);
  } else if (type == "Digits") {
    AppendExpression("\\p{N}", GetBool(json, "individual_digits", here, false)
                                   ? Behavior::kIsolated
                                   : Behavior::kContiguous);
  } else if (type == "Punctuation") {
    AppendExpression(kPunctuation,
                     ParseBehavior(GetString(json, "behavior", here, "Isolated"), here));
  } else if (type == "Whitespace") {
    AppendExpression(StrCat("[", kRustWord, "]+|[^", kRustWord, "\\s]+"), Behavior::kRemoved,
                     /*invert=*/true);
  } else if (type == "WhitespaceSplit") {
    AppendExpression("\\s+", Behavior::kRemoved);
  } else if (type == "BertPreTokenizer") {
    AppendBert();
  } else if (type == "CharDelimiterSplit") {
    std::string delimiter = OneCharacter(GetString(json, "delimiter", here), "delimiter", here);
    steps_.emplace_back(
        SplitStep{Pattern::Literal(std::move(delimiter)), Behavior::kRemoved, /*invert=*/false});
  } else if (type == "FixedLength") {
    const int64_t length = GetInt(json, "length", here, 5);
    if (length < 1) ThrowBadInput(here, "a 'length' of at least 1", StrCat(length));
    steps_.emplace_back(FixedLengthStep{static_cast<size_t>(length)});
  } else if (type == "UnicodeScripts") {
    steps_.emplace_back(ScriptsStep{});
  } else {
    ThrowBadInput(
        place,
        "a pre-tokenizer among BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, "
        "FixedLength, Metaspace, Punctuation, Sequence, Split, UnicodeScripts, Whitespace, "
        "WhitespaceSplit",
        StrCat("'", type, "', which is not supported"));
  }
}

PreTokenizer::Behavior PreTokenizer::ParseBehavior(const std::string& name,
                                                   std::string_view place) {
  // The second spelling is the one of older files.
  if (name == "Isolated" || name == "isolated") return Behavior::kIsolated;
  if (name == "Removed" || name == "removed") return Behavior::kRemoved;
  if (name == "Contiguous" || name == "contiguous") return Behavior::kContiguous;
  if (name == "MergedWithPrevious" || name == "merged_with_previous") {
    return Behavior::kMergedWithPrevious;
  }
  if (name == "MergedWithNext" || name == "merged_with_next") return Behavior::kMergedWithNext;
  const std::vector<std::string> known = {"Contiguous", "Isolated", "MergedWithNext",
                                          "MergedWithPrevious", "Removed"};
  ThrowUnknownName(place, "behavior", name, known);
}

void PreTokenizer::AppendSplit(const Json& json, std::string_view place) {
  if (!json.contains("pattern")) ThrowBadInput(place, "the key 'pattern'", "none");
  steps_.emplace_back(SplitStep{Pattern::Parse(json["pattern"], place),
                                ParseBehavior(GetString(json, "behavior", place), place),
                                GetBool(json, "invert", place, false)});
}

void PreTokenizer::AppendMetaspace(const Json& json, std::string_view place) {
  const std::string replacement =
      OneCharacter(GetString(json, "replacement", place, kMetaSpace), "replacement", place);
  std::string scheme = GetString(json, "prepend_scheme", place, "");
  const bool add_prefix_space = GetBool(json, "add_prefix_space", place, true);
  if (!add_prefix_space && !scheme.empty() && scheme != "never") {
    ThrowBadInput(place, "'prepend_scheme' and 'add_prefix_space' to agree", scheme);
  }
  if (scheme.empty()) scheme = add_prefix_space ? "always" : "never";
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    const std::vector<std::string> known = {"always", "first", "never"};
    ThrowUnknownName(place, "prepend_scheme", scheme, known);
  }
  const Prefix prefix = scheme == "always"  ? Prefix::kAlways
                        : scheme == "first" ? Prefix::kFirst
                                            : Prefix::kNever;
  AppendMetaspace(replacement, prefix, GetBool(json, "split", place, true));
}

void PreTokenizer::AppendMetaspace(const std::string& replacement, Prefix prefix, bool split) {
  steps_.emplace_back(ReplaceStep{" ", replacement});
  if (prefix != Prefix::kNever) {
    steps_.emplace_back(PrefixStep{replacement, prefix == Prefix::kFirst});
  }
  if (split) {
    steps_.emplace_back(
        SplitStep{Pattern::Literal(replacement), Behavior::kMergedWithNext, /*invert=*/false});
  }
}

void PreTokenizer::AppendBert() {
  AppendExpression("\\s", Behavior::kRemoved);
  AppendExpression(kPunctuation, Behavior::kIsolated);
}

void PreTokenizer::AppendExpression(std::string_view expression, Behavior behavior, bool invert) {
  steps_.emplace_back(SplitStep{Pattern::Expression(expression, kBuiltIn), behavior, invert});
}

void PreTokenizer::AppendByteLevel(bool add_prefix_space, bool use_regex) {
  if (add_prefix_space) steps_.emplace_back(PrefixStep{" ", /*only_at_start=*/false});
  if (use_regex) AppendExpression(kGpt2Words, Behavior::kIsolated);
  is_byte_level_ = true;
}

void PreTokenizer::Apply(std::vector<Word>& words, std::deque<std::string>& storage) const {
  // Nothing is put before an empty word and nothing is left of it.
  if (!steps_.empty()) std::erase_if(words, [](const Word& word) { return word.text.empty(); });
  for (const Step& step : steps_) {
    std::visit([&](const auto& concrete) { ApplyStep(concrete, words, storage); }, step);
  }
}

std::vector<PreTokenizer::Part> PreTokenizer::Cut(const SplitStep& step, Pattern::Finder& finder,
                                                  std::string_view text) {
  std::vector<Part> parts;
  size_t done = 0;
  finder.ForEachMatch(text, [&](TextRange match) {
    if (done < match.begin) parts.push_back({{done, match.begin}, step.invert});
    parts.push_back({match, !step.invert});
    done = match.end;
  });
  if (done < text.size()) parts.push_back({{done, text.size()}, step.invert});
  return parts;
}

// What becomes one word: a match joins the part before it or behind it unless that is a match too;
// kContiguous joins neighbours of one kind.
std::vector<PreTokenizer::Part> PreTokenizer::Merge(Behavior behavior,
                                                    const std::vector<Part>& parts) {
  std::vector<Part> out;
  if (behavior == Behavior::kRemoved) {
    std::copy_if(parts.begin(), parts.end(), std::back_inserter(out),
                 [](const Part& part) { return !part.is_match; });
  } else if (behavior == Behavior::kMergedWithNext) {
    bool after_match = false;  // in reading order from the back
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      if (part->is_match && !after_match && !out.empty()) {
        out.back().range.begin = part->range.begin;
      } else {
        out.push_back(*part);
      }
      after_match = part->is_match;
    }
    std::reverse(out.begin(), out.end());
  } else {
    bool after_match = false;
    for (const Part& part : parts) {
      bool joins = behavior == Behavior::kContiguous ? part.is_match == after_match
                                                     : part.is_match && !after_match;
      if (joins && !out.empty()) {
        out.back().range.end = part.range.end;
      } else {
        out.push_back(part);
      }
      after_match = part.is_match;
    }
  }
  return out;
}

void PreTokenizer::ApplyStep(const SplitStep& step, std::vector<Word>& words,
                             std::deque<std::string>&) {
  std::vector<Word> out;
  Pattern::Finder finder(step.pattern);
  for (const Word& word : words) {
    auto add = [&](TextRange range) {
      if (range.begin == range.end) return;
      out.push_back({word.text.substr(range.begin, range.end - range.begin),
                     word.starts_text && range.begin == 0});
    };
    if (step.behavior == Behavior::kIsolated) {
      // The usual case, without the list of parts.
      size_t done = 0;
      finder.ForEachMatch(word.text, [&](TextRange match) {
        add({done, match.begin});
        add(match);
        done = match.end;
      });
      add({done, word.text.size()});
    } else {
      for (const Part& part : Merge(step.behavior, Cut(step, finder, word.text))) add(part.range);
    }
  }
  words = std::move(out);
}

void PreTokenizer::ApplyStep(const ReplaceStep& step, std::vector<Word>& words,
                             std::deque<std::string>& storage) {
  Pattern from = Pattern::Literal(step.from);
  for (Word& word : words) {
    if (word.text.find(step.from) == std::string_view::npos) continue;
    word.text =
        storage.emplace_back(from.ReplaceAll(word.text, step.to, GrowthLimit(word.text.size())));
  }
}

void PreTokenizer::ApplyStep(const PrefixStep& step, std::vector<Word>& words,
                             std::deque<std::string>& storage) {
  for (Word& word : words) {
    if (word.text.starts_with(step.prefix) || (step.only_at_start && !word.starts_text)) continue;
    word.text = storage.emplace_back(StrCat(step.prefix, word.text));
  }
}

void PreTokenizer::ApplyStep(const SpellBytesStep&, std::vector<Word>& words,
                             std::deque<std::string>& storage) {
  for (Word& word : words) word.text = storage.emplace_back(ByteLevelPieceOf(word.text));
}

void PreTokenizer::ApplyStep(const FixedLengthStep& step, std::vector<Word>& words,
                             std::deque<std::string>&) {
  std::vector<Word> out;
  for (const Word& word : words) {
    size_t begin = 0;
    for (size_t end = 0, count = 0; end < word.text.size();) {
      end += CharacterLength(word.text.substr(end));
      if (++count < step.characters && end < word.text.size()) continue;
      out.push_back({word.text.substr(begin, end - begin), word.starts_text && begin == 0});
      begin = end;
      count = 0;
    }
  }
  words = std::move(out);
}

// A word begins with each character of another script than the last one that had any. What is
// before the first such character is in no word, as in the library.
void PreTokenizer::ApplyStep(const ScriptsStep&, std::vector<Word>& words,
                             std::deque<std::string>&) {
  std::vector<Word> out;
  for (const Word& word : words) {
    std::vector<size_t> begins;
    int last_script = -1;
    bool has_script = false;
    ForEachCharacter(word.text, [&](uint32_t code, std::string_view character) {
      const int script = ScriptOf(code);
      if (script < 0) return;
      if (!has_script || script != last_script) {
        begins.push_back(static_cast<size_t>(character.data() - word.text.data()));
      }
      has_script = true;
      last_script = script;
    });

    begins.push_back(word.text.size());
    for (size_t i = 0; i + 1 < begins.size(); ++i) {
      out.push_back({word.text.substr(begins[i], begins[i + 1] - begins[i]),
                     word.starts_text && begins[i] == 0});
    }
  }
  words = std::move(out);
}

}  // namespace qualm
