// The decoder written down a second time, slow and obvious, from the plan: no cache, no blocks, no
// vectors. In double it is the reference; in float with permuted summation orders it shows how far
// rounding alone moves the logits.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/rng.h"
#include "model/checkpoint.h"
#include "support/reference_rotary.h"
#include "support/reference_tensors.h"

namespace qualm::testing {

template <typename T>
class ReferenceDecoder {
 public:
  // With `order` sums of linear layers run in a random order drawn from it, otherwise in rising
  // order.
  explicit ReferenceDecoder(const Checkpoint& checkpoint, Rng* order = nullptr)
      : tensors_(checkpoint), plan_(checkpoint.plan()), order_(order) {}

  // Logits [tokens][vocab] of one sequence.
  std::vector<std::vector<T>> Logits(std::span<const TokenId> ids) {
    Rows hidden = Embedded(ids);
    for (size_t b = 0; b < plan_.blocks.size(); ++b) Block(b, hidden);

    if (plan_.final_norm) hidden = Normed(hidden, *plan_.final_norm, plan_.final_norm->name);
    if (plan_.project_out) hidden = Outside(hidden, *plan_.project_out);
    Rows logits = Product(hidden, Head());
    if (plan_.head.requires_bias) AddBias(logits, tensors_.Values(plan_.head.name + ".bias"));
    for (auto& row : logits) {
      for (T& v : row) {
        v *= static_cast<T>(plan_.logit_scale);
        if (plan_.logit_soft_cap > 0) v = Capped(v, plan_.logit_soft_cap);
      }
    }
    return logits;
  }

 private:
  using Rows = std::vector<std::vector<T>>;

  static T Capped(T value, float cap) {
    return static_cast<T>(cap) * std::tanh(value / static_cast<T>(cap));
  }

