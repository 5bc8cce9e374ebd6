// First the helpers that count sentences, paragraphs and matches; then, for each instruction, the
// list of its rules, one a level.
#include "metrics/follow_rules.h"

#include <algorithm>
#include <functional>
#include <regex>

#include "base/error.h"
#include "base/strings.h"
#include "metrics/words.h"

namespace qualm {
namespace {

using Text = const std::string&;

// --- what is counted

std::vector<std::string> SentencesOf(Text text) {
  std::vector<std::string> sentences;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find_first_of(".!?", begin), text.size());
    if (end > begin) sentences.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return sentences;
}

std::vector<std::string> ParagraphsOf(Text text) {
  std::vector<std::string> paragraphs;
  size_t begin = 0;
  for (size_t at; (at = text.find("\n\n", begin)) != std::string::npos; begin = at + 2) {
    paragraphs.push_back(text.substr(begin, at - begin));
  }
  paragraphs.push_back(text.substr(begin));
  return paragraphs;
}

bool Contains(Text text, const char* pattern) {
  return std::regex_search(text, std::regex(pattern));
}

bool NthContains(Text text, size_t number, const char* pattern) {
  const std::vector<std::string> sentences = SentencesOf(text);
  return number <= sentences.size() && Contains(sentences[number - 1], pattern);
}

size_t WordsBetweenBlanks(Text text) { return Split(text, ' ').size(); }

bool IsLower(Text text) {  // at least one letter, none large (ASCII)
  const auto large = [](char c) { return c >= 'A' && c <= 'Z'; };
  const auto small = [](char c) { return c >= 'a' && c <= 'z'; };
  return std::ranges::none_of(text, large) && std::ranges::any_of(text, small);
}

bool EverySentence(Text text, const std::function<bool(size_t words)>& holds) {
  return std::ranges::all_of(SentencesOf(text), [&](const std::string& sentence) {
    return holds(WordsOf(sentence).size());
  });
}

// The last match of a pattern; empty: none.
std::string LastOf(Text text, const char* pattern) {
  const std::regex regex(pattern);
  std::string last;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) {
    last = at->str();
  }
  return last;
}

// --- the rules; each level adds the rule in its place

using Rules = std::vector<std::function<bool(Text text)>>;

Rules NewsRules() {
  return {[](Text t) { return SentencesOf(t).size() == 3; },
          [](Text t) { return EverySentence(t, [](size_t words) { return words < 15; }); },
          [](Text t) {
            return NthContains(t, 1, "\\bPotter\\b") && NthContains(t, 2, "\\bactor\\b") &&
                   NthContains(t, 3, "\\bfilms\\b");
          },
          [](Text t) { return !NthContains(t, 2, "\\blavish\\b"); },
          [](Text t) { return NthContains(t, 3, "\\b(has|have)\\s+\\w+"); }};
}

Rules OneSentenceNewsRules() {
  return {[](Text t) { return SentencesOf(t).size() == 1; },
          [](Text t) { return WordsBetweenBlanks(t) < 20; },
          [](Text t) { return !Contains(t, "\\bNewton Stewart\\b"); },
          [](Text t) { return Contains(t, "\\b(am|is|are)\\s+\\w+ing\\b"); },
          [](Text t) { return Contains(t, "\\boperation\\b"); }};
}

Rules DialogueRules() {
  return {[](Text t) { return SentencesOf(t).size() == 1; },
          [](Text t) { return WordsBetweenBlanks(t) < 15; },
          [](Text t) { return Contains(t, "\\bstuff\\b"); },
          [](Text t) { return ToLower(t).find("procrast") == std::string::npos; },
          [](Text t) { return std::ranges::count_if(t, IsAsciiPunctuation) == 1; }};
}

Rules HeadlineRules() {
  return {[](Text t) { return WordsBetweenBlanks(t) == 8; },
          [](Text t) { return std::ranges::none_of(t, IsAsciiPunctuation); }, IsLower,
          [](Text t) { return !Contains(t, "\\bbus\\b"); },
          [](Text t) { return Contains(t, "\\bin\\b"); }};
}

Rules AbstractRules() {
  return {[](Text t) { return SentencesOf(t).size() == 1; },
          [](Text t) { return WordsBetweenBlanks(t) <= 20; },
          [](Text t) { return t.starts_with("We"); },
          [](Text t) { return Contains(t, "\\bactivations\\b"); },
          [](Text t) { return !Contains(t, "\\btransformer\\b"); }};
}

bool ParagraphsAreNumbered(Text text) {
  return std::ranges::all_of(ParagraphsOf(text), [](const std::string& paragraph) {
    const std::string trimmed(Trim(paragraph));
    return trimmed.empty() || std::regex_search(trimmed, std::regex("^\\d+\\."));
  });
}

