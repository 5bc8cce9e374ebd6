#include "tensor/panels.h"

#include <algorithm>

#include "base/error.h"
#include "base/thread_pool.h"
#include "tensor/linear.h"
#include "tensor/panel_kernels.h"

namespace qualm {
namespace {

constexpr size_t kFewRows = 32;       // up to here panels are not kept unpacked
constexpr size_t kRowsAtOnce = 512;   // unpacking a panel is spread over so many rows
constexpr size_t kRowsInCache = 96;   // rows of x, one block deep, that stay in the second cache
constexpr size_t kPanelsPerTask = 8;  // unpacked, one block deep, they stay there as well
constexpr size_t kScratchFloats = kReductionBlock * kPanelRows;  // stays in the first cache
constexpr size_t kLeastDepth = 32;                               // PanelSource::Unpack

// A buffer of this thread that only grows.
float* Scratch(size_t count) {
  thread_local AlignedArray<float> buffer;
  if (buffer.size() < count) buffer = AlignedArray<float>(count);
  return buffer.data();
}

struct Problem {
  const PanelSource& source;
  const PanelKernels<float>& kernels;
  const float* x;  // packed: block b of k at b·kReductionBlock·rows
  RowGroups groups;
  size_t in_features;
  Span2D<float> y;
};

// x [rows, in] in the order that the kernels read it.
void PackRows(Span2D<const float> x, const RowGroups& groups, float* packed, ThreadPool& pool) {
  const size_t blocks = (x.cols() + kReductionBlock - 1) / kReductionBlock;
  pool.ParallelFor(blocks, [&](size_t block) {
    const size_t first = block * kReductionBlock;
    const size_t depth = std::min(kReductionBlock, x.cols() - first);
    for (size_t group = 0; group < groups.groups; ++group) {
      const size_t row = groups.First(group), count = groups.Size(group);
      float* to = packed + first * groups.rows + row * depth;
      for (size_t r = 0; r < count; ++r) {
        const float* from = x.row(row + r).data() + first;
        for (size_t k = 0; k < depth; ++k) to[k * count + r] = from[k];
      }
    }
  });
}

PanelProduct<float> ProductOf(const Problem& problem, size_t block, size_t first_panel,
                              size_t panel_count) {
  const size_t first_k = block * kReductionBlock, first_column = first_panel * kPanelRows;
  PanelProduct<float> product;
  product.row_groups = problem.groups;
  product.group_end = problem.groups.groups;
  product.x = problem.x + first_k * problem.groups.rows;
  product.block_depth = std::min(kReductionBlock, problem.in_features - first_k);
  product.depth = product.block_depth;
  product.panel_count = panel_count;
  product.y = problem.y.data() + first_column;
  product.y_stride = problem.y.stride();
  product.columns = std::min(panel_count * kPanelRows, problem.y.cols() - first_column);
  product.overwrite = block == 0;
  return product;
}

void PointAt(const Problem& problem, const float* float_panels, size_t block, size_t first_panel,
             PanelProduct<float>& product) {
  product.panels =
      float_panels + (first_panel * problem.in_features + block * kReductionBlock) * kPanelRows;
  product.panel_stride = problem.in_features * kPanelRows;
}

// A few rows times a few panels over all k.
void MultiplyFewRows(const Problem& problem, size_t first_panel, size_t panel_count) {
  const float* float_panels = problem.source.FloatPanels();
  const size_t depth_at_once =
      std::max(kLeastDepth, kReductionBlock / panel_count / kLeastDepth * kLeastDepth);
  float* unpacked = Scratch(panel_count * depth_at_once * kPanelRows +
                            problem.groups.rows * panel_count * kPanelRows);
  for (size_t block = 0; block * kReductionBlock < problem.in_features; ++block) {
    PanelProduct<float> product = ProductOf(problem, block, first_panel, panel_count);
    if (float_panels != nullptr) {
      PointAt(problem, float_panels, block, first_panel, product);
      problem.kernels.multiply(product);
      continue;
    }
    product.panels = unpacked;
    product.panel_stride = depth_at_once * kPanelRows;
    product.partial = unpacked + panel_count * depth_at_once * kPanelRows;
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

// Many rows times some panels over all k.
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
    for (size_t group = 0; group < problem.groups.groups; group += groups_at_once) {
      product.group_begin = group;
      product.group_end = std::min(problem.groups.groups, group + groups_at_once);
      problem.kernels.multiply(product);
    }
  }
}

void MultiplyRows(const PanelSource& source, Span2D<const float> x, Span2D<float> y,
                  ThreadPool& pool) {
  const PanelKernels<float>& kernels = PanelKernelsInUse<float>();
  const size_t rows = x.rows();
  const RowGroups groups = {rows, (rows + kernels.most_rows - 1) / kernels.most_rows};
  AlignedArray<float> packed;
  if (rows > 1) {
    packed = AlignedArray<float>(rows * x.cols());
    PackRows(x, groups, packed.data(), pool);
  }
  const Problem problem = {source, kernels,  rows > 1 ? packed.data() : x.data(),
                           groups, x.cols(), y};
  const size_t panels = PanelCount(y.cols());
  const bool few = rows <= kFewRows;
  size_t per_task = kernels.panels_at_once(groups.Size(0));
  if (!few) {
    const size_t fair = panels / (4 * static_cast<size_t>(pool.threads()));
    per_task = std::max(per_task, std::min(kPanelsPerTask, fair));
  }
  pool.ParallelFor((panels + per_task - 1) / per_task, [&](size_t task) {
    const size_t first = task * per_task, count = std::min(per_task, panels - first);
    few ? MultiplyFewRows(problem, first, count) : MultiplyManyRows(problem, first, count);
  });
}

// Tokens up to which panels are multiplied directly, in groups of what the kernel takes: beyond,
// one unpacking serves more tokens than a group has.
constexpr size_t kDirectGroups = 2;

void MultiplyFewDirectly(const PanelSource& source, const PanelSource::DirectForm& form,
                         Span2D<const float> x, Span2D<float> y, ThreadPool& pool) {
  const size_t rows = x.rows(), panels = PanelCount(y.cols());
  const RowGroups groups = {rows, (rows + form.most_rows - 1) / form.most_rows};
  // Group g's rows interleaved, [in][rows of g], at First(g)·in.
  AlignedArray<float> packed;
  if (rows > 1) {
    packed = AlignedArray<float>(rows * x.cols());
    pool.ParallelFor(groups.groups, [&](size_t group) {
      const size_t first = groups.First(group), count = groups.Size(group);
      float* to = packed.data() + first * x.cols();
      for (size_t r = 0; r < count; ++r) {
        const float* from = x.row(first + r).data();
        for (size_t k = 0; k < x.cols(); ++k) to[k * count + r] = from[k];
      }
    });
  }
  pool.ParallelFor((panels + form.panels - 1) / form.panels, [&](size_t task) {
    const size_t first = task * form.panels, count = std::min(form.panels, panels - first);
    const size_t column = first * kPanelRows;
    const size_t columns = std::min(count * kPanelRows, y.cols() - column);
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
                    ThreadPool& pool) {
  if (x.cols() == 0) {
    for (size_t row = 0; row < y.rows(); ++row) std::ranges::fill(y.row(row), 0.0f);
    return;
  }
  if (x.rows() == 0) return;
  const PanelSource::DirectForm direct = source.Direct();
  if (x.rows() <= kDirectGroups * direct.most_rows) {
    MultiplyFewDirectly(source, direct, x, y, pool);
    return;
  }
  for (size_t row = 0; row < x.rows(); row += kRowsAtOnce) {
    const size_t count = std::min(kRowsAtOnce, x.rows() - row);
    MultiplyRows(source, x.Rows(row, count), y.Rows(row, count), pool);
  }
}

}  // namespace qualm