  Rows Product(const Rows& x, const Matrix& w) {
    std::vector<size_t> order(w.cols());
    std::iota(order.begin(), order.end(), size_t{0});
    if (order_ != nullptr) {
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[order_->Below(i)]);
    }
    Rows y(x.size(), std::vector<T>(w.rows()));
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t n = 0; n < w.rows(); ++n) {
        T sum = 0;
        for (size_t k : order) sum += x[t][k] * static_cast<T>(w(n, k));
        y[t][n] = sum;
      }
    }
    return y;
  }

  static void AddBias(Rows& y, const std::vector<float>& bias) {
    for (auto& row : y) {
      for (size_t n = 0; n < bias.size(); ++n) row[n] += static_cast<T>(bias[n]);
    }
  }

  Rows Linear(const Rows& x, size_t block, const LinearSite& site) {
    Rows y = Product(x, tensors_.Weight(block, site));
    AddBias(y, tensors_.Bias(block, site));
    return y;
  }

  // A linear layer before or after the blocks, by its name in full.
  Rows Outside(const Rows& x, const LinearSite& site) {
    Rows y = Product(x, tensors_.Table(site.name + ".weight", site.out, site.in));
    AddBias(y, tensors_.Values(site.name + ".bias"));
    return y;
  }

  Rows Looked(const Matrix& table, const std::vector<size_t>& rows, float scale) {
    Rows looked;
    for (const size_t r : rows) {
      looked.emplace_back(table.row(r).begin(), table.row(r).end());
      for (T& v : looked.back()) v *= static_cast<T>(scale);
    }
    return looked;
  }

  // What the first block reads.
  Rows Embedded(std::span<const TokenId> ids) {
    std::vector<size_t> rows(ids.begin(), ids.end());
    Rows hidden = Looked(tensors_.Embedding(), rows, plan_.embedding.scale);
    if (plan_.project_in) hidden = Outside(hidden, *plan_.project_in);
    if (plan_.embedding_norm) {
      hidden = Normed(hidden, *plan_.embedding_norm, plan_.embedding_norm->name);
    }
    if (!plan_.positions) return hidden;

    const TableSite& table = *plan_.positions;
    std::iota(rows.begin(), rows.end(), plan_.position_offset);
    const Rows positions =
        Looked(tensors_.Table(table.name + ".weight", table.rows, table.width), rows, table.scale);
    for (size_t t = 0; t < hidden.size(); ++t) {
      for (size_t i = 0; i < hidden[t].size(); ++i) hidden[t][i] += positions[t][i];
    }
    return hidden;
  }

  Matrix Head() const {
    Matrix head = tensors_.Head();
    for (size_t r = 0; plan_.head_has_unit_rows && r < head.rows(); ++r) {
      double squares = 0;
      for (const float v : head.row(r)) squares += double{v} * double{v};
      for (float& v : head.row(r)) v = static_cast<float>(v / std::sqrt(squares));
    }
    return head;
  }

  // Normalizes each group of norm.width values of a row separately; all share the weights, or each
  // has its part of them.
  Rows Normed(const Rows& x, const NormPlan& norm, const std::string& name) {
    const std::vector<float> weight = tensors_.OfNorm(norm, name, ".weight");
    const std::vector<float> bias = tensors_.OfNorm(norm, name, ".bias");
    const NormParameters& parameters = norm.parameters;
    Rows y = x;
    for (auto& row : y) {
      for (size_t from = 0; from < row.size(); from += norm.width) {
        const T n = static_cast<T>(norm.width);
        T mean = 0, squares = 0;
        for (size_t i = from; parameters.kind == NormKind::kLayer && i < from + norm.width; ++i) {
          mean += row[i] / n;
        }
        for (size_t i = from; i < from + norm.width; ++i) {
          squares += (row[i] - mean) * (row[i] - mean);
        }
        const T scale = 1 / std::sqrt(squares / n + static_cast<T>(parameters.eps));
        for (size_t i = from; i < from + norm.width; ++i) {
          const size_t at = norm.groups == 1 ? i - from : i;
          row[i] = (row[i] - mean) * scale;
          if (!weight.empty()) {
            row[i] *= static_cast<T>(parameters.weight_offset) + static_cast<T>(weight.at(at));
          }
          if (!bias.empty()) row[i] += static_cast<T>(bias.at(at));
        }
      }
    }
    return y;
  }

  void Rope(Rows& x, const AttentionPlan& plan) {
    const std::vector<double> frequency = ReferenceFrequencies(*plan.rotary, x.size());
    const size_t half = frequency.size();
    const bool is_half = plan.rotary->layout == RotaryLayout::kHalf;
    const double length = plan.rotary->scaling.attention_factor;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size(); head += plan.head_dim) {
        for (size_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(t) * frequency[i];
          const T c = static_cast<T>(length * std::cos(angle));
          const T s = static_cast<T>(length * std::sin(angle));
          T& first = x[t][head + (is_half ? i : 2 * i)];
          T& second = x[t][head + (is_half ? i + half : 2 * i + 1)];
          const T a = first, b = second;
          first = a * c - b * s;
          second = b * c + a * s;
        }
      }
    }
  }

  // What ALiBi adds to the score of a key: none of it is bounded by the cap.
  static double Alibi(const AttentionPlan& plan, size_t head, size_t query, size_t key) {
    if (plan.alibi_slopes.empty()) return 0;
    const double slope = plan.alibi_slopes[head];
    if (!plan.alibi_in_bfloat16) return -slope * static_cast<double>(query - key);
    return plan.scale * Bfloat16(Bfloat16(slope) * Bfloat16(static_cast<double>(key)));
  }

  // Rounded to the 8 significant bits of a bfloat16, halves to even.
  static double Bfloat16(double value) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, 8)), exponent - 8);
  }

  Rows Attended(const Rows& q, const Rows& k, const Rows& v, const AttentionPlan& plan) {
    Rows out(q.size(), std::vector<T>(plan.query.out));
    const size_t dim = plan.head_dim, share = plan.heads / plan.kv_heads;
    for (size_t t = 0; t < q.size(); ++t) {
      const size_t first = plan.window > 0 && t + 1 > plan.window ? t + 1 - plan.window : 0;
      for (size_t head = 0; head < plan.heads; ++head) {
        const size_t from = head * dim, kv = head / share * dim;
        std::vector<T> weights;
        for (size_t s = first; s <= t; ++s) {
          T dot = 0;
          for (size_t d = 0; d < dim; ++d) dot += q[t][from + d] * k[s][kv + d];
          dot *= static_cast<T>(plan.scale);
          const T score = plan.soft_cap > 0 ? Capped(dot, plan.soft_cap) : dot;
          weights.push_back(score + static_cast<T>(Alibi(plan, head, t, s)));
        }
        T largest = *std::max_element(weights.begin(), weights.end()), sum = 0;
        for (T& w : weights) sum += w = std::exp(w - largest);
        for (size_t s = first; s <= t; ++s) {
          for (size_t d = 0; d < dim; ++d) {
            out[t][from + d] += weights[s - first] / sum * v[s][kv + d];
          }
        }
      }
    }
    return out;
  }

  // Every `side` neighbouring values times the matrix, over the root of the side.
  static void Turned(Rows& rows, const AttentionPlan& plan) {
    const size_t side = plan.head_rotation_side;
    for (size_t t = 0; side > 0 && t < rows.size(); ++t) {
      const auto before = rows[t];
      for (size_t c = 0; c < before.size(); ++c) {
        T sum = 0;
        for (size_t i = 0; i < side; ++i) {
          sum +=
              before[c / side * side + i] * static_cast<T>(plan.head_rotation[i * side + c % side]);
        }
        rows[t][c] = sum / std::sqrt(static_cast<T>(side));
      }
    }
  }

  // Clamped, then turned and normed in the order of the plan.
  Rows Part(const AttentionPlan& plan, size_t block, const Rows& x) {
    Rows q = Linear(x, block, plan.query), k = Linear(x, block, plan.key);
    Rows v = Linear(x, block, plan.value);
    for (Rows* rows : {&q, &k, &v}) {
      for (auto& row : *rows) {
        const T clip = static_cast<T>(plan.clip);
        for (T& value : row) value = clip > 0 ? std::min(clip, std::max(-clip, value)) : value;
      }
    }
    for (const bool after : {false, true}) {
      if (plan.norms && plan.norms->after_rotary == after) {
        const NormPlan &of_q = plan.norms->query, &of_k = plan.norms->key;
        q = Normed(q, of_q, plan_.NameIn(block, of_q.name));
        k = Normed(k, of_k, plan_.NameIn(block, of_k.name));
      }
      if (after || !plan.rotary) continue;
      Rope(q, plan);
      Rope(k, plan);
    }
    for (Rows* rows : {&q, &k}) Turned(*rows, plan);
    for (size_t t = 0; plan.query_growth && t < q.size(); ++t) {
      const double contexts =
          std::floor(static_cast<double>(t) / plan.query_growth->original_context);
      const double growth = 1 + plan.query_growth->beta * std::log1p(contexts);
      for (T& value : q[t]) value *= static_cast<T>(growth);
    }
    return Linear(Attended(q, k, v, plan), block, plan.output);
  }

  static T Activated(Activation activation, T x) {
    switch (activation) {
      case Activation::kSilu:
        return x / (1 + std::exp(-x));
      case Activation::kGeluTanh:
        return x / 2 *
               (1 + std::tanh(static_cast<T>(kRootOfTwoOverPi) *
                              (x + static_cast<T>(kGeluTanhCubic) * x * x * x)));
      case Activation::kGeluErf:
        return x / 2 * (1 + std::erf(x / std::sqrt(T{2})));
      case Activation::kRelu:
        return std::max(x, T{0});
      case Activation::kRelu2:
        return std::max(x, T{0}) * std::max(x, T{0});
    }
    return x;
  }

  Rows Part(const MlpPlan& plan, size_t block, const Rows& x) {
    const Rows up = Linear(x, block, plan.up);
    Rows inner = plan.gate ? Linear(x, block, *plan.gate) : up;
    for (size_t t = 0; t < inner.size(); ++t) {
      for (size_t i = 0; i < inner[t].size(); ++i) {
        inner[t][i] = Activated(plan.activation, inner[t][i]);
        if (plan.gate) inner[t][i] *= up[t][i];
      }
    }
    return Linear(inner, block, plan.down);
  }

  void Block(size_t block, Rows& hidden) {
    Rows read = hidden;
    for (const Branch& branch : plan_.blocks[block].branches) {
      if (!branch.is_parallel) read = hidden;
      const auto normed = [&](const std::optional<NormPlan>& norm, const Rows& x) {
        return norm ? Normed(x, *norm, plan_.NameIn(block, norm->name)) : x;
      };
      const Rows x = normed(branch.norm, read);
      const Rows output =
          std::visit([&](const auto& part) { return Part(part, block, x); }, branch.part);
      const Rows added = normed(branch.norm_after, output);
      if (branch.adds_to_norm) hidden = x;
      for (size_t t = 0; t < hidden.size(); ++t) {
        for (size_t i = 0; i < hidden[t].size(); ++i) {
          hidden[t][i] += static_cast<T>(branch.output_scale) * added[t][i];
        }
      }
      hidden = normed(branch.norm_of_sum, hidden);
    }
  }

  const ReferenceTensors tensors_;
  const ModelPlan& plan_;
  Rng* order_;
};

}  // namespace qualm::testing
