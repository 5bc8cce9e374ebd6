// The innermost loops of all matrix products and the conversions of 16-bit floats, as vector code.
// Everything between the markers of Highway is compiled once per instruction set; the functions at
// the end choose among them at run time. From outside in: Multiply walks panels and groups of rows,
// Group::Multiply does one register tile, Chain is the loop over k.
#include "tensor/panel_kernels.h"

#include <array>
#include <bit>
#include <utility>

#include "tensor/dtype.h"

#ifndef QUALM_PORTABLE
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/panel_kernels.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace qualm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
using Tag = hn::CappedTag<T, kLanesOf<T>>;
template <typename T>
using Vector = hn::Vec<Tag<T>>;
template <typename T>
inline constexpr size_t kVectors = kLanesOf<T> / hn::MaxLanes(Tag<T>());  // in a panel

// Registers: 16 of 256 bits, or 32 of 512 bits. 12 and 28 of them hold sums.
inline constexpr size_t kMostRows = HWY_TARGET == HWY_AVX2 ? 6 : 14;
inline constexpr size_t kMostSums = HWY_TARGET == HWY_AVX2 ? 12 : 28;

// Panels whose sums fit in registers, for groups of this many rows.
constexpr size_t PanelsAtOnce(size_t rows) {
  size_t panels = 1;
  while (panels < 8 && rows * panels * 2 * kVectors<float> <= kMostSums) panels *= 2;
  return panels;
}

// One group of kRows rows times kPanels panels. All loops over rows, panels and vectors are
// unrolled, so the sums stay in registers. Multiply is the entry; all other functions are its
// steps.
template <typename T, size_t kRows, size_t kPanels>
struct Group {
  static constexpr Tag<T> kTag = {};
  static constexpr size_t kLanes = hn::MaxLanes(Tag<T>());
  static constexpr size_t kWidth = kPanels * kVectors<T>;  // vectors in a row of sums
  using Sums = Vector<T>[kRows][kWidth];

