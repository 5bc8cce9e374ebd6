// Turns a QuantizedLinear into tensors of a safetensors file and back. Names and layouts:
// docs/formats/artefact.md.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "artefact/packed_linear.h"
#include "artefact/quantized_linear.h"
#include "io/tensor_file.h"

namespace qualm {

// Tensors on their way into one file. The batch owns the bytes that were made for it.
class TensorBatch {
 public:
  // All tensors of a quantized layer, in a fixed order, under "<name>.codes", "<name>.scales", ...
  void AddQuantized(const std::string& name, const QuantizedLinear& layer);
  void AddFloats(std::string name, DType type, std::vector<size_t> shape,
                 std::span<const float> values);
  // A tensor copied as it is from another file; `view` must live until the write.
  void AddView(const TensorView& view);

  const std::vector<TensorToWrite>& tensors() const { return tensors_; }

 private:
  void Add(std::string name, DType type, std::vector<size_t> shape, std::vector<std::byte> bytes);

  std::vector<TensorToWrite> tensors_;
  std::deque<std::vector<std::byte>> owned_;
};

// Reads a layer back. Every size and code is checked against the record; throws bad input naming
// the tensor otherwise.
QuantizedLinear ReadQuantizedLinear(const TensorFile& tensors, const LayerRecord& record);

// The same without unpacking the codes, which stay in the file's memory; empty if groups have
// different numbers of bits.
std::optional<PackedLinear> ReadPackedLinear(const TensorFile& tensors, const LayerRecord& record);

// The record of a layer (without quality).
LayerRecord RecordOf(const std::string& name, const QuantizedLinear& layer);

}  // namespace qualm
