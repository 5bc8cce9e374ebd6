// Layers in GPTQ's packing, which AutoGPTQ, GPTQModel and AutoRound write: qweight, qzeros, scales
// and g_idx of each module (docs/formats/foreign.md).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "formats/quantized_layers.h"

namespace qualm {

// What the file's description says of one module.
struct GptqSettings {
  int bits = 4;
  int64_t group_size = 128;  // -1: one group
  bool is_symmetric = true;
  bool has_act_order = false;
};

// How all modules of a file are packed.
struct GptqPacking {
  bool is_v2 = false;      // zero points are stored as they are, not less one
  bool is_planar = false;  // codes in planes of bits
  // The reading of v1's zero points that options chose; kAuto: by each module's settings.
  GptqZeros zeros = GptqZeros::kAuto;
  bool writer_is_gptqmodel = false;
  bool drops_zero_sign = false;  // ValueForm::drops_zero_sign
};

class GptqLayers : public QuantizedLayers {
 public:
  // Empty: the module is not quantized, whatever tensors it has.
  using SettingsOf = std::function<std::optional<GptqSettings>(const std::string& module)>;

  // Throws bad input for a module whose tensors contradict its settings.
  GptqLayers(const FormatInput& input, FormatDescription description, const GptqPacking& packing,
             const SettingsOf& settings);

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& layer) const override;

 private:
  struct Module {
    std::string name;
    GptqSettings settings;
    size_t out = 0, in = 0, groups = 0, group_size = 0;
    bool is_v2 = false;
    GptqZeros zeros = GptqZeros::kMasked;
  };

  Module Open(const std::string& name, const GptqSettings& settings);
  GptqZeros ZerosReading(const GptqSettings& settings) const;
  void CheckVersion(Module& module, StoredLayer& layer);
  void LookForLostZeros(const Module& module, StoredLayer& layer);
  std::vector<uint32_t> StoredZeros(const Module& module, size_t group) const;
  std::vector<float> Zeros(const Module& module) const;
  std::vector<uint32_t> GroupsOfColumns(const Module& module) const;

  const TensorFile& file_;
  GptqPacking packing_;
  std::map<std::string, Module, std::less<>> modules_;
};

}  // namespace qualm
