// The definition of attention as plain loops in double: scores of all visible keys, softmax,
// weighted sum of values. The kernel's tests compare with it.
#include "tensor/reference/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

namespace qualm::reference {
namespace {

// Rounded to the 8 significant bits of a bfloat16, halves to even.
double Bfloat16(double value) {
  int exponent = 0;
  const double mantissa = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
}

// What ALiBi adds to the score of a key at `position`.
double Alibi(const AttentionParameters& parameters, size_t head, double query_position,
             double position) {
  if (parameters.alibi_slopes.empty()) return 0;
  const double slope = parameters.alibi_slopes[head];
  if (!parameters.alibi_in_bfloat16) return slope * (position - query_position);
  return double{parameters.scale} * Bfloat16(Bfloat16(slope) * Bfloat16(position));
}

// One query with one key, before ALiBi.
double Score(std::span<const float> query, std::span<const float> key,
             const AttentionParameters& parameters) {
  double dot = 0;
  for (size_t d = 0; d < query.size(); ++d) dot += double{query[d]} * double{key[d]};
  double score = dot * double{parameters.scale};
  if (parameters.soft_cap > 0) {
    score = parameters.soft_cap * std::tanh(score / parameters.soft_cap);
  }
  return score;
}

}  // namespace

Matrix Attention(Span2D<const float> queries, Span2D<const float> keys, Span2D<const float> values,
                 const AttentionParameters& parameters, size_t kv_heads, size_t first_position) {
  const size_t head_dim = queries.cols() / parameters.heads;
  Matrix out(queries.rows(), queries.cols());
  for (size_t t = 0; t < queries.rows(); ++t) {
    // A query sees its own position and those before it, as far as the window reaches.
    const size_t position = first_position + t, window = parameters.window;
    const size_t first = window > 0 && position + 1 > window ? position + 1 - window : 0;
    for (size_t head = 0; head < parameters.heads; ++head) {
      const size_t kv = head / (parameters.heads / kv_heads) * head_dim;
      const auto query = queries.row(t).subspan(head * head_dim, head_dim);

      // Scores of the visible keys, then their softmax.
      std::vector<double> weights;
      for (size_t s = first; s <= position; ++s) {
        weights.push_back(
            Score(query, keys.row(s).subspan(kv, head_dim), parameters) +
            Alibi(parameters, head, static_cast<double>(position), static_cast<double>(s)));
      }

      const double largest = *std::ranges::max_element(weights);
      double sum = 0;
      for (double& weight : weights) sum += weight = std::exp(weight - largest);

      for (size_t d = 0; d < head_dim; ++d) {
        double value = 0;
        for (size_t s = first; s <= position; ++s) {
          value += weights[s - first] / sum * double{values(s, kv + d)};
        }
        out(t, head * head_dim + d) = static_cast<float>(value);
      }
    }
  }
  return out;
}

}  // namespace qualm::reference
