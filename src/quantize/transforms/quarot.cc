// QuaRot (Ashkboos et al. 2024, section 4): random Hadamard rotations spread outliers over all
// channels. What is rotated, and how it is folded: model_rotation.h. A choice for the whole model,
// not for a group: nothing is searched.
#include "quantize/transforms/quarot.h"

#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "io/yaml.h"

namespace qualm {
namespace {

class QuaRot final : public Transform {
 public:
  explicit QuaRot(const RotationOptions& options) : options_(options) {}

  std::string_view name() const override { return "quarot"; }
  bool needs_data() const override { return false; }
  const RotationOptions* rotation() const override { return &options_; }
  InputEdit Choose(const TransformGroup&, ThreadPool&) const override { return {}; }

  std::string OptionsJson() const override {
    return StrCat(R"({"residual": )", options_.residual, R"(, "heads": )", options_.heads,
                  R"(, "online": )", options_.online, R"(, "seed": )", options_.seed, "}");
  }

 private:
  RotationOptions options_;
};

}  // namespace

std::unique_ptr<Transform> MakeQuaRot(const Yaml* yaml) {
  if (yaml != nullptr) {
    yaml->RequireKnownKeys(std::array<std::string, 4>{"residual", "heads", "online", "seed"});
  }
  RotationOptions options;
  options.residual = BoolOption(yaml, "residual", options.residual);
  options.heads = BoolOption(yaml, "heads", options.heads);
  options.online = BoolOption(yaml, "online", options.online);
  options.seed = static_cast<uint64_t>(IntOption(yaml, "seed", 0, 0, int64_t{1} << 62));
  return std::make_unique<QuaRot>(options);
}

}  // namespace qualm
