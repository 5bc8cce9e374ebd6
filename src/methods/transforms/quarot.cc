// QuaRot (Ashkboos et al. 2024, section 4): random Hadamard rotations spread outliers over all
// channels. model_rotation.h describes what is rotated and how that is folded. The choice is for
// the whole model, not for one input, so nothing is searched.
#include "methods/transforms/quarot.h"

#include "methods/method_options.h"

namespace qualm {
namespace {

class QuaRot final : public WithOptions<Transform, RotationOptions> {
 public:
  using WithOptions::WithOptions;

  std::string_view name() const override { return "quarot"; }
  bool needs_data() const override { return false; }
  const RotationOptions* rotation() const override { return &options_; }
  InputEdit Choose(const InputReaders&, const Context&) const override { return {}; }
};

}  // namespace

std::unique_ptr<Transform> MakeQuaRot(const Yaml* options) {
  return std::make_unique<QuaRot>(OptionsFrom<RotationOptions>(options));
}

}  // namespace qualm
