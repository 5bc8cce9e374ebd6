// The product of a few tokens with low-bit panels, for one instruction set. Codes become weights in
// registers and are used at once, so nothing is written but the sums. From outside in: Few picks
// the number of tokens, ForRows the panels, PanelSet::Multiply walks the groups, AddRange the
// chunks, AddWindow four neighbouring codes. Included by the kernels' .cc files once per target of
// Highway.

#if defined(QUALM_KERNELS_FEW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUALM_KERNELS_FEW_INL_H_
#undef QUALM_KERNELS_FEW_INL_H_
#else
#define QUALM_KERNELS_FEW_INL_H_
#endif

#include <algorithm>
#include <utility>

#include "hwy/highway.h"
#include "kernels/codes-inl.h"
#include "kernels/few_kernels.h"
#include "tensor/linear.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {

// Registers: 16 of 256 bits, or 32 of 512 bits. kMostHeld of them hold sums and the weights that
// are added to them. With one token four chains run at the same time, which is enough to hide the
// latency of a multiply-add; more would read more streams of codes than memory serves well
// (measured: eight chains take 20 to 30 % longer).
inline constexpr size_t kMostRows = HWY_TARGET == HWY_AVX2 ? 4 : 8;
inline constexpr size_t kMostHeld = HWY_TARGET == HWY_AVX2 ? 10 : 20;
inline constexpr size_t kMostChains = 4;
inline constexpr size_t kVectors = kPanelLanes / kLanes;

// Panels whose sums fit in registers together, for this many tokens.
constexpr size_t PanelsAtOnce(size_t rows) {
  size_t panels = kMostChains / kVectors;
  while (panels > 1 && (rows + 1) * panels * kVectors > kMostHeld) panels /= 2;
  return panels;
}

// kPanels neighbouring panels times kRows tokens, everything known at compile time. A chain is one
// vector of sums for one token: kVectors chains make a panel's 16 rows. Multiply is the entry.
template <size_t kBits, Decoding kDecoding, size_t kRows, size_t kPanels, Rounding kRounding>
struct PanelSet {
  static constexpr size_t kChains = kPanels * kVectors;
  // Whether groups may be half a chunk: those of nvfp4 are.
  static constexpr bool kHalves = kDecoding == Decoding::kTable;
  using SetConstants = Constants<kBits, kDecoding, kRounding>[kChains];
  using Sums = FloatVector[kRows][kChains];

  // The scales and zero points of one group, for all chains.
  static HWY_INLINE void LoadConstants(const FewProduct& p, size_t panel, size_t group,
                                       SetConstants& constants) {
    for (size_t c = 0; c < kChains; ++c) {
      const uint8_t* of_panel = p.constants + (panel + c / kVectors) * p.constants_stride;
      constants[c].Set(*p.form, of_panel + group * p.form->ConstantBytes(), c % kVectors * kLanes);
    }
  }

