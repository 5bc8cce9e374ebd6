// Operations between matrix products: norms, rotation, activations, sums. They are loops over rows,
// divided among threads in pieces of rows. What pays in vector instructions is in vector_ops.h.
#include "tensor/ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/context.h"
#include "tensor/vector_ops.h"

namespace qualm {
namespace {

// Rows of a piece of work: enough to outweigh the cost of handing it out, few enough to share.
constexpr size_t kRowsPerPiece = 16;

// Calls body(row) for every row; rows are independent, so the threads change no result.
template <typename Body>
void ForRowPieces(size_t rows, const Context& context, const Body& body) {
  size_t pieces = (rows + kRowsPerPiece - 1) / kRowsPerPiece;
  context.pool.ParallelFor(pieces, [&](size_t piece) {
    size_t end = std::min(rows, (piece + 1) * kRowsPerPiece);
    for (size_t row = piece * kRowsPerPiece; row < end; ++row) body(row);
  });
}

// Mean of term(x[i]) in double, summed in four interleaved chains, which a processor adds at the
// same time.
template <typename Term>
double MeanOf(std::span<const float> x, const Term& term) {
  double sums[4] = {0, 0, 0, 0};
  for (size_t i = 0; i < x.size(); ++i) sums[i % 4] += term(static_cast<double>(x[i]));
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) / static_cast<double>(x.size());
}

// The factors of Norm's columns: the weights as they are, or offset + weight in `memory`.
std::span<const float> FactorsOf(std::span<const float> weight, float offset, size_t cols,
                                 std::vector<float>& memory) {
  QUALM_CHECK(!weight.empty() || offset == 0);
  if (!weight.empty() && offset == 0) return weight;  // 0 + weight would lose the sign of -0
  memory.assign(cols, 1.0f);
  for (size_t i = 0; i < weight.size(); ++i) memory[i] = offset + weight[i];
  return memory;
}

// out = x normalized, not yet multiplied by the weight. out may be x.
void NormalizeRow(std::span<const float> x, const NormParameters& parameters,
                  std::span<float> out) {
  if (parameters.kind == NormKind::kRms) {
    const double mean = MeanOf(x, [](double v) { return v * v; });
    const auto factor = static_cast<float>(1.0 / std::sqrt(mean + parameters.eps));
    for (size_t i = 0; i < x.size(); ++i) out[i] = x[i] * factor;
    return;
  }

  // The difference is taken in double: where the mean is much larger than the deviation, a mean
  // that is rounded to float would shift the whole row.
  const double mean = MeanOf(x, [](double v) { return v; });
  const double variance = MeanOf(x, [mean](double v) { return (v - mean) * (v - mean); });
  const double factor = 1.0 / std::sqrt(variance + parameters.eps);
  for (size_t i = 0; i < x.size(); ++i) out[i] = static_cast<float>((x[i] - mean) * factor);
}

}  // namespace

void Norm(Span2D<const float> x, const NormParameters& parameters, std::span<const float> weight,
          std::span<const float> bias, Span2D<float> out, const Context& context) {
  QUALM_CHECK(weight.empty() || weight.size() == x.cols());
  QUALM_CHECK(bias.empty() || bias.size() == x.cols());
  QUALM_CHECK(out.cols() == x.cols() && out.rows() == x.rows());

  // The factors are the same for all rows.
  std::vector<float> memory;
  const std::span<const float> factors =
      FactorsOf(weight, parameters.weight_offset, x.cols(), memory);

  ForRowPieces(x.rows(), context, [&](size_t t) {
    std::span<float> row = out.row(t);
    NormalizeRow(x.row(t), parameters, row);
    for (size_t i = 0; i < row.size(); ++i) row[i] *= factors[i];
    if (!bias.empty()) AddTo(row.data(), bias.data(), row.size());
  });
}

RopeTable::RopeTable(size_t positions, size_t pairs)
    : cosine(Matrix::Uninitialized(positions, pairs)),
      sine(Matrix::Uninitialized(positions, pairs)) {}

RopeTable::RopeTable(std::span<const size_t> positions, std::span<const double> inverse_frequency,
                     double factor)
    : RopeTable(positions.size(), inverse_frequency.size()) {
  for (size_t p = 0; p < positions.size(); ++p) Set(p, positions[p], inverse_frequency, factor);
}

