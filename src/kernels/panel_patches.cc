// Sorts the outliers and float columns of a layer into the order in which panels are unpacked, so
// that a part of a panel can be patched without searching. Layout: docs/formats/packed.md.
#include "kernels/panel_patches.h"

#include <algorithm>

#include "artefact/quantized_linear.h"
#include "kernels/unpack_kernels.h"
#include "tensor/panels.h"

namespace qualm {

PanelPatches::PanelPatches(const QuantizedLinear& layer) {
  if (layer.outliers) AddOutliers(layer);
  if (layer.float_columns) AddColumns(layer);
}

void PanelPatches::AddOutliers(const QuantizedLinear& layer) {
  const Outliers& from = *layer.outliers;
  // An outlier on its way from the layer's rows to the lists by chunk.
  struct Entry {
    size_t chunk;
    uint16_t place;
    Half value;
  };
  std::vector<Entry> entries;

  chunks_ = (layer.in_features + kChunkInputs - 1) / kChunkInputs;
  chunk_start_.push_back(0);
  for (size_t panel = 0; panel < PanelCount(layer.out_features); ++panel) {
    entries.clear();
    // Collect the panel's outliers row by row, as the layer stores them.
    for (size_t lane = 0; lane < kPanelLanes; ++lane) {
      const size_t row = panel * kPanelLanes + lane;
      if (row >= layer.out_features) break;
      for (uint32_t i = from.row_start[row]; i < from.row_start[row + 1]; ++i) {
        const size_t place = from.column[i] % kChunkInputs * kPanelLanes + lane;
        entries.push_back(
            {from.column[i] / kChunkInputs, static_cast<uint16_t>(place), from.value[i]});
      }
    }

    // Regroup them by chunk, the unit that Unpack works in; every chunk gets its end, empty or not.
    std::ranges::sort(entries, {}, &Entry::chunk);
    auto entry = entries.begin();
    for (size_t chunk = 0; chunk < chunks_; ++chunk) {
      for (; entry != entries.end() && entry->chunk == chunk; ++entry) {
        places_.push_back(entry->place);
        outliers_.push_back(entry->value);
      }
      chunk_start_.push_back(static_cast<uint32_t>(places_.size()));
    }
  }
}

void PanelPatches::AddColumns(const QuantizedLinear& layer) {
  const FloatColumns& from = *layer.float_columns;
  columns_ = from.column;
  const size_t count = columns_.size();
  column_values_.reserve(PanelCount(layer.out_features) * count * kPanelLanes);
  for (size_t panel = 0; panel < PanelCount(layer.out_features); ++panel) {
    for (size_t column = 0; column < count; ++column) {
      for (size_t lane = 0; lane < kPanelLanes; ++lane) {
        // Lanes beyond the last row may hold anything, so they repeat the last row.
        const size_t row = std::min(panel * kPanelLanes + lane, layer.out_features - 1);
        column_values_.push_back(from.value[row * count + column]);
      }
    }
  }
}

size_t PanelPatches::bytes() const {
  return (chunk_start_.size() + columns_.size()) * sizeof(uint32_t) +
         places_.size() * sizeof(uint16_t) +
         (outliers_.size() + column_values_.size()) * sizeof(Half);
}

// Overwrites the outliers of one chunk; f16 values are converted 16 at a time.
void PanelPatches::ApplyOutliers(size_t chunk, float* weights) const {
  const size_t first = chunk_start_[chunk], end = chunk_start_[chunk + 1];
  float values[kPanelLanes];
  for (size_t i = first; i < end; i += kPanelLanes) {
    const size_t count = std::min(kPanelLanes, end - i);
    ConvertToFloat(DType::kF16, outliers_.data() + i, values, count);
    for (size_t j = 0; j < count; ++j) weights[places_[i + j]] = values[j];
  }
}

void PanelPatches::Apply(size_t panel, size_t k_begin, size_t depth, float* weights) const {
  // Outliers are listed by chunk; `first` is the chunk of this panel where the part begins.
  if (!places_.empty()) {
    const size_t first = panel * chunks_ + k_begin / kChunkInputs;
    for (size_t chunk = 0; chunk * kChunkInputs < depth; ++chunk) {
      ApplyOutliers(first + chunk, weights + chunk * kChunkInputs * kPanelLanes);
    }
  }

  // Float columns are sorted, so the ones in this part of the panel are neighbours.
  for (auto at = std::ranges::lower_bound(columns_, k_begin);
       at != columns_.end() && *at < k_begin + depth; ++at) {
    const size_t column = static_cast<size_t>(at - columns_.begin());
    const Half* from = column_values_.data() + (panel * columns_.size() + column) * kPanelLanes;
    ConvertToFloat(DType::kF16, from, weights + (*at - k_begin) * kPanelLanes, kPanelLanes);
  }
}

}  // namespace qualm
