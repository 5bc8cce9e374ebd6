// QuaRot (Ashkboos et al. 2024, section 4): random Hadamard rotations spread outliers over all
// channels. What is rotated, and how it is folded: model_rotation.h. A choice for the whole model,
// not for a group: nothing is searched.
#include "quantize/transforms/quarot.h"

#include "quantize/method_options.h"

namespace qualm {
namespace {

class QuaRot final : public WithOptions<Transform, RotationOptions> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "quarot"; }
  bool needs_data() const override { return false; }
  const RotationOptions* rotation() const override { return &options_; }
  InputEdit Choose(const TransformGroup&, ThreadPool&) const override { return {}; }
};

}  // namespace

std::unique_ptr<Transform> MakeQuaRot(const Yaml* options) {
  return std::make_unique<QuaRot>(OptionsFrom<RotationOptions>(options));
}

}  // namespace qualm