void RopeTable::Set(size_t row, size_t position, std::span<const double> inverse_frequency,
                    double factor) {
  for (size_t i = 0; i < inverse_frequency.size(); ++i) {
    // In double, because a float cannot hold large positions times small frequencies exactly.
    const double angle = static_cast<double>(position) * inverse_frequency[i];
    cosine(row, i) = static_cast<float>(std::cos(angle) * factor);
    sine(row, i) = static_cast<float>(std::sin(angle) * factor);
  }
}

namespace {

// Turns the pairs (first[i·kStep], second[i·kStep]) by the angle i.
template <size_t kStep>
void TurnPairs(std::span<const float> cosine, std::span<const float> sine, float* first,
               float* second) {
  for (size_t i = 0; i < cosine.size(); ++i) {
    const float a = first[i * kStep], b = second[i * kStep];
    first[i * kStep] = a * cosine[i] - b * sine[i];
    second[i * kStep] = b * cosine[i] + a * sine[i];
  }
}

}  // namespace

// Only the first 2·pairs values of each head turn (partial rotation). The layout says which two
// values form a pair: neighbours, or one of each half.
void ApplyRope(std::span<float> x, size_t head_dim, std::span<const float> cosine,
               std::span<const float> sine, RotaryLayout layout) {
  const size_t pairs = cosine.size();
  QUALM_CHECK(sine.size() == pairs && 2 * pairs <= head_dim && x.size() % head_dim == 0);
  for (size_t head = 0; head < x.size(); head += head_dim) {
    float* values = x.data() + head;
    if (layout == RotaryLayout::kInterleaved) {
      TurnPairs<2>(cosine, sine, values, values + 1);
    } else {
      TurnPairs<1>(cosine, sine, values, values + pairs);
    }
  }
}

void Activate(Activation activation, Span2D<float> x, const Context& context) {
  ForRowPieces(x.rows(), context,
               [&](size_t t) { ActivateValues(activation, x.row(t).data(), nullptr, x.cols()); });
}

void GatedActivation(Activation activation, Span2D<float> gate, Span2D<const float> up,
                     const Context& context) {
  QUALM_CHECK(gate.rows() == up.rows() && gate.cols() == up.cols());
  ForRowPieces(gate.rows(), context, [&](size_t t) {
    ActivateValues(activation, gate.row(t).data(), up.row(t).data(), gate.cols());
  });
}

void AddRows(Span2D<float> to, Span2D<const float> from, const Context& context) {
  ForRowPieces(to.rows(), context,
               [&](size_t t) { AddTo(to.row(t).data(), from.row(t).data(), to.cols()); });
}

void AddScaled(Span2D<float> to, Span2D<const float> from, float factor, const Context& context) {
  QUALM_CHECK(to.rows() == from.rows() && to.cols() == from.cols());
  ForRowPieces(to.rows(), context, [&](size_t t) {
    const std::span<float> sums = to.row(t);
    const std::span<const float> added = from.row(t);
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += added[i] * factor;
  });
}

void Clamp(Span2D<float> x, float bound, const Context& context) {
  ForRowPieces(x.rows(), context, [&](size_t t) {
    // Comparisons in this order leave NaN as it is.
    for (float& v : x.row(t)) v = v > bound ? bound : (v < -bound ? -bound : v);
  });
}

void AddBias(Span2D<float> to, std::span<const float> bias) {
  if (bias.empty()) return;
  QUALM_CHECK(bias.size() == to.cols());
  for (size_t t = 0; t < to.rows(); ++t) AddTo(to.row(t).data(), bias.data(), bias.size());
}

void ScaleRows(Span2D<float> x, float factor, const Context& context) {
  ForRowPieces(x.rows(), context, [&](size_t t) {
    for (float& value : x.row(t)) value *= factor;
  });
}

void SoftCap(Span2D<float> logits, float cap, const Context& context) {
  ForRowPieces(logits.rows(), context,
               [&](size_t t) { SoftCapValues(logits.row(t).data(), logits.cols(), cap); });
}

// Shifted by the largest logit, so that no exponential overflows.
double LogSumExp(std::span<const float> logits) {
  float largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return largest + std::log(sum);
}

}  // namespace qualm
