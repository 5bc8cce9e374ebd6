// The layers of a compressed-tensors file. What a file configures beyond its weights (rounded
// inputs, rotations, caches) is in compressed_tensors_runtime.cc, the weights are in
// compressed_tensors_weights.cc.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/compressed_tensors_config.h"
#include "formats/quantized_layers.h"

namespace qualm {

class CompressedTensorsLayers final : public QuantizedLayers {
 public:
  // With `divides_first` a value of NVFP4 is value·(1/global)·scale, each product rounded to
  // float32 (AutoRound). Throws bad input where configuration and tensors disagree.
  CompressedTensorsLayers(const FormatInput& input, CompressedTensorsConfig config,
                          FormatDescription description, bool divides_first);

 protected:
  QuantizedWeight ReadWhole(const StoredLayer& stored) const override;
  ConfiguredAttention WholeAttention(const std::string& module) const override;

 private:
  // How a module's weight is stored.
  enum class Kind { kPacked, kPlain, kFp8, kNvfp4, kMxfp4, kMxfp6, kMxfp8 };
  struct Module {
    std::string name;
    const TensorGroup* group = nullptr;
    Kind kind = Kind::kPacked;
    size_t out = 0, in = 0;
  };

  const TensorArgs& WeightsOf(const Module& module) const { return *module.group->weights; }

  // What there is.
  static Kind KindOf(const TensorGroup& group);
  void Open(const std::string& name);
  void CheckArgs(const Module& module) const;
  void SetShape(Module& module) const;
  std::string TypeName(const Module& module) const;
  void CollectOthers();
  void Describe();
  void CompareGlobalScales();

  // Weights.
  std::vector<size_t> SetScales(const Module& module, QuantizedLinear& layer,
                                std::vector<float> (*read)(const TensorView&),
                                std::initializer_list<DType> types) const;
  void ReadColumnGroups(const Module& module, QuantizedLinear& layer) const;
  void ReadPacked(const Module& module, QuantizedLinear& layer) const;
  void SetZeros(const Module& module, std::vector<float> zeros, size_t groups,
                QuantizedLinear& layer) const;
  void ReadPlain(const Module& module, QuantizedLinear& layer) const;
  void ReadFp8(const Module& module, QuantizedLinear& layer) const;
  void ReadSmallFloats(const Module& module, QuantizedLinear& layer) const;
  void SetGroups(const Module& module, QuantizedLinear& layer) const;

  // What happens beyond them.
  ActivationGrid SmallGroups(const Module& module, GroupScaleRule rule) const;
  std::string UnroundedInputs(const Module& module) const;
  std::optional<ActivationGrid> ActivationsOf(const Module& module) const;
  std::vector<float> MatrixAt(const std::string& module, const TransformGroup& group,
                              std::string_view location, size_t side) const;
  void AddTransforms(const Module& module, QuantizedLinear& layer) const;
  void RefuseLostTransforms() const;
  std::optional<ActivationGrid> CacheGrid(const std::string& module, const char* part) const;
  void SetPoint(const std::string& name, const TensorArgs& args, ActivationGrid& grid) const;
  bool HasCacheGrid() const;

  bool divides_first_;
  const TensorFile& file_;
  CompressedTensorsConfig config_;
  DType model_type_;
  std::map<std::string, Module, std::less<>> modules_;
};

}  // namespace qualm