  // One input: its weights in all panels times its values in all rows.
  template <size_t kPosition>
  static HWY_INLINE void AddPosition(const WordVector (&windows)[kChains],
                                     const SetConstants& constants, const float* HWY_RESTRICT x,
                                     Sums& sums) {
    FloatVector weights[kChains];
    // Weights are made once for all tokens.
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      weights[c] = constants[c].template Apply<kPosition>(windows[c]);
    }

    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      const auto factor = hn::Set(FloatTag(), x[r]);
      HWY_UNROLL(8)
      for (size_t c = 0; c < kChains; ++c) {
        sums[r][c] = hn::MulAdd(weights[c], factor, sums[r][c]);
      }
    }
  }

  // The four inputs of a window, one after the other.
  template <size_t... kPosition>
  static HWY_INLINE void AddPositions(const WordVector (&windows)[kChains],
                                      const SetConstants& constants, const float* HWY_RESTRICT x,
                                      Sums& sums, std::index_sequence<kPosition...>) {
    (AddPosition<kPosition>(windows, constants, x + kPosition * kRows, sums), ...);
  }

  // With one row, the loop goes panel after panel: one panel's window and weights need few
  // registers, so the scales can stay in theirs.
  template <size_t... kPosition>
  static HWY_INLINE void AddPanels(const WordVector (&windows)[kChains],
                                   const SetConstants& constants, const float* HWY_RESTRICT x,
                                   Sums& sums, std::index_sequence<kPosition...>) {
    const FloatVector factors[] = {hn::Set(FloatTag(), x[kPosition])...};
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      ((sums[0][c] = hn::MulAdd(constants[c].template Apply<kPosition>(windows[c]),
                                factors[kPosition], sums[0][c])),
       ...);
    }
  }

  // Four neighbouring inputs: their codes are shifted into one word per lane, then used in turn.
  template <size_t kWindow>
  static HWY_INLINE void AddWindow(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                   const SetConstants& constants, const float* HWY_RESTRICT x,
                                   Sums& sums) {
    WordVector windows[kChains];
    HWY_UNROLL(8)
    for (size_t c = 0; c < kChains; ++c) {
      windows[c] = Window<kBits, kWindow>(chunk + c / kVectors * stride + c % kVectors * kLanes);
    }

    // From here on x is the window's first input.
    x += kWindow * kPositions * kRows;
    using Positions = std::make_index_sequence<kPositions>;
    if constexpr (kRows == 1) {
      AddPanels(windows, constants, x, sums, Positions());
    } else {
      AddPositions(windows, constants, x, sums, Positions());
    }
  }

  // Windows kFirst, kFirst + 1, ... of a chunk.
  template <size_t kFirst, size_t... kWindow>
  static HWY_INLINE void AddWindows(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                    const SetConstants& constants, const float* HWY_RESTRICT x,
                                    Sums& sums, std::index_sequence<kWindow...>) {
    (AddWindow<kFirst + kWindow>(chunk, stride, constants, x, sums), ...);
  }

  // Inputs [first, end) of a chunk that are not whole windows: the weights of one panel after the
  // other are written to memory and read from there.
  static HWY_NOINLINE void AddRest(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                   const SetConstants& constants, const float* HWY_RESTRICT x,
                                   size_t first, size_t end, Sums& sums) {
    HWY_ALIGN float weights[kChunkInputs * kPanelLanes];
    for (size_t c = 0; c < kChains; ++c) {
      UnpackChunk(chunk + c / kVectors * stride + c % kVectors * kLanes, constants[c], weights);

      for (size_t i = first; i < end; ++i) {
        const auto weight = hn::Load(FloatTag(), weights + i * kPanelLanes);
        for (size_t r = 0; r < kRows; ++r) {
          sums[r][c] = hn::MulAdd(weight, hn::Set(FloatTag(), x[i * kRows + r]), sums[r][c]);
        }
      }
    }
  }

  // Inputs [begin, end) of a chunk that lie in one half of it; `begin` is where that half begins.
  static HWY_INLINE void AddHalf(const uint32_t* HWY_RESTRICT chunk, size_t stride,
                                 const SetConstants& constants, const float* HWY_RESTRICT x,
                                 size_t begin, size_t end, Sums& sums) {
    using Windows = std::make_index_sequence<kWindows / 2>;
    if (end - begin < kChunkInputs / 2) {
      AddRest(chunk, stride, constants, x, begin, end, sums);
    } else if (begin == 0) {
      AddWindows<0>(chunk, stride, constants, x, sums, Windows());
    } else {
      AddWindows<kWindows / 2>(chunk, stride, constants, x, sums, Windows());
    }
  }

  // Inputs [begin, end) of one group. `begin` is the start of a chunk or, with kHalves, of half a
  // chunk.
  static HWY_INLINE void AddRange(const FewProduct& p, size_t panel, size_t begin, size_t end,
                                  const SetConstants& constants, Sums& sums) {
    const uint32_t* HWY_RESTRICT chunk =
        p.codes + panel * p.codes_stride + begin / kChunkInputs * kBits * kPanelLanes;

    // A group may start or end with half a chunk.
    if constexpr (kHalves) {
      const size_t first = begin % kChunkInputs;
      if (first > 0 || end - begin <= kChunkInputs / 2) {
        const size_t half_end = std::min(end - begin, kChunkInputs / 2);
        AddHalf(chunk, p.codes_stride, constants, p.x + (begin - first) * kRows, first,
                first + half_end, sums);
        begin += half_end;
        if (first > 0) chunk += kBits * kPanelLanes;
      }
    }

    // Then come whole chunks, and at last the inputs that are left at the end of the row.
    for (; begin + kChunkInputs <= end; begin += kChunkInputs, chunk += kBits * kPanelLanes) {
      AddWindows<0>(chunk, p.codes_stride, constants, p.x + begin * kRows, sums,
                    std::make_index_sequence<kWindows>());
    }
    if (begin < end) {
      AddRest(chunk, p.codes_stride, constants, p.x + begin * kRows, 0, end - begin, sums);
    }
  }

  // Adds the sums of a reduction block to the totals, in the order that linear.h defines.
  static HWY_INLINE void AddToTotals(const Sums& sums, bool overwrite, float* HWY_RESTRICT totals) {
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(8)
      for (size_t c = 0; c < kChains; ++c) {
        float* total = totals + (r * kChains + c) * kLanes;
        const auto sum = overwrite ? sums[r][c] : hn::Add(hn::Load(FloatTag(), total), sums[r][c]);
        hn::Store(sum, FloatTag(), total);
      }
    }
  }

  // All inputs times kPanels panels from `panel` on; the result is written to p.y.
  static HWY_NOINLINE void Multiply(const FewProduct& p, size_t panel) {
    HWY_ALIGN float totals[kRows * kPanels * kPanelLanes];
    SetConstants constants;
    const size_t group_size = p.form->group_size;
    size_t group = 0, group_begin = 0;  // the next group

    for (size_t block = 0; block < p.in_features; block += kReductionBlock) {
      // Every reduction block of linear.h is a chain from zero.
      const size_t block_end = std::min(block + kReductionBlock, p.in_features);
      Sums sums;
      HWY_UNROLL(8)
      for (size_t r = 0; r < kRows; ++r) {
        HWY_UNROLL(8)
        for (size_t c = 0; c < kChains; ++c) sums[r][c] = hn::Zero(FloatTag());
      }

      // Within the block, the loop stops at each group to load its constants.
      for (size_t k = block; k < block_end;) {
        if (k == group_begin) {
          LoadConstants(p, panel, group++, constants);
          group_begin += group_size;
        }

        const size_t end = std::min(group_begin, block_end);
        AddRange(p, panel, k, end, constants, sums);
        k = end;
      }
      AddToTotals(sums, /*overwrite=*/block == 0, totals);
    }

    // Lanes beyond the last output row exist in the totals but not in y.
    const size_t column = panel * kPanelLanes;
    const size_t columns = std::min(kPanels * kPanelLanes, p.columns - column);
    for (size_t r = 0; r < kRows; ++r) {
      std::copy_n(totals + r * kPanels * kPanelLanes, columns, p.y + r * p.y_stride + column);
    }
  }
};

