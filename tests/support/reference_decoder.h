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

namespace qualm::testing {

template <typename T>
class ReferenceDecoder {
 public:
  // With `order` sums of linear layers run in a random order drawn from it, otherwise in rising
  // order.
  explicit ReferenceDecoder(const Checkpoint& checkpoint, Rng* order = nullptr)
      : checkpoint_(checkpoint), plan_(checkpoint.plan()), order_(order) {}

  // Logits [tokens][vocab] of one sequence.
  std::vector<std::vector<T>> Logits(std::span<const TokenId> ids) {
    const Matrix embedding = ToMatrix(checkpoint_.EmbeddingWeight());
    Rows hidden;
    for (TokenId id : ids) {
      auto row = embedding.row(static_cast<size_t>(id));
      hidden.emplace_back(row.begin(), row.end());
      for (T& v : hidden.back()) v *= static_cast<T>(plan_.embedding.scale);
    }
    for (size_t b = 0; b < plan_.blocks.size(); ++b) Block(b, hidden);

    Rows logits = Product(Normed(hidden, *plan_.final_norm, plan_.final_norm->name),
                          ToMatrix(checkpoint_.HeadWeight()));
    AddBias(logits, plan_.head.name);
    if (plan_.logit_soft_cap > 0) {
      for (auto& row : logits) {
        for (T& v : row) v = Capped(v, plan_.logit_soft_cap);
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

  void AddBias(Rows& y, const std::string& name) {
    const std::vector<float> bias = checkpoint_.BiasOf(name);
    for (auto& row : y) {
      for (size_t n = 0; n < bias.size(); ++n) row[n] += static_cast<T>(bias[n]);
    }
  }

  Rows Linear(const Rows& x, size_t block, const LinearSite& site) {
    const std::string name = plan_.NameIn(block, site.name);
    Rows y = Product(x, ToMatrix(checkpoint_.Weight(name)));
    AddBias(y, name);
    return y;
  }

  Rows Normed(const Rows& x, const NormPlan& norm, const std::string& name) {
    const std::vector<float> weight = checkpoint_.Vector(name + ".weight");
    const std::vector<float> bias = checkpoint_.BiasOf(name);
    const NormParameters& parameters = norm.parameters;
    Rows y = x;
    for (auto& row : y) {
      const T n = static_cast<T>(row.size());
      T mean = 0, squares = 0;
      if (parameters.kind == NormKind::kLayer) {
        for (T v : row) mean += v;
        mean /= n;
      }
      for (T v : row) squares += (v - mean) * (v - mean);
      const T scale = 1 / std::sqrt(squares / n + static_cast<T>(parameters.eps));
      for (size_t i = 0; i < row.size(); ++i) {
        const T factor = static_cast<T>(parameters.weight_offset) + static_cast<T>(weight[i]);
        row[i] = (row[i] - mean) * scale * factor;
        if (!bias.empty()) row[i] += static_cast<T>(bias[i]);
      }
    }
    return y;
  }

  void Rope(Rows& x, const AttentionPlan& plan) {
    const std::vector<double> frequency = RopeInverseFrequencies(*plan.rotary, x.size());
    const size_t half = frequency.size();
    const bool is_half = plan.rotary->layout == RotaryLayout::kHalf;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size(); head += plan.head_dim) {
        for (size_t i = 0; i < half; ++i) {
          const double angle = static_cast<double>(t) * frequency[i];
          const T c = static_cast<T>(std::cos(angle)), s = static_cast<T>(std::sin(angle));
          T& first = x[t][head + (is_half ? i : 2 * i)];
          T& second = x[t][head + (is_half ? i + half : 2 * i + 1)];
          const T a = first, b = second;
          first = a * c - b * s;
          second = b * c + a * s;
        }
      }
    }
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
          weights.push_back(plan.soft_cap > 0 ? Capped(dot, plan.soft_cap) : dot);
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

  Rows Part(const AttentionPlan& plan, size_t block, const Rows& x) {
    Rows q = Linear(x, block, plan.query), k = Linear(x, block, plan.key);
    if (plan.rotary) {
      Rope(q, plan);
      Rope(k, plan);
    }
    return Linear(Attended(q, k, Linear(x, block, plan.value), plan), block, plan.output);
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
      for (size_t t = 0; t < hidden.size(); ++t) {
        for (size_t i = 0; i < hidden[t].size(); ++i) hidden[t][i] += added[t][i];
      }
    }
  }

  const Checkpoint& checkpoint_;
  const ModelPlan& plan_;
  Rng* order_;
};

}  // namespace qualm::testing
