#include "tokenize/pre_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/strings.h"
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

void PreTokenizer::Append(const Json& json, std::string_view place) {
  std::string type = GetString(json, "type", place);
  std::string here = StrCat(place, ".", type);
  if (is_byte_level_) ThrowBadInput(place, "ByteLevel as the last pre-tokenizer", type);
  if (type == "Sequence") {
    // Both spellings occur.
    const char* key = json.contains("pretokenizers") ? "pretokenizers" : "pre_tokenizers";
    if (!json.contains(key) || !json[key].is_array()) {
      ThrowBadInput(here, "a list 'pretokenizers'", "none");
    }
    for (const Json& part : json[key]) Append(part, here);
  } else if (type == "ByteLevel") {
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
    AppendExpression("[!-/:-@\\[-`{-~\\p{P}]",
                     ParseBehavior(GetString(json, "behavior", here, "Isolated"), here));
  } else if (type == "Whitespace") {
    AppendExpression(StrCat("[", kRustWord, "]+|[^", kRustWord, "\\s]+"), Behavior::kRemoved,
                     /*invert=*/true);
  } else if (type == "WhitespaceSplit") {
    AppendExpression("\\s+", Behavior::kRemoved);
  } else {
    ThrowBadInput(
        place,
        "a pre-tokenizer among ByteLevel, Digits, Metaspace, Punctuation, Sequence, Split, "
        "Whitespace, WhitespaceSplit",
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
  std::string replacement = GetString(json, "replacement", place, kMetaSpace);
  if (replacement.empty() || CharacterLength(replacement) != replacement.size()) {
    ThrowBadInput(place, "one character as 'replacement'", StrCat("'", replacement, "'"));
  }
  std::string scheme = GetString(json, "prepend_scheme", place, "");
  bool add_prefix_space = GetBool(json, "add_prefix_space", place, scheme != "never");
  if (scheme.empty()) scheme = add_prefix_space ? "always" : "never";
  if (add_prefix_space != (scheme != "never")) {
    ThrowBadInput(place, "'prepend_scheme' and 'add_prefix_space' to agree", scheme);
  }
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    const std::vector<std::string> known = {"always", "first", "never"};
    ThrowUnknownName(place, "prepend_scheme", scheme, known);
  }
  steps_.emplace_back(ReplaceStep{" ", replacement});
  if (scheme != "never") steps_.emplace_back(PrefixStep{replacement, scheme == "first"});
  if (GetBool(json, "split", place, true)) {
    steps_.emplace_back(
        SplitStep{Pattern::Literal(replacement), Behavior::kMergedWithNext, /*invert=*/false});
  }
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

}  // namespace qualm
