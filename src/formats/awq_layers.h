// Layers in AutoAWQ's packings, which GPTQModel and AutoRound write as well.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "formats/quantized_layers.h"

namespace qualm {

enum class AwqVersion : uint8_t { kGemm, kGemv, kGemvFast };

class AwqLayers : public QuantizedLayers {
 public:
  // The group size of a module, -1 for one group; empty: the module is not quantized.
  using GroupSizeOf = std::function<std::optional<int64_t>(const std::string& module)>;

  // Throws bad input for a module whose tensors contradict its group size.
  AwqLayers(const FormatInput& input, FormatDescription description, AwqVersion version,
            const GroupSizeOf& group_size);

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& layer) const override;

 private:
  struct Module {
    size_t out = 0, in = 0, groups = 0, group_size = 0;
  };
  Module Open(const std::string& name, int64_t group_size) const;
  void ReadGemm(const std::string& name, const Module& module, QuantizedLinear& layer) const;
  void ReadGemv(const std::string& name, const Module& module, QuantizedLinear& layer) const;
  void ReadGemvFast(const std::string& name, const Module& module, QuantizedLinear& layer) const;

  const TensorFile& file_;
  AwqVersion version_;
  std::map<std::string, Module, std::less<>> modules_;
};

}  // namespace qualm
