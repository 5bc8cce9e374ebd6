// Inverts a symmetric positive definite matrix into a triangular factor (linear_algebra.h) by
// blocked elimination of [J·H·J | I] to [Lᵀ | L⁻¹]. Row block k of the work matrix holds, from left
// to right, M = L⁻¹ (finished in the rows above, growing in the rows below) and the rest of J·H·J
// right of the diagonal, which turns into S = Lᵀ and is then no longer needed. Both halves take the
// same update, C -= S_kᵀ·[M_k | S_k], so one sweep does factorisation and inverse.
#include "tensor/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/context.h"
#include "base/error.h"
#include "tensor/tile_update.h"

namespace qualm {
namespace {

constexpr size_t kBlock = 128;                       // rows eliminated together
constexpr size_t kRowsPerTask = 32 * kStripColumns;  // of an update
constexpr size_t kPanelsPerTask = 64;
constexpr size_t kPanelsAtOnce = 4;

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

// The work matrix and one elimination: Load, Run, Store, in this order. Run takes 128 rows at a
// time and, for each, factors the block on the diagonal (FactorPivot, InvertPivot), solves for the
// rest of the row block (SolvePanels) and subtracts it from all rows below (PackStrip, UpdateRest).
// It is a class because the steps share seven buffers.
template <typename T>
class Elimination {
 public:
  Elimination(size_t n, const Context& context)
      : n_(n),
        panels_(CeilDivide(n, kPanel)),
        // A strip of rows may begin at the last row and still needs its full height.
        panel_step_((n + kStripColumns) * kPanel),
        context_(context),
        work_(panels_ * panel_step_),
        strips_(CeilDivide(n, kStripColumns) * kBlock * kStripColumns),
        pivot_(kBlock * kBlock),
        pivot_strips_(CeilDivide(kBlock, kStripColumns) * kBlock * kStripColumns),
        inverse_(kBlock * kBlock),
        reciprocal_(kBlock) {}

  // Takes the upper triangle of J·matrix·J: rows and columns in reverse order.
  void Load(Span2D<const T> matrix) {
    context_.pool.ParallelFor(panels_, [&](size_t panel) {
      std::fill_n(Row(panel, 0), panel_step_, T{0});
      const size_t end = std::min(n_, (panel + 1) * kPanel);
      for (size_t r = 0; r < end; ++r) {
        const T* from = matrix.row(n_ - 1 - r).data();
        for (size_t c = std::max(r, panel * kPanel); c < end; ++c) {
          Row(panel, r)[c - panel * kPanel] = from[n_ - 1 - c];
        }
      }
    });
  }

  // False if a pivot is not positive: the matrix is not positive definite.
  bool Run() {
    for (first_ = 0; first_ < n_; first_ += kBlock) {
      size_ = std::min(kBlock, n_ - first_);
      if (!FactorPivot()) return false;
      InvertPivot();
      // Solve the row block for all columns, both of the inverse and of the rest.
      context_.pool.ParallelFor(CeilDivide(panels_, kPanelsAtOnce), [&](size_t group) {
        const size_t panel = group * kPanelsAtOnce;
        SolvePanels(panel, std::min(kPanelsAtOnce, panels_ - panel));
      });

      // S_k is the left operand of the update of every row below, so it is packed once.
      context_.pool.ParallelFor(CeilDivide(n_ - end(), kStripColumns),
                                [&](size_t s) { PackStrip(s); });
      UpdateRest();
    }
    return true;
  }

  // matrix = J·L⁻¹·J, zeros below the diagonal.
  void Store(Span2D<T> matrix) const {
    context_.pool.ParallelFor(n_, [&](size_t r) {
      T* to = matrix.row(r).data();
      std::fill_n(to, r, T{0});
      for (size_t c = r; c < n_; ++c) {
        const size_t column = n_ - 1 - c;
        to[c] = Row(column / kPanel, n_ - 1 - r)[column % kPanel];
      }
    });
  }

 private:
  static constexpr size_t kPanel = kLanesOf<T>;

