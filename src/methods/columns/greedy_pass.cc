// One pass of greedy coordinate descent over the codes of a layer (QuIP, Chee et al. 2023):
// weights, the Gram matrix and the codes to start from come in, better codes go out. Rows are
// independent and run in strips of kPanelLanes.
#include "methods/columns/greedy_pass.h"

#include <array>

#include "artefact/grid.h"
#include "base/context.h"
#include "base/error.h"
#include "methods/columns/lanes.h"
#include "tensor/tile_update.h"

namespace qualm {
namespace {

// One strip of rows. Lanes [in, kPanelLanes]: the errors e = w − ŵ, and their products g = e·H,
// which are updated after every column and never computed anew.
void PassOverStrip(size_t strip, Span2D<const float> weight, const Matrix& hessian,
                   const Grid& grid, QuantizedLinear& layer) {
  const size_t in = weight.cols(), first_row = strip * kPanelLanes;
  const GridLanes lanes = SamePoint({layer.scales[0], layer.ZeroAt(0, 0)});
  AlignedArray<float> values(in * kPanelLanes), errors(in * kPanelLanes),
      products(in * kPanelLanes);
  AlignedArray<uint8_t> codes(in * kPanelLanes);
  LoadStrip(weight, first_row, values.data());
  std::fill_n(products.data(), in * kPanelLanes, 0.0f);
  std::fill_n(codes.data(), in * kPanelLanes, uint8_t{0});

  // The codes as they are: errors, and g as the sum of each column's error times its row of H.
  for (size_t j = 0; j < in; ++j) {
    std::array<float, kPanelLanes> negative;
    for (size_t l = 0; l < kPanelLanes; ++l) {
      const size_t at = j * kPanelLanes + l;
      if (first_row + l < layer.out_features) {
        codes[at] = layer.codes[(first_row + l) * in + j];
      }
      errors[at] = values[at] - lanes.scale[l] * (static_cast<float>(codes[at]) - lanes.zero[l]);
      negative[l] = -errors[at];
    }
    SubtractOuter(hessian.row(j).data(), in, negative.data(), products.data());
  }

  // Each column in turn takes the code nearest to the value that minimizes the loss with all other
  // columns fixed: w_j + (g_j − e_j·H_jj) / H_jj.
  for (size_t j = 0; j < in; ++j) {
    const float diagonal = hessian(j, j);
    std::array<float, kPanelLanes> target, rounded, change;
    for (size_t l = 0; l < kPanelLanes; ++l) {
      const size_t at = j * kPanelLanes + l;
      target[l] = values[at] + (products[at] - errors[at] * diagonal) / diagonal;
    }
    grid.QuantizeLanes(target.data(), lanes, &codes[j * kPanelLanes], rounded.data());
    for (size_t l = 0; l < kPanelLanes; ++l) {
      const size_t at = j * kPanelLanes + l;
      const float error = values[at] - rounded[l];
      change[l] = errors[at] - error;
      errors[at] = error;
    }

    // The change of this column's error moves g for all columns.
    SubtractOuter(hessian.row(j).data(), in, change.data(), products.data());
  }

  StoreCodes(codes.data(), first_row, {}, layer);
}

}  // namespace

void GreedyPass(Span2D<const float> weight, Span2D<const float> gram, double damp,
                QuantizedLinear& layer, const Context& context) {
  QUALM_CHECK(layer.scheme.granularity == Granularity::kTensor &&
              layer.scheme.type == NumberType::kInteger);
  // H is the Gram matrix with damping on its diagonal.
  Matrix hessian = Matrix::CopyOf(gram);
  double mean = 0;
  for (size_t j = 0; j < gram.rows(); ++j) mean += gram(j, j);
  mean /= static_cast<double>(gram.rows());
  for (size_t j = 0; j < gram.rows(); ++j) {
    hessian(j, j) += static_cast<float>(damp * mean);
    // A column that nothing depends on keeps its nearest value.
    if (hessian(j, j) == 0) hessian(j, j) = 1;
  }

  const Grid grid(layer.scheme, layer.scheme.bits);
  context.pool.ParallelFor(StripCount(weight.rows()), [&](size_t strip) {
    PassOverStrip(strip, weight, hessian, grid, layer);
  });
}

}  // namespace qualm
