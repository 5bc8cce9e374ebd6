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
  // `text` is well-formed UTF-8.
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
  static void ApplyStep(const ComposeStep& step, std::string& text);
  static void ApplyStep(const PrependStep& step, std::string& text);
  static void ApplyStep(const ReplaceStep& step, std::string& text);
  static void ApplyStep(const StripStep& step, std::string& text);

  std::vector<Step> steps_;
};

// Bytes of white space (Unicode's White_Space) at the front and at the back of `text`.
size_t LeadingSpace(std::string_view text);
size_t TrailingSpace(std::string_view text);

}  // namespace qualm
