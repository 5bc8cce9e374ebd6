// A weight whose rows only its format's own decoder can read: codes over groups that cross rows,
// codebooks of several weights, signs apart from magnitudes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>

#include "artefact/quantized_linear.h"
#include "tensor/matrix.h"

namespace qualm {

// Decodes rows of one weight [out, in]. It has no state, so threads share it.
class RowDecoder {
 public:
  virtual ~RowDecoder() = default;
  // Weights [begin, begin + to.size()) of `row`, in the value type of the format. Any range inside
  // the row.
  virtual void Decode(size_t row, size_t begin, std::span<float> to) const = 0;
};

struct RowBlocks {
  size_t out_features = 0, in_features = 0;
  std::string format;         // "iq2_xs", for people
  uint64_t stored_bytes = 0;  // in the file
  std::shared_ptr<const RowDecoder> decoder;
  bool runs_as_floats = false;  // products keep the weight in float32: decoding it takes long

  Matrix Dequantize() const;
};

// The weight of a layer as a file holds it: codes on a grid, or blocks.
using QuantizedWeight = std::variant<QuantizedLinear, RowBlocks>;

std::pair<size_t, size_t> ShapeOf(const QuantizedWeight& weight);  // out, in
Matrix Dequantize(const QuantizedWeight& weight);

// Its rows one by one, in float32.
std::shared_ptr<const RowDecoder> RowsOf(QuantizedWeight weight);

// Which rows of a weight are taken: runs of `run` rows, `step` rows apart, from row `first` on, or,
// with run 0, neighbouring ones.
struct RowRuns {
  size_t first = 0;
  size_t run = 0, step = 0;

  size_t Row(size_t row) const {
    return run == 0 ? first + row : first + row / run * step + row % run;
  }
};

// `count` rows of the weight as a separate weight. Requires: all of them exist. Throws bad
// input for a weight with online transforms of its outputs, which mix rows.
QuantizedWeight SelectRows(QuantizedWeight weight, const RowRuns& rows, size_t count);

}  // namespace qualm
