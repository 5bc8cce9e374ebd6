// The normalizer of a tokenizer.json: rewrites the text before it is split into words.
// Steps: Sequence, NFC, Prepend, Replace, Strip; any other is an error naming it.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "io/json.h"
#include "tokenize/pattern.h"

namespace qualm {

class Normalizer {
 public:
  // `json` is the value of "normalizer"; null means none.
  static Normalizer Parse(const Json& json, std::string_view place);
  static Normalizer Nfc();

  bool IsIdentity() const { return steps_.empty(); }
  // `text` is well-formed UTF-8. Throws bad input if it grows beyond GrowthLimit.
  std::string Apply(std::string_view text) const;

 private:
  struct ComposeStep {};
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
  using Step = std::variant<ComposeStep, PrependStep, ReplaceStep, StripStep>;

  void Append(const Json& json, std::string_view place);
  // `most`: bytes that the text may grow to (GrowthLimit).
  static void ApplyStep(const ComposeStep& step, size_t most, std::string& text);
  static void ApplyStep(const PrependStep& step, size_t most, std::string& text);
  static void ApplyStep(const ReplaceStep& step, size_t most, std::string& text);
  static void ApplyStep(const StripStep& step, size_t most, std::string& text);

  std::vector<Step> steps_;
};

// Bytes of white space (Unicode's White_Space) at the front and at the back of `text`.
size_t LeadingSpace(std::string_view text);
size_t TrailingSpace(std::string_view text);

}  // namespace qualm
