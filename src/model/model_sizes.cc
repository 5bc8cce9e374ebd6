// Adds up the tensors of a checkpoint, and the layers that a manifest or another tool's file holds
// in place of some of them.
#include "model/model_sizes.h"

#include "base/strings.h"

namespace qualm {
namespace {

// Whether the tensor is part of how a quantized layer is stored ("<layer>.codes"), not a bias.
bool IsQuantizedStorage(const Manifest& manifest, std::string_view tensor) {
  const size_t dot = tensor.rfind('.');
  if (dot == std::string_view::npos || tensor.substr(dot) == ".bias") return false;
  for (const LayerRecord& layer : manifest.layers) {
    if (tensor.starts_with(layer.name + ".")) return true;
  }
  return false;
}

}  // namespace

// Parameters are counted as the model has them, not as they are stored.
ModelSizes SizesOf(const Checkpoint& checkpoint, const std::optional<Manifest>& manifest) {
  ModelSizes sizes;
  const ModelTensors& tensors = checkpoint.tensors();
  sizes.file_bytes = tensors.file().file_bytes();
  uint64_t tensor_bytes = 0;
  for (const std::string& name : tensors.names()) {
    tensor_bytes += tensors.BytesOf(name);
    if (!manifest || !IsQuantizedStorage(*manifest, name)) {
      sizes.parameters += tensors.ElementsOf(name);
    }
  }

  // Layers of another tool's file: their tensors are none of the model's.
  if (const QuantizedLayers* layers = checkpoint.quantized().layers()) {
    for (const StoredLayer& layer : layers->layers()) {
      sizes.parameters += uint64_t{layer.out} * layer.in;
      tensor_bytes += layer.bytes;
    }
  }

  // A quantized layer counts as many parameters as it has weights.
  if (manifest) {
    for (const LayerRecord& layer : manifest->layers) {
      sizes.parameters += uint64_t{layer.out_features} * layer.in_features;
    }
  }

  const double parameters = static_cast<double>(sizes.parameters);
  // For a quantized folder the manifest has the number: whole files, with their headers.
  sizes.bits_per_weight = manifest ? manifest->bits_per_weight_model
                                   : 8 * static_cast<double>(tensor_bytes) / parameters;
  return sizes;
}

}  // namespace qualm
