// The normalizer of a tokenizer.json: rewrites the text before it is split into words.
// Steps: Sequence, NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Nmt, BertNormalizer, Prepend,
// Replace, Strip, Precompiled, ByteLevel; any other is an error naming it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/json.h"
#include "tokenize/charsmap.h"
#include "tokenize/pattern.h"
#include "tokenize/unicode.h"

namespace qualm {

class Normalizer {
 public:
  // What BERT's does, in this order.
  struct BertOptions {
    bool clean_text = true;            // drops controls, turns white space into spaces
    bool handle_chinese_chars = true;  // puts spaces around ideographs
    bool strip_accents = true;         // decomposes and drops marks that take no space
    bool lowercase = true;
  };

  // `json` is the value of "normalizer"; null means none.
  static Normalizer Parse(const Json& json, std::string_view place);
  static Normalizer Nfc();
  static Normalizer Bert(const BertOptions& options);
  static Normalizer ReplaceSpaces(std::string content);
  // A SentencePiece character map, as its file holds it; nothing for an empty one.
  static Normalizer Precompiled(std::string_view charsmap, std::string_view place);

  bool IsIdentity() const { return steps_.empty(); }
  // `text` is well-formed UTF-8. Throws bad input if it grows beyond GrowthLimit.
  std::string Apply(std::string_view text) const;

 private:
  struct NormalFormStep {
    NormalForm form;
  };
  struct LowercaseStep {};
  struct StripAccentsStep {};
  struct NmtStep {};
  struct BertStep {
    BertOptions options;
  };
  struct PrependStep {
    std::string content;
  };
  struct ReplaceStep {
    Pattern pattern;
    std::string content;
  };
  struct StripStep {
    bool left = true, right = true;
  };
  struct PrecompiledStep {
    Charsmap charsmap;
    Regex grapheme;
  };
  struct ByteLevelStep {};
  using Step = std::variant<NormalFormStep, LowercaseStep, StripAccentsStep, NmtStep, BertStep,
                            PrependStep, ReplaceStep, StripStep, PrecompiledStep, ByteLevelStep>;

  void Append(const Json& json, std::string_view place);
  void AppendBert(const Json& json, std::string_view place);
  void AppendPrecompiled(std::string_view charsmap, std::string_view place);
  static void ApplyStep(const NormalFormStep& step, std::string& text);
  static void ApplyStep(const LowercaseStep& step, std::string& text);
  static void ApplyStep(const StripAccentsStep& step, std::string& text);
  static void ApplyStep(const NmtStep& step, std::string& text);
  static void ApplyStep(const BertStep& step, std::string& text);
  static void ApplyStep(const PrependStep& step, std::string& text);
  static void ApplyStep(const ReplaceStep& step, std::string& text);
  static void ApplyStep(const StripStep& step, std::string& text);
  static void ApplyStep(const PrecompiledStep& step, std::string& text);
  static void ApplyStep(const ByteLevelStep& step, std::string& text);

  std::vector<Step> steps_;
};

// Bytes of white space (Unicode's White_Space) at the front and at the back of `text`.
size_t LeadingSpace(std::string_view text);
size_t TrailingSpace(std::string_view text);

}  // namespace qualm
