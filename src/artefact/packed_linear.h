// A quantized layer whose codes are still packed as its file has them. It can be run without ever
// holding the codes one in a byte.
#pragma once

#include <cstdint>
#include <span>

#include "artefact/quantized_linear.h"

namespace qualm {

struct PackedLinear {
  QuantizedLinear layer;           // without codes; all groups have scheme.bits
  std::span<const uint8_t> codes;  // PackedRowBytes(in, bits) for each row; not owned

  QuantizedLinear Unpacked() const;
  // Throws bad input where QuantizedLinear::Validate would.
  void Validate() const;
};

// QuantizedLinear::Validate without its codes.
void ValidateAllButCodes(const QuantizedLinear& layer);

}  // namespace qualm
