// LLM.int8() (Dettmers et al. 2022, section 3.2): inputs whose magnitude passes a threshold are
// multiplied in higher precision with their weights; the rest is rounded vector by vector. In:
// weights and the largest magnitude of each input in calibration. Out: codes, and float columns for
// the inputs that passed the threshold. (The paper decides for each batch; a set from calibration
// makes a result independent of the batch that it is computed in.)
#include "methods/rounders/llm_int8.h"

#include <algorithm>

#include "base/error.h"
#include "methods/columns/lanes.h"
#include "methods/columns/outlier_lists.h"
#include "methods/method_options.h"
#include "methods/rounders/rtn.h"

namespace qualm {
namespace {

struct Options {
  double threshold = 6;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("threshold", self.threshold,
          {.meaning = "inputs whose magnitude passes it stay float", .range = InRange(0, 1e30)});
  }
};

class LlmInt8 final : public WithOptions<Rounder, Options> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "llm_int8"; }
  bool needs_gram() const override { return false; }
  bool stores_scheme_only() const override { return false; }
  bool needs_input_range() const override { return true; }

  RounderResult Round(const RounderInput& input, const Scheme& scheme,
                      const Context& context) const override {
    RequireStaticScheme(scheme, input.weight.cols());
    RequireFinite(input.weight);
    QUALM_CHECK(input.input_abs_max.size() == input.weight.cols());
    // The inputs that stay float.
    FloatColumns columns;
    for (size_t c = 0; c < input.weight.cols(); ++c) {
      if (input.input_abs_max[c] > options_.threshold)
        columns.column.push_back(static_cast<uint32_t>(c));
    }

    // Their weights go to the float columns and are 0 in the matrix that gets rounded.
    Matrix rest = Matrix::CopyOf(input.weight);
    for (size_t r = 0; r < rest.rows(); ++r) {
      for (uint32_t c : columns.column) {
        columns.value.push_back(HalfFromFloat(std::clamp(rest(r, c), -kLargestHalf, kLargestHalf)));
        rest(r, c) = 0;
      }
    }

    RounderResult result;
    result.layer = RoundToNearest(rest, scheme, ClipSearch::kNone, context);
    std::string note = FloatColumnsNote(columns);
    if (!note.empty()) result.notes.push_back(std::move(note));
    if (!columns.column.empty()) result.layer.float_columns = std::move(columns);
    return result;
  }
};

}  // namespace

std::unique_ptr<Rounder> MakeLlmInt8(const Yaml* options) {
  return std::make_unique<LlmInt8>(OptionsFrom<Options>(options));
}

}  // namespace qualm
