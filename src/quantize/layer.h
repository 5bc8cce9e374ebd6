// Quantizes one linear layer without a model: the work of `qualm layer`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "artefact/quantized_linear.h"
#include "recipe/recipe.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

// The rounded layer and its errors, relative to the float layer.
struct LayerReport {
  QuantizedLinear layer;
  Matrix rounded;  // Ŵ [out, in], the effective weight, transforms undone
  std::string rounder;
  uint64_t tokens = 0;                     // rows of X; 0 without inputs
  std::optional<double> rel_output_error;  // ‖X(W−Ŵ)ᵀ‖_F / ‖XWᵀ‖_F; empty without inputs
  // ‖XWᵀ − Y‖_F / ‖XWᵀ‖_F, Y with rounded inputs; empty if they stay float
  std::optional<double> rel_product_error;
  double rel_weight_error = 0;  // ‖W−Ŵ‖_F / ‖W‖_F
  double seconds = 0;           // statistics, transforms and rounding, without the measurements
  std::vector<std::string> choices;  // of transforms that search
  std::optional<double> damping;     // see RounderResult
  int damping_attempts = 0;
  bool fell_back_to_rtn = false;
  std::vector<std::string> notes;
};

// weight [out, in]; inputs [tokens, in] or null. The layer is called "layer" in the recipe's
// patterns. Throws bad input, naming `weight_place` or `inputs_place`, for shapes that do not fit,
// values that are not finite, and missing inputs where the recipe reads data.
LayerReport QuantizeLayer(const Matrix& weight, const Matrix* inputs, const Recipe& recipe,
                          std::string_view weight_place, std::string_view inputs_place,
                          uint64_t seed, const Context& context);

// Writes scales.npy and zeros.npy (float32 [out, groups]; the zero point of symmetric schemes too),
// codes.npy (uint8 [out, in]), smooth.npy (float32 [in], the product of all scales that inputs are
// divided by; ones without any), outlier_mask.npy (uint8 [out, in], 1 where a weight is kept in
// higher precision), g_idx.npy (float32 [in], only if groups are permuted) and, with inputs, Y.npy,
// the layer's output on X, rounded inputs included (float32 [tokens, out]), into `folder`, which is
// created if it is missing. Earlier files of these names are removed.
void WriteLayerFiles(const std::filesystem::path& folder, const LayerReport& report,
                     const Matrix* inputs, const Context& context);

}  // namespace qualm
