// The decoder written down a second time, slow and obvious: no cache, no blocks, no vectors. In
// double it is the reference; in float with permuted summation orders it shows how far rounding
// alone moves the logits.
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
      : checkpoint_(checkpoint), config_(checkpoint.config()), order_(order) {}

  // Logits [tokens][vocab] of one sequence.
  std::vector<std::vector<T>> Logits(std::span<const TokenId> ids) {
    Matrix embedding = ToMatrix(checkpoint_.EmbeddingWeight());
    Rows hidden;
    for (TokenId id : ids) {
      auto row = embedding.row(static_cast<size_t>(id));
      hidden.emplace_back(row.begin(), row.end());
    }
    for (size_t b = 0; b < config_.layers; ++b) Block(b, hidden);
    Rows normed = Norm(hidden, checkpoint_.family().final_norm + ".weight");
    return Product(normed, ToMatrix(checkpoint_.HeadWeight()));
  }

 private:
  using Rows = std::vector<std::vector<T>>;

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

  Rows Linear(const Rows& x, size_t block, const std::string& name) {
    std::string full = LinearName(checkpoint_.family(), block, name);
    Rows y = Product(x, ToMatrix(checkpoint_.Weight(full)));
    std::vector<float> bias = checkpoint_.BiasOf(full);
    for (auto& row : y) {
      for (size_t n = 0; n < bias.size(); ++n) row[n] += static_cast<T>(bias[n]);
    }
    return y;
  }

  Rows Norm(const Rows& x, const std::string& weight_name) {
    std::vector<float> weight = checkpoint_.Vector(weight_name);
    Rows y = x;
    for (auto& row : y) {
      T squares = 0;
      for (T v : row) squares += v * v;
      T scale = 1 / std::sqrt(squares / static_cast<T>(row.size()) +
                              static_cast<T>(config_.rms_norm_eps));
      for (size_t i = 0; i < row.size(); ++i) row[i] *= scale * static_cast<T>(weight[i]);
    }
    return y;
  }

  void Rope(Rows& x) {
    std::vector<double> frequency = RopeInverseFrequencies(config_);
    size_t half = config_.head_dim / 2;
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t head = 0; head < x[t].size(); head += config_.head_dim) {
        for (size_t i = 0; i < half; ++i) {
          double angle = static_cast<double>(t) * frequency[i];
          T c = static_cast<T>(std::cos(angle)), s = static_cast<T>(std::sin(angle));
          T a = x[t][head + i], b = x[t][head + i + half];
          x[t][head + i] = a * c - b * s;
          x[t][head + i + half] = b * c + a * s;
        }
      }
    }
  }

  Rows Attention(const Rows& q, const Rows& k, const Rows& v, size_t block) {
    bool windowed = config_.sliding_window && block >= config_.first_window_layer;
    Rows out(q.size(), std::vector<T>(config_.q_features()));
    size_t dim = config_.head_dim, share = config_.heads / config_.kv_heads;
    for (size_t t = 0; t < q.size(); ++t) {
      size_t first =
          windowed && t + 1 > *config_.sliding_window ? t + 1 - *config_.sliding_window : 0;
      for (size_t head = 0; head < config_.heads; ++head) {
        size_t from = head * dim, kv = head / share * dim;
        std::vector<T> weights;
        for (size_t s = first; s <= t; ++s) {
          T dot = 0;
          for (size_t d = 0; d < dim; ++d) dot += q[t][from + d] * k[s][kv + d];
          weights.push_back(dot / std::sqrt(static_cast<T>(dim)));
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

  void Block(size_t block, Rows& hidden) {
    const Family& family = checkpoint_.family();
    auto linear = [&](const Rows& x, size_t group, size_t index) {
      return Linear(x, block, family.groups[group].linears[index].name);
    };
    auto add = [&](const Rows& rows) {
      for (size_t t = 0; t < hidden.size(); ++t) {
        for (size_t i = 0; i < hidden[t].size(); ++i) hidden[t][i] += rows[t][i];
      }
    };
    Rows x = Norm(hidden, LinearName(family, block, family.attention_norm) + ".weight");
    Rows q = linear(x, 0, 0), k = linear(x, 0, 1), v = linear(x, 0, 2);
    Rope(q);
    Rope(k);
    add(linear(Attention(q, k, v, block), 1, 0));
    x = Norm(hidden, LinearName(family, block, family.mlp_norm) + ".weight");
    Rows gate = linear(x, 2, 0), up = linear(x, 2, 1);
    for (size_t t = 0; t < gate.size(); ++t) {
      for (size_t i = 0; i < gate[t].size(); ++i) {
        gate[t][i] *= up[t][i] / (1 + std::exp(-gate[t][i]));
      }
    }
    add(linear(gate, 3, 0));
  }

  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  Rng* order_;
};

}  // namespace qualm::testing
