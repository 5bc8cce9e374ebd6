// The pre-tokenizer of a tokenizer.json: splits normalized text into the words that are encoded
// apart. Steps: Sequence, BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, FixedLength,
// Metaspace, Punctuation, Split, UnicodeScripts, Whitespace, WhitespaceSplit; any other is an error
// naming it.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/json.h"
#include "tokenize/pattern.h"

namespace qualm {

struct Word {
  std::string_view text;
  bool starts_text = false;  // begins where the whole input begins
};

class PreTokenizer {
 public:
  // `json` is the value of "pre_tokenizer"; null means that the text is one word.
  static PreTokenizer Parse(const Json& json, std::string_view place);
  // GPT-2's: contractions, letters, digits, others, each with a space before, then white space.
  static PreTokenizer Gpt2(bool add_prefix_space);
  // Qwen2's: as GPT-4's, digits one by one.
  static PreTokenizer Qwen2(bool add_prefix_space);
  // Llama 3's and GPT-4's: as Qwen2's, up to three digits together.
  static PreTokenizer Llama3();
  static PreTokenizer Bert();
  static PreTokenizer WhiteSpaceSplit();
  enum class Prefix { kAlways, kFirst, kNever };
  static PreTokenizer Metaspace(Prefix prefix, bool split);
  // Splits after every space.
  static PreTokenizer AfterSpaces();
  // The steps of `other` follow those of this.
  void Then(PreTokenizer other);

  // True if words are encoded by their bytes, spelled in the alphabet of byte_level.h, and Apply
  // leaves that spelling to the model.
  bool is_byte_level() const { return is_byte_level_; }
  // Makes Apply spell the bytes itself.
  void SpellBytes();

  // Replaces the words by what they split into, empty ones left out. The texts live in what they
  // pointed to before and in `storage`.
  void Apply(std::vector<Word>& words, std::deque<std::string>& storage) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct SplitStep {
    Pattern pattern;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
  };
  struct ReplaceStep {
    std::string from, to;
  };
  struct PrefixStep {
    std::string prefix;
    bool only_at_start = false;  // of the whole input
  };
  struct SpellBytesStep {};
  struct FixedLengthStep {
    size_t characters = 1;
  };
  struct ScriptsStep {};
  using Step = std::variant<SplitStep, ReplaceStep, PrefixStep, SpellBytesStep, FixedLengthStep,
                            ScriptsStep>;
  struct Part {
    TextRange range;
    bool is_match = false;
  };

  void Append(const Json& json, std::string_view place);
  void AppendSplit(const Json& json, std::string_view place);
  void AppendMetaspace(const Json& json, std::string_view place);
  void AppendMetaspace(const std::string& replacement, Prefix prefix, bool split);
  void AppendBert();
  void AppendExpression(std::string_view expression, Behavior behavior, bool invert = false);
  void AppendByteLevel(bool add_prefix_space, bool use_regex);
  static Behavior ParseBehavior(const std::string& name, std::string_view place);
  static std::vector<Part> Cut(const SplitStep& step, Pattern::Finder& finder,
                               std::string_view text);
  static std::vector<Part> Merge(Behavior behavior, const std::vector<Part>& parts);
  static void ApplyStep(const SplitStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);
  static void ApplyStep(const ReplaceStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);
  static void ApplyStep(const PrefixStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);
  static void ApplyStep(const SpellBytesStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);
  static void ApplyStep(const FixedLengthStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);
  static void ApplyStep(const ScriptsStep& step, std::vector<Word>& words,
                        std::deque<std::string>& storage);

  std::vector<Step> steps_;
  bool is_byte_level_ = false;
};

}  // namespace qualm