  static HWY_INLINE void Clear(Sums& sums) {
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (size_t v = 0; v < kWidth; ++v) sums[r][v] = hn::Zero(kTag);
    }
  }

  static HWY_INLINE void Load(const T* HWY_RESTRICT from, size_t stride, Sums& sums) {
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (size_t v = 0; v < kWidth; ++v)
        sums[r][v] = hn::Load(kTag, from + r * stride + v * kLanes);
    }
  }

  static HWY_INLINE void Store(const Sums& sums, T* HWY_RESTRICT to, size_t stride) {
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (size_t v = 0; v < kWidth; ++v) hn::Store(sums[r][v], kTag, to + r * stride + v * kLanes);
    }
  }

  // The loop over k: one vector of weights per panel, one factor per row, fused multiply-adds.
  static HWY_INLINE void Chain(const T* HWY_RESTRICT x, const T* HWY_RESTRICT w, size_t stride,
                               size_t depth, Sums& sums) {
    for (; depth > 0; --depth) {
      // The weights of all panels for this k are loaded once for all rows.
      Vector<T> weights[kWidth];
      HWY_UNROLL(16)
      for (size_t v = 0; v < kWidth; ++v) {
        weights[v] = hn::Load(kTag, w + v / kVectors<T> * stride + v % kVectors<T> * kLanes);
      }

      HWY_UNROLL(16)
      for (size_t r = 0; r < kRows; ++r) {
        const auto factor = hn::Set(kTag, x[r]);
        HWY_UNROLL(16)
        for (size_t v = 0; v < kWidth; ++v) {
          sums[r][v] = hn::MulAdd(weights[v], factor, sums[r][v]);
        }
      }
      x += kRows;
      w += kLanesOf<T>;
    }
  }

  // y += sums or y = sums, for panels whose columns all exist.
  static HWY_INLINE void AddToAll(const Sums& sums, bool overwrite, T* HWY_RESTRICT y,
                                  size_t stride) {
    HWY_UNROLL(16)
    for (size_t r = 0; r < kRows; ++r) {
      HWY_UNROLL(16)
      for (size_t v = 0; v < kWidth; ++v) {
        T* to = y + r * stride + v * kLanes;
        const auto total = overwrite ? sums[r][v] : hn::Add(hn::LoadU(kTag, to), sums[r][v]);
        hn::StoreU(total, kTag, to);
      }
    }
  }

  // The same if only some columns exist.
  static HWY_INLINE void AddToSome(const Sums& sums, bool overwrite, size_t columns,
                                   T* HWY_RESTRICT y, size_t stride) {
    HWY_ALIGN T rows[kRows * kWidth * kLanes];
    Store(sums, rows, kWidth * kLanes);
    for (size_t r = 0; r < kRows; ++r) {
      const T* HWY_RESTRICT from = rows + r * kWidth * kLanes;
      T* HWY_RESTRICT to = y + r * stride;
      for (size_t c = 0; c < columns; ++c) to[c] = overwrite ? from[c] : to[c] + from[c];
    }
  }

  // One register tile: group `group` of the rows times kPanels panels from first_panel on.
  static HWY_NOINLINE void Multiply(const PanelProduct<T>& p, size_t group, size_t first_panel) {
    const size_t row = p.row_groups.First(group), column = first_panel * kLanesOf<T>;
    const size_t partial_stride = p.panel_count * kLanesOf<T>;
    const size_t partial = row * partial_stride + column;
    T* y = p.y + row * p.y_stride + column;

    // Start the chain from zero or continue it where the last part of the block left off.
    Sums sums;
    if (p.k_begin == 0) {
      Clear(sums);
      // The loop over k takes a while: fetch y now, to have it when the sums are added.
      for (size_t r = 0; r < kRows; ++r) hwy::Prefetch(y + r * p.y_stride);
    } else {
      Load(p.partial + partial, partial_stride, sums);
    }

    Chain(p.x + row * p.block_depth + p.k_begin * kRows, p.panels + first_panel * p.panel_stride,
          p.panel_stride, p.depth, sums);

    // The sums of an incomplete block are kept for its next part; complete sums go to y.
    if (p.k_begin + p.depth < p.block_depth) {
      Store(sums, p.partial + partial, partial_stride);
    } else if (column + kPanels * kLanesOf<T> <= p.columns) {
      AddToAll(sums, p.overwrite, y, p.y_stride);
    } else {
      AddToSome(sums, p.overwrite, p.columns - column, y, p.y_stride);
    }
  }
};

template <typename T>
using GroupFunction = void (*)(const PanelProduct<T>&, size_t group, size_t first_panel);

// Functions by [log2 panels] for groups of kRows rows; null beyond PanelsAtOnce(kRows).
template <typename T, size_t kRows>
constexpr std::array<GroupFunction<T>, 4> ForPanels() {
  constexpr size_t kMost = PanelsAtOnce(kRows);
  std::array<GroupFunction<T>, 4> functions = {};
  functions[0] = Group<T, kRows, 1>::Multiply;
  if constexpr (kMost >= 2) functions[1] = Group<T, kRows, 2>::Multiply;
  if constexpr (kMost >= 4) functions[2] = Group<T, kRows, 4>::Multiply;
  if constexpr (kMost >= 8) functions[3] = Group<T, kRows, 8>::Multiply;
  return functions;
}

// Functions by [rows - 1][log2 panels].
template <typename T, size_t... kRows>
constexpr std::array<std::array<GroupFunction<T>, 4>, kMostRows> ForRows(
    std::index_sequence<kRows...>) {
  return {ForPanels<T, kRows + 1>()...};
}

// As many panels at once as registers allow; near the end half as many, and so on.
template <typename T>
void Multiply(const PanelProduct<T>& p) {
  static constexpr auto kFunctions = ForRows<T>(std::make_index_sequence<kMostRows>());
  size_t at_once = PanelsAtOnce(p.row_groups.Size(0));
  for (size_t panel = 0; panel < p.panel_count; panel += at_once) {
    while (at_once > p.panel_count - panel) at_once /= 2;
    const auto column = static_cast<size_t>(std::bit_width(at_once) - 1);
    for (size_t group = p.group_begin; group < p.group_end; ++group) {
      kFunctions[p.row_groups.Size(group) - 1][column](p, group, panel);
    }
  }
}

