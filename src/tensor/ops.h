// The float operations of a decoder block besides the linear layers and attention.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/activation.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

enum class NormKind : uint8_t {
  kRms,    // x/sqrt(mean(x²) + eps) (Zhang & Sennrich 2019)
  kLayer,  // (x - mean(x))/sqrt(mean((x - mean(x))²) + eps) (Ba et al. 2016)
};

// How a row x is normalized and what multiplies it afterwards.
struct NormParameters {
  NormKind kind = NormKind::kRms;
  double eps = 1e-6;
  float weight_offset = 0;  // the factor of column i is weight_offset + weight[i] (Gemma: 1)
};

// Normalizes each row of x, multiplies it by weight_offset + weight and adds the bias. An empty
// weight stands for ones (weight_offset must be 0 then), an empty bias for zeros. Means are
// computed in double, in two passes. x and out [tokens, cols], weight and bias [cols]; out may be
// x.
void Norm(Span2D<const float> x, const NormParameters& parameters, std::span<const float> weight,
          std::span<const float> bias, Span2D<float> out, const Context& context);

// cos and sin of position·inverse_frequency[i] for some positions, computed in double and
// multiplied by `factor`.
struct RopeTable {
  // Room for so many positions and pairs.
  RopeTable(size_t positions, size_t pairs);
  RopeTable(std::span<const size_t> positions, std::span<const double> inverse_frequency,
            double factor = 1);
  // Row `row` for a position.
  void Set(size_t row, size_t position, std::span<const double> inverse_frequency, double factor);

  Matrix cosine, sine;  // [positions, inverse frequencies]
};

// Which two values of a head an angle turns, if the first rotary_dim of a head are turned.
enum class RotaryLayout : uint8_t {
  kHalf,         // x[i] and x[i + rotary_dim/2], as most Hugging Face checkpoints
  kInterleaved,  // x[2i] and x[2i + 1], as GPT-J and the paper
};

// Turns pairs of every head by the angles of one row of a RopeTable (Su et al. 2021). A head's
// values from rotary_dim on are kept.
// x [heads·head_dim], cosine and sine [rotary_dim/2].
void ApplyRope(std::span<float> x, size_t head_dim, std::span<const float> cosine,
               std::span<const float> sine, RotaryLayout layout);

// x = activation(x), per element.
void Activate(Activation activation, Span2D<float> x, const Context& context);

// gate = activation(gate)·up, per element.
void GatedActivation(Activation activation, Span2D<float> gate, Span2D<const float> up,
                     const Context& context);

// to += from, per element.
void AddRows(Span2D<float> to, Span2D<const float> from, const Context& context);

// to += from·factor, per element; the product is rounded before the sum.
void AddScaled(Span2D<float> to, Span2D<const float> from, float factor, const Context& context);

// Clamps each value to [-bound, bound]; NaN stays NaN.
void Clamp(Span2D<float> x, float bound, const Context& context);

// Adds `bias` to every row, unless it is empty.
void AddBias(Span2D<float> to, std::span<const float> bias);

// x = x·factor, per element.
void ScaleRows(Span2D<float> x, float factor, const Context& context);

// logits = cap·tanh(logits/cap), per element; cap > 0.
void SoftCap(Span2D<float> logits, float cap, const Context& context);

// log Σ exp(logits) of one row, in double.
double LogSumExp(std::span<const float> logits);

}  // namespace qualm
