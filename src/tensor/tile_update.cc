// C -= Aᵀ·B on packed operands, once as vector code for each instruction set and once in plain C++
// for portable builds. Tile is the loop that matters; the exported functions only dispatch.
#include "tensor/tile_update.h"

#include <algorithm>
#include <cmath>

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/tile_update.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
template <typename T>
using Tag = hn::CappedTag<T, kLanesOf<T>>;

// Vectors in a row of a panel: 1 with AVX-512, 2 with AVX2.
template <typename T>
constexpr size_t kVectors = kLanesOf<T> / hn::MaxLanes(Tag<T>());

// kPanels panels at once, so that enough sums are in flight to hide the latency of the fma.
template <size_t kPanels, typename T>
HWY_INLINE void Tile(const T* HWY_RESTRICT strip, const T* HWY_RESTRICT panels, size_t panels_step,
                     size_t depth, T* HWY_RESTRICT c, TileLayout layout) {
  const Tag<T> d;
  constexpr size_t kLanes = hn::MaxLanes(Tag<T>());
  constexpr size_t kWide = kPanels * kVectors<T>;
  hn::Vec<Tag<T>> sum[kStripColumns][kWide];
  auto place = [&](size_t row, size_t v) {
    return c + row * layout.row_step + v / kVectors<T> * layout.panel_step +
           v % kVectors<T> * kLanes;
  };

  // Load the tile of C: chains continue from it.
  for (size_t row = 0; row < kStripColumns; ++row) {
    for (size_t v = 0; v < kWide; ++v) sum[row][v] = hn::LoadU(d, place(row, v));
  }

  for (size_t k = 0; k < depth; ++k) {
    hn::Vec<Tag<T>> b[kWide];
    for (size_t v = 0; v < kWide; ++v) {
      b[v] = hn::LoadU(
          d, panels + v / kVectors<T> * panels_step + k * kLanesOf<T> + v % kVectors<T> * kLanes);
    }

    // A chain starts from the element of C itself, so every step is one fused subtraction.
    for (size_t row = 0; row < kStripColumns; ++row) {
      const auto a = hn::Set(d, strip[k * kStripColumns + row]);
      for (size_t v = 0; v < kWide; ++v) sum[row][v] = hn::NegMulAdd(a, b[v], sum[row][v]);
    }
  }

  for (size_t row = 0; row < kStripColumns; ++row) {
    for (size_t v = 0; v < kWide; ++v) hn::StoreU(sum[row][v], d, place(row, v));
  }
}

// All panels: four at a time if a panel is one vector, then the rest one by one.
template <typename T>
HWY_INLINE void Product(const T* strip, const T* panels, size_t panels_step, size_t panel_count,
                        size_t depth, T* c, TileLayout layout) {
  constexpr size_t kAtOnce = 4 / kVectors<T> == 4 ? 4 : 1;
  size_t p = 0;
  for (; p + kAtOnce <= panel_count; p += kAtOnce) {
    Tile<kAtOnce>(strip, panels + p * panels_step, panels_step, depth, c + p * layout.panel_step,
                  layout);
  }
  for (; p < panel_count; ++p) {
    Tile<1>(strip, panels + p * panels_step, panels_step, depth, c + p * layout.panel_step, layout);
  }
}

void ProductFloat(const float* strip, const float* panels, size_t panels_step, size_t panel_count,
                  size_t depth, float* c, TileLayout layout) {
  Product(strip, panels, panels_step, panel_count, depth, c, layout);
}

void ProductDouble(const double* strip, const double* panels, size_t panels_step,
                   size_t panel_count, size_t depth, double* c, TileLayout layout) {
  Product(strip, panels, panels_step, panel_count, depth, c, layout);
}

// Rows of one panel's width, so the values stay in registers for all rows.
void Outer(const float* HWY_RESTRICT factors, size_t count, const float* HWY_RESTRICT values,
           float* HWY_RESTRICT rows) {
  const Tag<float> d;
  constexpr size_t kLanes = hn::MaxLanes(Tag<float>());
  hn::Vec<Tag<float>> value[kVectors<float>];
  for (size_t v = 0; v < kVectors<float>; ++v) value[v] = hn::LoadU(d, values + v * kLanes);

  for (size_t i = 0; i < count; ++i) {
    const auto factor = hn::Set(d, factors[i]);
    for (size_t v = 0; v < kVectors<float>; ++v) {
      float* at = rows + i * kLanesOf<float> + v * kLanes;
      hn::StoreU(hn::NegMulAdd(factor, value[v], hn::LoadU(d, at)), d, at);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(ProductFloat);
HWY_EXPORT(ProductDouble);
HWY_EXPORT(Outer);

void SubtractProduct(const float* strip, const float* panels, size_t panels_step,
                     size_t panel_count, size_t depth, float* c, TileLayout layout) {
  HWY_DYNAMIC_DISPATCH(ProductFloat)(strip, panels, panels_step, panel_count, depth, c, layout);
}

void SubtractProduct(const double* strip, const double* panels, size_t panels_step,
                     size_t panel_count, size_t depth, double* c, TileLayout layout) {
  HWY_DYNAMIC_DISPATCH(ProductDouble)(strip, panels, panels_step, panel_count, depth, c, layout);
}

void SubtractOuter(const float* factors, size_t count, const float* values, float* rows) {
  HWY_DYNAMIC_DISPATCH(Outer)(factors, count, values, rows);
}

}  // namespace qualm
#endif  // HWY_ONCE

#else  // QUALM_PORTABLE

namespace qualm {
namespace {

// The same chains, one element after the other.
template <typename T>
void Product(const T* strip, const T* panels, size_t panels_step, size_t panel_count, size_t depth,
             T* c, TileLayout layout) {
  // The elements of a row of C are independent chains, as they are in the vector code.
  for (size_t p = 0; p < panel_count; ++p) {
    for (size_t row = 0; row < kStripColumns; ++row) {
      T* at = c + row * layout.row_step + p * layout.panel_step;
      const T* panel = panels + p * panels_step;
      T sum[kLanesOf<T>];
      std::copy_n(at, kLanesOf<T>, sum);
      for (size_t k = 0; k < depth; ++k) {
        const T factor = -strip[k * kStripColumns + row];
        for (size_t l = 0; l < kLanesOf<T>; ++l) {
          sum[l] = std::fma(factor, panel[k * kLanesOf<T> + l], sum[l]);
        }
      }

      std::copy_n(sum, kLanesOf<T>, at);
    }
  }
}

}  // namespace

void SubtractProduct(const float* strip, const float* panels, size_t panels_step,
                     size_t panel_count, size_t depth, float* c, TileLayout layout) {
  Product(strip, panels, panels_step, panel_count, depth, c, layout);
}

void SubtractProduct(const double* strip, const double* panels, size_t panels_step,
                     size_t panel_count, size_t depth, double* c, TileLayout layout) {
  Product(strip, panels, panels_step, panel_count, depth, c, layout);
}

void SubtractOuter(const float* factors, size_t count, const float* values, float* rows) {
  for (size_t i = 0; i < count; ++i) {
    float* row = rows + i * kLanesOf<float>;
    for (size_t l = 0; l < kLanesOf<float>; ++l) {
      row[l] = std::fma(-factors[i], values[l], row[l]);
    }
  }
}

}  // namespace qualm

#endif  // QUALM_PORTABLE