// All panels of the product: as many at once as registers allow, then the rest one by one.
template <size_t kBits, Decoding kDecoding, size_t kRows, Rounding kRounding>
void ForRows(const FewProduct& p) {
  constexpr size_t kMost = PanelsAtOnce(kRows);
  size_t panel = 0;
  for (; panel + kMost <= p.panel_count; panel += kMost) {
    PanelSet<kBits, kDecoding, kRows, kMost, kRounding>::Multiply(p, panel);
  }
  for (; panel < p.panel_count; ++panel) {
    PanelSet<kBits, kDecoding, kRows, 1, kRounding>::Multiply(p, panel);
  }
}

// Turns the number of tokens, known at run time, into a template argument.
template <size_t kBits, Decoding kDecoding, Rounding kRounding, size_t... kRows>
void Dispatch(const FewProduct& p, std::index_sequence<kRows...>) {
  static constexpr FewFunction kFunctions[] = {ForRows<kBits, kDecoding, kRows + 1, kRounding>...};
  kFunctions[p.rows - 1](p);
}

// The kernel for up to kMost tokens.
template <size_t kBits, Decoding kDecoding, size_t kMost, Rounding kRounding = Rounding::kNone>
void Few(const FewProduct& p) {
  Dispatch<kBits, kDecoding, kRounding>(p, std::make_index_sequence<kMost>());
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
