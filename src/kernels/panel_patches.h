// Weights in higher precision that take the places of unpacked ones: outliers and float columns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor/dtype.h"

namespace qualm {

struct QuantizedLinear;

// Built once from a layer; Apply is called each time a part of a panel has been unpacked, before
// the weights are used.
class PanelPatches {
 public:
  PanelPatches() = default;
  explicit PanelPatches(const QuantizedLinear& layer);

  bool empty() const { return places_.empty() && columns_.empty(); }
  size_t bytes() const;
  // Puts the values in their places of the panel weights [depth][16] that start at input k_begin.
  // Requires: k_begin is a multiple of kChunkInputs, and so is depth if more inputs follow.
  void Apply(size_t panel, size_t k_begin, size_t depth, float* weights) const;

 private:
  void AddOutliers(const QuantizedLinear& layer);
  void AddColumns(const QuantizedLinear& layer);
  void ApplyOutliers(size_t chunk, float* weights) const;

  // Outliers by chunk, [panel][chunk]. Those of chunk c are at [chunk_start_[c], chunk_start_[c +
  // 1]), and their places in the chunk are input·16 + lane.
  size_t chunks_ = 0;  // chunks of one panel
  std::vector<uint32_t> chunk_start_;
  std::vector<uint16_t> places_;
  std::vector<Half> outliers_;
  // Float columns: the inputs, and the values [panel][column][16].
  std::vector<uint32_t> columns_;
  std::vector<Half> column_values_;
};

}  // namespace qualm
