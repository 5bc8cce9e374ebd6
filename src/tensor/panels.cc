// Multiplies tokens with a weight in panels, whatever form the panels are stored in (PanelSource),
// and decides how: a kernel that works on packed codes (MultiplyFewDirectly), panels unpacked piece
// by piece for a few tokens (MultiplyFewRows), or unpacked once for many tokens (MultiplyManyRows).
// All paths give the sum of linear.h. The innermost loops are in panel_kernels.
#include "tensor/panels.h"

#include <algorithm>

#include "base/context.h"
#include "base/error.h"
#include "tensor/linear.h"
#include "tensor/panel_kernels.h"

namespace qualm {
namespace {

constexpr size_t kFewRows = 32;       // up to this many rows, panels are not kept unpacked
constexpr size_t kRowsAtOnce = 512;   // one unpacking of a panel serves this many rows
constexpr size_t kRowsInCache = 96;   // rows of x, one block deep, that stay in the second cache
constexpr size_t kPanelsPerTask = 8;  // unpacked, one block deep, they stay in the second cache too
constexpr size_t kScratchFloats = kReductionBlock * kPanelLanes;  // stays in the first cache
constexpr size_t kLeastDepth = 32;  // what PanelSource::Unpack requires

// A buffer of this thread; it only grows.
float* Scratch(size_t count) {
  thread_local AlignedArray<float> buffer;
  if (buffer.size() < count) buffer = AlignedArray<float>(count);
  return buffer.data();
}

// One product, as the tasks of the thread pool share it.
struct Problem {
  const PanelSource& source;
  const PanelKernels<float>& kernels;
  const float* x;  // packed: block b of k at b·kReductionBlock·rows
  RowGroups groups;
  size_t in_features;
  Span2D<float> y;
};

// Copies x [rows, in] into the order in which the kernels read it: by block, group, k, row.
void PackRows(Span2D<const float> x, const RowGroups& groups, float* packed,
              const Context& context) {
  const size_t blocks = (x.cols() + kReductionBlock - 1) / kReductionBlock;
  context.pool.ParallelFor(blocks, [&](size_t block) {
    const size_t first = block * kReductionBlock;
    const size_t depth = std::min(kReductionBlock, x.cols() - first);

    for (size_t group = 0; group < groups.groups; ++group) {
      const size_t row = groups.First(group), count = groups.Size(group);
      float* to = packed + first * groups.rows + row * depth;
      // The rows of a group go side by side for each k, so a kernel reads x in one stream.
      for (size_t r = 0; r < count; ++r) {
        const float* from = x.row(row + r).data() + first;
        for (size_t k = 0; k < depth; ++k) to[k * count + r] = from[k];
      }
    }
  });
}

// The kernel's arguments for one reduction block and some panels; `panels` is set by the caller.
PanelProduct<float> ProductOf(const Problem& problem, size_t block, size_t first_panel,
                              size_t panel_count) {
  const size_t first_k = block * kReductionBlock, first_column = first_panel * kPanelLanes;

  // All pointers are those of row 0 and of the block's first k.
  PanelProduct<float> product;
  product.row_groups = problem.groups;
  product.group_end = problem.groups.groups;
  product.x = problem.x + first_k * problem.groups.rows;
  product.block_depth = std::min(kReductionBlock, problem.in_features - first_k);
  product.depth = product.block_depth;
  product.panel_count = panel_count;
  product.y = problem.y.data() + first_column;
  product.y_stride = problem.y.stride();
  // The last panel may have lanes beyond the last output row.
  product.columns = std::min(panel_count * kPanelLanes, problem.y.cols() - first_column);
  product.overwrite = block == 0;
  return product;
}

// Lets the product read panels that are stored as floats, without a copy.
void PointAt(const Problem& problem, const float* float_panels, size_t block, size_t first_panel,
             PanelProduct<float>& product) {
  product.panels =
      float_panels + (first_panel * problem.in_features + block * kReductionBlock) * kPanelLanes;
  product.panel_stride = problem.in_features * kPanelLanes;
}

// A few rows times a few panels over all k. Panels are unpacked into a buffer that stays in the
// innermost cache; sums that are not complete wait in `partial`.
void MultiplyFewRows(const Problem& problem, size_t first_panel, size_t panel_count) {
  const float* float_panels = problem.source.FloatPanels();

  // A slice of all panels together is as large as one panel's block.
  const size_t depth_at_once =
      std::max(kLeastDepth, kReductionBlock / panel_count / kLeastDepth * kLeastDepth);
  float* unpacked = Scratch(panel_count * depth_at_once * kPanelLanes +
                            problem.groups.rows * panel_count * kPanelLanes);

  for (size_t block = 0; block * kReductionBlock < problem.in_features; ++block) {
    PanelProduct<float> product = ProductOf(problem, block, first_panel, panel_count);
    if (float_panels != nullptr) {
      PointAt(problem, float_panels, block, first_panel, product);
      problem.kernels.multiply(product);
      continue;
    }

    // Unpack a slice of every panel, then multiply it before it leaves the cache.
    product.panels = unpacked;
    product.panel_stride = depth_at_once * kPanelLanes;
    product.partial = unpacked + panel_count * depth_at_once * kPanelLanes;
    for (size_t k = 0; k < product.block_depth; k += depth_at_once) {
      product.k_begin = k;
      product.depth = std::min(depth_at_once, product.block_depth - k);
      for (size_t p = 0; p < panel_count; ++p) {
        problem.source.Unpack(first_panel + p, block * kReductionBlock + k, product.depth,
                              unpacked + p * product.panel_stride);
      }
      problem.kernels.multiply(product);
    }
  }
}

// Many rows times some panels over all k. A whole block of each panel is unpacked once and serves
// all rows.
void MultiplyManyRows(const Problem& problem, size_t first_panel, size_t panel_count) {
  const float* float_panels = problem.source.FloatPanels();
  float* unpacked = float_panels != nullptr ? nullptr : Scratch(panel_count * kScratchFloats);
  const size_t groups_at_once = std::max<size_t>(1, kRowsInCache / problem.kernels.most_rows);

  for (size_t block = 0; block * kReductionBlock < problem.in_features; ++block) {
    PanelProduct<float> product = ProductOf(problem, block, first_panel, panel_count);
    if (float_panels != nullptr) {
      PointAt(problem, float_panels, block, first_panel, product);
    } else {
      product.panels = unpacked;
      product.panel_stride = kScratchFloats;
      for (size_t p = 0; p < panel_count; ++p) {
        problem.source.Unpack(first_panel + p, block * kReductionBlock, product.depth,
                              unpacked + p * kScratchFloats);
      }
    }

    // Groups of rows go in portions that stay in the second cache while all panels pass by.
    for (size_t group = 0; group < problem.groups.groups; group += groups_at_once) {
      product.group_begin = group;
      product.group_end = std::min(problem.groups.groups, group + groups_at_once);
      problem.kernels.multiply(product);
    }
  }
}

// Up to kRowsAtOnce rows times the whole weight.
void MultiplyRows(const PanelSource& source, Span2D<const float> x, Span2D<float> y,
                  const Context& context) {
  const PanelKernels<float>& kernels = PanelKernelsInUse<float>();
  const size_t rows = x.rows();
  const RowGroups groups = {rows, (rows + kernels.most_rows - 1) / kernels.most_rows};

  // A single row needs no packing: its order is the kernel's order.
  AlignedArray<float> packed;
  if (rows > 1) {
    packed = AlignedArray<float>(rows * x.cols());
    PackRows(x, groups, packed.data(), context);
  }
  const Problem problem = {source, kernels,  rows > 1 ? packed.data() : x.data(),
                           groups, x.cols(), y};

  // A task takes as many panels as fill the registers. With many rows it takes more, to reuse the
  // packed rows, but leaves each thread at least four tasks.
  const size_t panels = PanelCount(y.cols());
  const bool few = rows <= kFewRows;
  size_t per_task = kernels.panels_at_once(groups.Size(0));
  if (!few) {
    const size_t fair = panels / (4 * static_cast<size_t>(context.pool.threads()));
    per_task = std::max(per_task, std::min(kPanelsPerTask, fair));
  }

  context.pool.ParallelFor((panels + per_task - 1) / per_task, [&](size_t task) {
    const size_t first = task * per_task, count = std::min(per_task, panels - first);
    if (few) {
      MultiplyFewRows(problem, first, count);
    } else {
      MultiplyManyRows(problem, first, count);
    }
  });
}

// Direct kernels are used up to this many groups of the rows that they take at once. With more
// tokens, one unpacking serves more of them than a group has.
constexpr size_t kDirectGroups = 2;

// A few rows times the whole weight with the source's own kernel.
void MultiplyFewDirectly(const PanelSource& source, const PanelSource::DirectForm& form,
                         Span2D<const float> x, Span2D<float> y, const Context& context) {
  const size_t rows = x.rows(), panels = PanelCount(y.cols());
  const RowGroups groups = {rows, (rows + form.most_rows - 1) / form.most_rows};

  // Rows of group g interleaved, [in][rows of g], at First(g)·in.
  AlignedArray<float> packed;
  if (rows > 1) {
    packed = AlignedArray<float>(rows * x.cols());
    context.pool.ParallelFor(groups.groups, [&](size_t group) {
      const size_t first = groups.First(group), count = groups.Size(group);
      float* to = packed.data() + first * x.cols();
      for (size_t r = 0; r < count; ++r) {
        const float* from = x.row(first + r).data();
        for (size_t k = 0; k < x.cols(); ++k) to[k * count + r] = from[k];
      }
    });
  }

  // Neighbouring panels of a task share the rows in the cache.
  context.pool.ParallelFor((panels + form.panels - 1) / form.panels, [&](size_t task) {
    const size_t first = task * form.panels, count = std::min(form.panels, panels - first);
    const size_t column = first * kPanelLanes;
    const size_t columns = std::min(count * kPanelLanes, y.cols() - column);
    for (size_t group = 0; group < groups.groups; ++group) {
      const size_t row = groups.First(group);
      source.MultiplyDirectly(first, count, rows > 1 ? packed.data() + row * x.cols() : x.data(),
                              y.Rows(row, groups.Size(group)).Cols(column, columns));
    }
  });
}

}  // namespace

void PanelSource::MultiplyDirectly(size_t, size_t, const float*, Span2D<float>) const {
  QUALM_CHECK(Direct().most_rows > 0);
}

void MultiplyPanels(const PanelSource& source, Span2D<const float> x, Span2D<float> y,
                    const Context& context) {
  // An empty sum is 0, and without rows there is nothing to write.
  if (x.cols() == 0) {
    for (size_t row = 0; row < y.rows(); ++row) std::ranges::fill(y.row(row), 0.0f);
    return;
  }
  if (x.rows() == 0) return;

  const PanelSource::DirectForm direct = source.Direct();
  if (x.rows() <= kDirectGroups * direct.most_rows) {
    MultiplyFewDirectly(source, direct, x, y, context);
    return;
  }

  // With many tokens, x and y are cut so that the packed part of x fits into the cache.
  for (size_t row = 0; row < x.rows(); row += kRowsAtOnce) {
    const size_t count = std::min(kRowsAtOnce, x.rows() - row);
    MultiplyRows(source, x.Rows(row, count), y.Rows(row, count), context);
  }
}

}  // namespace qualm
