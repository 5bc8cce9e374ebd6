// The activation functions between the linear layers of a decoder's MLP.
#pragma once

#include <cstdint>

namespace qualm {

enum class Activation : uint8_t {
  kSilu,      // x / (1 + exp(-x)) (Elfwing et al. 2017)
  kGeluTanh,  // x/2·(1 + tanh(sqrt(2/π)·(x + 0.044715·x³))) (Hendrycks & Gimpel 2016)
  kGeluErf,   // x·Φ(x) = x/2·(1 + erf(x/sqrt(2))), which the line above approximates
  kRelu,      // max(x, 0)
  kRelu2,     // max(x, 0)² (So et al. 2021)
};

// The constants of kGeluTanh.
inline constexpr double kRootOfTwoOverPi = 0.79788456080286535588;
inline constexpr double kGeluTanhCubic = 0.044715;

}  // namespace qualm
