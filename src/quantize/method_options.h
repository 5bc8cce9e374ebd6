// What rounders and transforms share: a method whose options state their fields once (io/fields.h)
// gets its canonical text and the list of its options from there.
#pragma once

#include <string>
#include <vector>

#include "io/fields.h"

namespace qualm {

// `Method` is Rounder or Transform. The canonical text is part of hashes of recipes and artefacts:
// an option that is added changes them.
template <class Method, HasFields Options>
class WithOptions : public Method {
 public:
  explicit WithOptions(const Options& options) : options_(options) {}

  std::string OptionsJson() const final { return FieldsText(options_); }
  std::vector<FieldDescription> OptionFields() const final { return DescribeFields<Options>(); }

 protected:
  const Options options_;
};

}  // namespace qualm
