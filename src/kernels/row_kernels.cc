#include "kernels/row_kernels.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "tensor/isa.h"
#include "tensor/linear.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/row_kernels.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h:
#include "kernels/codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// A product takes four operations for every kLanes weights (mask, convert, scale, accumulate); the
// sums of several panels go on at the same time so that none waits for its latency.
inline constexpr size_t kMostChains = HWY_TARGET == HWY_AVX2 ? 4 : 8;
inline constexpr size_t kVectors = kPanelLanes / kLanes;

template <size_t kBits, size_t kPanels>
struct PanelSet {
  static constexpr size_t kChains = kPanels * kVectors;
  using SetConstants = Constants<kBits, true>[kChains];
  using Sums = FloatVector[kChains];

  static HWY_INLINE void LoadConstants(const RowProduct& p, size_t panel, size_t group,
                                       SetConstants& constants) {
    for (size_t c = 0; c < kChains; ++c) {
      const uint8_t* of_panel = p.constants + (panel + c / kVectors) * p.constants_stride;
      constants[c].Set(*p.form, of_panel + group * p.form->ConstantBytes(), c % kVectors * kLanes);
    }
  }

  template <size_t kPosition>
  static HWY_INLINE void AddPosition(const WordVector (&windows)[kChains],
                                     const SetConstants& constants, const float* HWY_RESTRICT x,
                                     Sums& sums) {
    const auto factor = hn::Set(FloatTag(), x[kPosition]);
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      const auto weight = constants[c].template Apply<kPosition>(windows[c]);
      sums[c] = hn::MulAdd(weight, factor, sums[c]);
    }
  }

  template <size_t kWindow>
  static HWY_INLINE void AddWindow(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                   const SetConstants& constants, const float* HWY_RESTRICT x,
                                   Sums& sums) {
    WordVector windows[kChains];
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      windows[c] = Window<kBits, kWindow>(chunk + c / kVectors * stride + c % kVectors * kLanes);
    }
    x += kWindow * kPositions;
    AddPosition<0>(windows, constants, x, sums);
    AddPosition<1>(windows, constants, x, sums);
    AddPosition<2>(windows, constants, x, sums);
    AddPosition<3>(windows, constants, x, sums);
  }

  template <size_t... kWindow>
  static HWY_INLINE void AddChunk(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                  const SetConstants& constants, const float* HWY_RESTRICT x,
                                  Sums& sums, std::index_sequence<kWindow...>) {
    (AddWindow<kWindow>(chunk, stride, constants, x, sums), ...);
  }

  static HWY_NOINLINE void Unpack(const uint32_t* HWY_RESTRICT chunk,
                                  const Constants<kBits, true>& constants, float* HWY_RESTRICT to) {
    UnpackChunk(chunk, constants, to);
  }

  // The first `count` inputs of a chunk.
  static HWY_INLINE void AddRest(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                 const SetConstants& constants, const float* HWY_RESTRICT x,
                                 size_t count, Sums& sums) {
    HWY_ALIGN float weights[kChunk * kPanelLanes];
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      Unpack(chunk + c / kVectors * stride + c % kVectors * kLanes, constants[c], weights);
      for (size_t i = 0; i < count; ++i) {
        const auto weight = hn::Load(FloatTag(), weights + i * kPanelLanes);
        sums[c] = hn::MulAdd(weight, hn::Set(FloatTag(), x[i]), sums[c]);
      }
    }
  }

  // k in [begin, end), all in one group, begin at a chunk.
  static HWY_INLINE void AddRange(const RowProduct& p, size_t panel, size_t begin, size_t end,
                                  const SetConstants& constants, Sums& sums) {
    const uint32_t* HWY_RESTRICT chunk =
        p.codes + panel * p.codes_stride + begin / kChunk * kBits * kPanelLanes;
    for (; begin + kChunk <= end; begin += kChunk, chunk += kBits * kPanelLanes) {
      AddChunk(chunk, p.codes_stride, constants, p.x + begin, sums,
               std::make_index_sequence<kWindows>());
    }
    if (begin < end) AddRest(chunk, p.codes_stride, constants, p.x + begin, end - begin, sums);
  }

  static HWY_NOINLINE void Multiply(const RowProduct& p, size_t panel) {
    const FloatTag d;
    HWY_ALIGN float totals[kPanels * kPanelLanes];
    SetConstants constants;
    const size_t group_size = p.form->group_size;
    size_t group = 0, group_begin = 0;  // the next group
    for (size_t block = 0; block < p.in_features; block += kReductionBlock) {
      const size_t block_end = std::min(block + kReductionBlock, p.in_features);
      Sums sums;
      HWY_UNROLL(8)
      for (size_t c = 0; c < kChains; ++c) sums[c] = hn::Zero(d);
      for (size_t k = block; k < block_end;) {
        if (k == group_begin) {
          LoadConstants(p, panel, group++, constants);
          group_begin += group_size;
        }
        const size_t end = std::min(group_begin, block_end);
        AddRange(p, panel, k, end, constants, sums);
        k = end;
      }
      HWY_UNROLL(8)
      for (size_t c = 0; c < kChains; ++c) {
        float* total = totals + c * kLanes;
        hn::Store(block == 0 ? sums[c] : hn::Add(hn::Load(d, total), sums[c]), d, total);
      }
    }
    const size_t column = panel * kPanelLanes;
    std::copy_n(totals, std::min(kPanels * kPanelLanes, p.columns - column), p.y + column);
  }
};

template <size_t kBits>
void Row(const RowProduct& p) {
  constexpr size_t kMost = kMostChains / kVectors;
  size_t panel = 0;
  for (; panel + kMost <= p.panel_count; panel += kMost) {
    PanelSet<kBits, kMost>::Multiply(p, panel);
  }
  for (; panel < p.panel_count; ++panel) PanelSet<kBits, 1>::Multiply(p, panel);
}

RowFunction RowForBits(int bits) {
  static constexpr std::array<RowFunction, 8> kFunctions = {Row<1>, Row<2>, Row<3>, Row<4>,
                                                            Row<5>, Row<6>, Row<7>, Row<8>};
  return kFunctions[static_cast<size_t>(bits - 1)];
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(RowForBits);

RowFunction RowFunctionInUse(int bits) {
  QUALM_CHECK(bits >= 1 && bits <= 8);
  return IsaInUse() == Isa::kScalar ? nullptr : HWY_DYNAMIC_DISPATCH(RowForBits)(bits);
}

}  // namespace qualm
#endif  // HWY_ONCE
#else   // QUALM_PORTABLE

namespace qualm {
RowFunction RowFunctionInUse(int) { return nullptr; }
}  // namespace qualm
#endif  // QUALM_PORTABLE
