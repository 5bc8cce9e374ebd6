// Accumulates XᵀX: tokens come in as rows, the upper triangle is computed and then mirrored. Tokens
// are taken in runs of a few blocks. Of each run, all columns of x are copied into panels of 16
// columns interleaved by token. Strips of rows of the upper triangle are then independent: the rows
// of a strip are the "rows of x" of the panel kernels, and the panels from the diagonal on are the
// weights.
#include "tensor/gram.h"

#include <algorithm>

#include "base/context.h"
#include "base/error.h"
#include "tensor/panel_kernels.h"

namespace qualm {
namespace {

constexpr size_t kTokensAtOnce = 4 * kGramBlock;
constexpr size_t kStripRows = 96;  // rows of x whose block of tokens stays in the second cache
constexpr size_t kMirrorTile = 64;

// A buffer of this thread that only grows.
template <typename T>
T* Scratch(size_t count) {
  thread_local AlignedArray<T> buffer;
  if (buffer.size() < count) buffer = AlignedArray<T>(count);
  return buffer.data();
}

// x [tokens, in] as panels [panel][token][lane]; lanes beyond the last column are 0.
template <typename T>
AlignedArray<T> PackPanels(Span2D<const float> x, const Context& context) {
  constexpr size_t kLanes = kLanesOf<T>;
  const size_t panel_count = (x.cols() + kLanes - 1) / kLanes;
  AlignedArray<T> panels(panel_count * x.rows() * kLanes);

  context.pool.ParallelFor(panel_count, [&](size_t panel) {
    const size_t column = panel * kLanes, count = std::min(kLanes, x.cols() - column);
    T* to = panels.data() + panel * x.rows() * kLanes;
    // Lanes of one token side by side: a panel is read token by token.
    for (size_t t = 0; t < x.rows(); ++t, to += kLanes) {
      const float* from = x.data() + t * x.stride() + column;
      for (size_t lane = 0; lane < kLanes; ++lane) to[lane] = lane < count ? T{from[lane]} : T{0};
    }
  });
  return panels;
}

// Columns [first, first + groups.rows) of x [depth, in], interleaved in groups.
template <typename T>
void PackStrip(Span2D<const float> x, size_t first, const RowGroups& groups, T* to) {
  for (size_t group = 0; group < groups.groups; ++group) {
    const size_t column = first + groups.First(group), count = groups.Size(group);
    for (size_t t = 0; t < x.rows(); ++t) {
      const float* from = x.data() + t * x.stride() + column;
      for (size_t i = 0; i < count; ++i) *to++ = T{from[i]};
    }
  }
}

// Rows [first, first + rows) of gram, from the panel that contains the diagonal on.
template <typename T>
void AccumulateStrip(Span2D<const float> x, const T* panels, size_t first, size_t rows,
                     Span2D<T> gram) {
  constexpr size_t kLanes = kLanesOf<T>;
  const PanelKernels<T>& kernels = PanelKernelsInUse<T>();
  const size_t first_panel = first / kLanes, panel_count = (x.cols() + kLanes - 1) / kLanes;

  // The strip is the product's "x", the panels from the diagonal on are its weight.
  PanelProduct<T> product;
  product.row_groups = {rows, (rows + kernels.most_rows - 1) / kernels.most_rows};
  product.group_end = product.row_groups.groups;
  product.panel_stride = x.rows() * kLanes;
  product.panel_count = panel_count - first_panel;
  product.columns = x.cols() - first_panel * kLanes;
  product.y = gram.data() + first * gram.stride() + first_panel * kLanes;
  product.y_stride = gram.stride();

  T* strip = Scratch<T>(rows * kGramBlock);
  product.x = strip;

  // Every block of tokens is one chain of fused operations; its sum is added to gram.
  for (size_t token = 0; token < x.rows(); token += kGramBlock) {
    product.block_depth = std::min(kGramBlock, x.rows() - token);
    product.depth = product.block_depth;
    PackStrip(x.Rows(token, product.depth), first, product.row_groups, strip);
    product.panels = panels + (first_panel * x.rows() + token) * kLanes;
    kernels.multiply(product);
  }
}

// Mirrors the upper triangle tile by tile, so that reads and writes both stay in the cache.
template <typename T>
void CopyUpperToLower(Span2D<T> gram, const Context& context) {
  const size_t n = gram.rows();
  context.pool.ParallelFor((n + kMirrorTile - 1) / kMirrorTile, [&](size_t tile) {
    const size_t begin = tile * kMirrorTile, end = std::min(n, begin + kMirrorTile);
    for (size_t first = 0; first < end; first += kMirrorTile) {
      for (size_t r = begin; r < end; ++r) {
        const size_t last = std::min(r, first + kMirrorTile);
        for (size_t c = first; c < last; ++c) gram(r, c) = gram(c, r);
      }
    }
  });
}

// The whole computation for one precision.
template <typename T>
void Accumulate(Span2D<const float> x, Span2D<T> gram, const Context& context) {
  QUALM_CHECK(gram.rows() == x.cols() && gram.cols() == x.cols());

  for (size_t token = 0; token < x.rows(); token += kTokensAtOnce) {
    const Span2D<const float> run = x.Rows(token, std::min(kTokensAtOnce, x.rows() - token));
    const AlignedArray<T> panels = PackPanels<T>(run, context);
    context.pool.ParallelFor((x.cols() + kStripRows - 1) / kStripRows, [&](size_t strip) {
      const size_t first = strip * kStripRows, rows = std::min(kStripRows, x.cols() - first);
      AccumulateStrip(run, panels.data(), first, rows, gram);
    });
  }
  CopyUpperToLower(gram, context);
}

}  // namespace

void AccumulateGram(Span2D<const float> x, Span2D<float> gram, const Context& context) {
  Accumulate(x, gram, context);
}

void AccumulateGram64(Span2D<const float> x, Span2D<double> gram, const Context& context) {
  Accumulate(x, gram, context);
}

}  // namespace qualm