  size_t end() const { return first_ + size_; }
  T* Row(size_t panel, size_t r) { return work_.data() + panel * panel_step_ + r * kPanel; }
  const T* Row(size_t panel, size_t r) const {
    return work_.data() + panel * panel_step_ + r * kPanel;
  }
  bool IsPivot(size_t panel) const { return panel * kPanel >= first_ && panel * kPanel < end(); }

  // Computes S_kk into pivot_: upper triangular, with S_kkᵀ·S_kk = the block on the diagonal.
  bool FactorPivot() {
    // Work on a copy in row-major order; panels stay as they are until SolvePanels.
    for (size_t r = 0; r < size_; ++r) {
      for (size_t c = 0; c < size_; ++c) {
        pivot_[r * kBlock + c] = Row((first_ + c) / kPanel, first_ + r)[c % kPanel];
      }
    }

    // Cholesky of a small block, right-looking: scale the pivot's row, subtract it from rows below.
    for (size_t r = 0; r < size_; ++r) {
      T* row = pivot_.data() + r * kBlock;
      // Written so that NaN is refused too.
      if (!(row[r] > 0) || !std::isfinite(row[r])) return false;
      reciprocal_[r] = 1 / std::sqrt(row[r]);
      for (size_t c = r; c < size_; ++c) row[c] *= reciprocal_[r];
      for (size_t below = r + 1; below < size_; ++below) {
        const T factor = -row[below];
        T* to = pivot_.data() + below * kBlock;
        for (size_t c = below; c < size_; ++c) to[c] = std::fma(factor, row[c], to[c]);
      }
    }
    return true;
  }

  // Computes L_kk⁻¹ = S_kk⁻ᵀ into inverse_, lower triangular, and copies S_kk into strips.
  void InvertPivot() {
    // SubtractProduct reads its left operand in strips of 6 columns.
    std::fill_n(pivot_strips_.data(), pivot_strips_.size(), T{0});
    for (size_t r = 0; r < size_; ++r) {
      for (size_t c = r; c < size_; ++c) {
        pivot_strips_[(c / kStripColumns * kBlock + r) * kStripColumns + c % kStripColumns] =
            pivot_[r * kBlock + c];
      }
    }

    // Forward substitution on the identity gives the inverse row by row.
    std::fill_n(inverse_.data(), kBlock * kBlock, T{0});
    for (size_t r = 0; r < size_; ++r) {
      T* row = inverse_.data() + r * kBlock;
      row[r] = 1;
      for (size_t above = 0; above < r; ++above) {
        const T factor = -pivot_[above * kBlock + r];
        const T* from = inverse_.data() + above * kBlock;
        for (size_t c = 0; c <= above; ++c) row[c] = std::fma(factor, from[c], row[c]);
      }
      for (size_t c = 0; c <= r; ++c) row[c] *= reciprocal_[r];
    }
  }

  // Solves for row block k of some neighbouring panels: x = L_kk⁻¹·x.
  void SolvePanels(size_t panel, size_t count) {
    // A panel of the pivot itself: the solution of the identity is the inverse. (The pivot is a
    // whole number of groups of panels, and so is the rest.)
    if (IsPivot(panel)) {
      for (size_t p = panel; p < panel + count; ++p) {
        for (size_t r = 0; r < size_; ++r) {
          std::copy_n(inverse_.data() + r * kBlock + (p * kPanel - first_), kPanel,
                      Row(p, first_ + r));
        }
      }
      return;
    }

    // All other panels: six rows at a time, first the rows above by a product, then by
    // substitution.
    for (size_t r = 0; r < size_; r += kStripColumns) {
      // Columns of the strip beyond the pivot are 0 and leave the rows below unchanged.
      SubtractProduct(pivot_strips_.data() + r * kBlock, Row(panel, first_), panel_step_, count, r,
                      Row(panel, first_ + r), {kPanel, panel_step_});
      for (size_t p = panel; p < panel + count; ++p) {
        SolveRows(Row(p, first_), r, std::min(r + kStripColumns, size_));
      }
    }
  }