// Calls convert(i) for each of the whole vectors of `lanes` elements among `count` and returns how
// many elements they hold. A turn of the loop takes four vectors: with one, a fifth of the speed
// hung on where the linker happened to put these few instructions.
template <typename Convert>
size_t ConvertVectors(size_t count, size_t lanes, const Convert& convert) {
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    convert(i);
    convert(i + lanes);
    convert(i + 2 * lanes);
    convert(i + 3 * lanes);
  }
  for (; i + lanes <= count; i += lanes) convert(i);
  return i;
}

// Conversions of whole vectors, then of what is left, element by element.
void ConvertHalf(const uint16_t* from, float* to, size_t count) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  const auto* halves = reinterpret_cast<const hwy::float16_t*>(from);

  size_t i = ConvertVectors(count, hn::Lanes(d), [&](size_t at) HWY_ATTR {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(d16, halves + at)), d, to + at);
  });
  for (; i < count; ++i) to[i] = ToFloat(Half{from[i]});
}

void ConvertBFloat16(const uint16_t* from, float* to, size_t count) {
  const hn::ScalableTag<uint32_t> d;
  const hn::Rebind<uint16_t, decltype(d)> d16;
  const hn::RebindToFloat<decltype(d)> df;

  size_t i = ConvertVectors(count, hn::Lanes(d), [&](size_t at) HWY_ATTR {
    const auto bits = hn::ShiftLeft<16>(hn::PromoteTo(d, hn::LoadU(d16, from + at)));
    hn::StoreU(hn::BitCast(df, bits), df, to + at);
  });
  for (; i < count; ++i) to[i] = ToFloat(BFloat16{from[i]});
}

template <typename T>
const PanelKernels<T>& Kernels() {
  static constexpr PanelKernels<T> kKernels = {kMostRows, PanelsAtOnce, Multiply<T>};
  return kKernels;
}
const PanelKernels<float>& FloatKernels() { return Kernels<float>(); }
const PanelKernels<double>& DoubleKernels() { return Kernels<double>(); }
const ConvertKernels& Converters() {
  static constexpr ConvertKernels kConverters = {ConvertHalf, ConvertBFloat16};
  return kConverters;
}

}  // namespace HWY_NAMESPACE
}  // namespace qualm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace qualm {

HWY_EXPORT(FloatKernels);
HWY_EXPORT(DoubleKernels);
HWY_EXPORT(Converters);

template <>
const PanelKernels<float>& PanelKernelsInUse() {
  if (IsaInUse() == Isa::kScalar) return ScalarPanelKernels<float>();
  return HWY_DYNAMIC_DISPATCH(FloatKernels)();
}
template <>
const PanelKernels<double>& PanelKernelsInUse() {
  if (IsaInUse() == Isa::kScalar) return ScalarPanelKernels<double>();
  return HWY_DYNAMIC_DISPATCH(DoubleKernels)();
}
const ConvertKernels& ConvertKernelsInUse() {
  if (IsaInUse() == Isa::kScalar) return ScalarConvertKernels();
  return HWY_DYNAMIC_DISPATCH(Converters)();
}

}  // namespace qualm
#endif  // HWY_ONCE
#else   // QUALM_PORTABLE

namespace qualm {

template <>
const PanelKernels<float>& PanelKernelsInUse() {
  return ScalarPanelKernels<float>();
}
template <>
const PanelKernels<double>& PanelKernelsInUse() {
  return ScalarPanelKernels<double>();
}
const ConvertKernels& ConvertKernelsInUse() { return ScalarConvertKernels(); }

}  // namespace qualm
#endif  // QUALM_PORTABLE