Rules ParagraphRules(size_t level) {
  const size_t paragraphs = level < 5 ? 3 : 4;  // the last level asks for a closing line
  return {[=](Text t) { return ParagraphsOf(t).size() == paragraphs; },
          [](Text t) {
            const std::vector<std::string> all = ParagraphsOf(t);
            for (size_t i = 0; i < std::min<size_t>(all.size(), 3); ++i) {
              if (SentencesOf(all[i]).size() >= 3) return false;
            }
            return true;
          },
          [](Text t) { return EverySentence(t, [](size_t words) { return words > 20; }); },
          ParagraphsAreNumbered, [](Text t) { return t.ends_with("Those are suggestions"); }};
}

// --- one rule for all levels, against the row's target

bool LinesAreAmong(Text text, Text target) {
  const std::vector<std::string> allowed = Split(target, '\n');
  return std::ranges::all_of(Split(text, '\n'), [&](const std::string& line) {
    return std::ranges::find(allowed, line) != allowed.end();
  });
}

// One of "['Britain', \"Hawke's Bay\"]".
bool IsInPrintedList(Text text, Text target) {
  for (size_t i = 0; i < target.size(); ++i) {
    if (target[i] != '\'' && target[i] != '"') continue;
    const size_t end = target.find(target[i], i + 1);
    if (end == std::string::npos) return false;
    if (target.substr(i + 1, end - i - 1) == text) return true;
    i = end;
  }
  return false;
}

// The text is the target's template with anything but line ends for {answer}.
bool FitsTemplate(Text text, Text target) {
  std::string pattern = ReplaceAll(target, "{instruction}\n", "");
  pattern = ReplaceAll(ReplaceAll(pattern, "{{", "{"), "}}", "}");
  const size_t at = pattern.find("{answer}");
  if (at == std::string::npos) return text == pattern;
  const std::string before = pattern.substr(0, at), after = pattern.substr(at + 8);
  return text.size() >= before.size() + after.size() && text.starts_with(before) &&
         text.ends_with(after) &&
         text.substr(before.size(), text.size() - before.size() - after.size()).find('\n') ==
             std::string::npos;
}

struct TargetRule {
  const char* source;
  bool (*holds)(Text text, Text target);
};
constexpr TargetRule kTargetRules[] = {
    {"E2E", [](Text text, Text target) { return text == target; }},
    {"text_editing", [](Text text, Text target) { return text == target; }},
    {"WIKIEVENTS", LinesAreAmong},
    {"CONLL2003", IsInPrintedList},
    {"BBH_logical", [](Text text, Text target) { return LastOf(text, "\\([A-Z]\\)") == target; }},
    {"BBH_time",
     [](Text text, Text target) { return LastOf(text, "\\d{2}/\\d{2}/\\d{4}") == target; }},
    {"self_made_space",
     [](Text text, Text target) { return text.find(target) != std::string::npos; }},
    {"gsm_8k", [](Text text, Text target) { return LastOf(text, "\\$\\d+") == target; }},
};

struct LevelRules {
  const char* source;
  Rules (*rules)();
};
constexpr LevelRules kLevelRules[] = {
    {"cnn_dailymail", NewsRules}, {"xsum", OneSentenceNewsRules}, {"samsum", DialogueRules},
    {"gigaword", HeadlineRules},  {"arxiv", AbstractRules},
};

constexpr std::string_view kParagraphExample = "22";

const TargetRule* FindTargetRule(std::string_view source) {
  const auto* found = std::ranges::find(kTargetRules, source, &TargetRule::source);
  return found == std::end(kTargetRules) ? nullptr : found;
}

const LevelRules* FindLevelRules(std::string_view source) {
  const auto* found = std::ranges::find(kLevelRules, source, &LevelRules::source);
  return found == std::end(kLevelRules) ? nullptr : found;
}

std::vector<bool> UpTo(size_t level, const Rules& rules, Text text) {
  std::vector<bool> followed;
  for (size_t i = 0; i < std::min(level, rules.size()); ++i) followed.push_back(rules[i](text));
  return followed;
}

}  // namespace

bool HasFollowRules(std::string_view category, std::string_view source,
                    std::string_view example_id) {
  return category == "example" || (category == "format" && example_id == kParagraphExample) ||
         FindTargetRule(source) != nullptr || FindLevelRules(source) != nullptr;
}

std::vector<bool> FollowedRules(std::string_view text_view, std::span<const std::string> about) {
  QUALM_CHECK(about.size() == 5);
  const std::string text(text_view);
  const std::string &category = about[0], &source = about[1], &example = about[2],
                    &target = about[4];
  if (about[3].size() != 1 || about[3][0] < '1' || about[3][0] > '5') {
    ThrowBadInput("FollowBench", "a level, 1 to 5", StrCat("'", about[3], "'"));
  }
  const auto level = static_cast<size_t>(about[3][0] - '0');
  if (category == "example") return {FitsTemplate(text, target)};
  if (category == "format" && example == kParagraphExample) {
    return UpTo(level, ParagraphRules(level), text);
  }
  if (const TargetRule* rule = FindTargetRule(source)) return {rule->holds(text, target)};
  if (const LevelRules* rules = FindLevelRules(source)) return UpTo(level, rules->rules(), text);
  ThrowBadInput("FollowBench", "a row with rules", StrCat(category, ", ", source));
}

}  // namespace qualm