  // x_r = (x_r - Σ_{begin<=s<r} S_sr·x_s) / S_rr for begin <= r < end
  void SolveRows(T* x, size_t begin, size_t end) {
    for (size_t r = begin; r < end; ++r) {
      T* row = x + r * kPanel;
      for (size_t s = begin; s < r; ++s) {
        const T factor = -pivot_[s * kBlock + r];
        for (size_t c = 0; c < kPanel; ++c) row[c] = std::fma(factor, x[s * kPanel + c], row[c]);
      }
      for (size_t c = 0; c < kPanel; ++c) row[c] *= reciprocal_[r];
    }
  }

  // strip[k][i] = S_k of the i-th row that the strip updates, counted from the pivot's end.
  void PackStrip(size_t index) {
    T* strip = strips_.data() + index * kBlock * kStripColumns;
    for (size_t i = 0; i < kStripColumns; ++i) {
      const size_t column = end() + index * kStripColumns + i;
      const T* from = column < n_ ? Row(column / kPanel, first_) + column % kPanel : nullptr;
      for (size_t k = 0; k < size_; ++k) {
        strip[k * kStripColumns + i] = from != nullptr ? from[k * kPanel] : T{0};
      }
    }
  }

  // C -= S_kᵀ·[M_k | S_k] for all rows below the pivot, in tasks of about equal size.
  void UpdateRest() {
    const size_t row_tasks = CeilDivide(n_ - end(), kRowsPerTask);
    const size_t panel_tasks = CeilDivide(panels_, kPanelsPerTask);
    context_.pool.ParallelFor(row_tasks * panel_tasks, [&](size_t task) {
      const size_t row = end() + task / panel_tasks * kRowsPerTask;
      const size_t panel = task % panel_tasks * kPanelsPerTask;
      UpdateBlock(row, std::min(row + kRowsPerTask, n_), panel,
                  std::min(panel + kPanelsPerTask, panels_));
    });
  }

  // The same for some rows and panels.
  void UpdateBlock(size_t row, size_t row_end, size_t panel, size_t panel_end) {
    for (; panel < panel_end; panel += kPanelsAtOnce) {
      const size_t count = std::min(kPanelsAtOnce, panel_end - panel);
      for (size_t top = row; top < row_end; top += kStripColumns) {
        // Between the pivot block and the diagonal all elements are still 0.
        if (panel * kPanel >= end() && (panel + count) * kPanel <= top) continue;
        // From now on the pivot's columns hold the inverse, which starts from zero.
        for (size_t p = panel; p < panel + count; ++p) {
          if (IsPivot(p)) std::fill_n(Row(p, top), kStripColumns * kPanel, T{0});
        }
        SubtractProduct(strips_.data() + (top - end()) * kBlock, Row(panel, first_), panel_step_,
                        count, size_, Row(panel, top), {kPanel, panel_step_});
      }
    }
  }

  size_t n_, panels_, panel_step_;
  const Context& context_;
  size_t first_ = 0, size_ = 0;   // the row block that is being eliminated
  AlignedArray<T> work_;          // panels of [n, kPanel]
  AlignedArray<T> strips_;        // S_k in strips of [kBlock, kStripColumns]
  AlignedArray<T> pivot_;         // [kBlock, kBlock]
  AlignedArray<T> pivot_strips_;  // pivot_ in strips of [kBlock, kStripColumns]
  AlignedArray<T> inverse_;       // [kBlock, kBlock]
  std::vector<T> reciprocal_;     // 1/S_rr
};

// The whole computation for one precision.
template <typename T>
bool Invert(Span2D<T> matrix, const Context& context) {
  const size_t n = matrix.rows();
  QUALM_CHECK(matrix.cols() == n);
  Elimination<T> elimination(n, context);
  elimination.Load(matrix);
  if (!elimination.Run()) return false;
  elimination.Store(matrix);
  for (size_t r = 0; r < n; ++r) {
    if (!std::isfinite(matrix(r, r))) return false;
  }
  return true;
}

}  // namespace

bool InvertToUpperFactor(Span2D<float> matrix, const Context& context) {
  return Invert(matrix, context);
}
bool InvertToUpperFactor(Span2D<double> matrix, const Context& context) {
  return Invert(matrix, context);
}

}  // namespace qualm
