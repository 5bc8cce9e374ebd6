// What GPTQ knows of a layer's inputs: H = 2/n·XᵀX damped and factored, and the order of columns.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "methods/rounders.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;

struct HessianOptions {
  bool act_order = false;           // columns by falling diag(H), ties by index; else as they are
  double damp = 0.01;               // λ = damp·mean(diag H) is added to the diagonal
  std::vector<uint32_t> last = {};  // columns that come after all the rest, rising
  bool operator==(const HessianOptions&) const = default;
};

// What the column loop needs of H, and how it was obtained.
struct HessianFactor {
  std::vector<uint32_t> order;  // position -> column; empty: the same
  std::vector<uint8_t> dead;    // by column: 1 if H_jj = 0, that is x_j = 0 for all tokens
  size_t dead_count = 0;
  // U [in, in], upper triangular, H⁻¹ = Uᵀ·U, rows and columns by position. Empty if H with the
  // largest damping was not positive definite, or if all columns are dead.
  Matrix upper;
  double damping = 0;  // relative to mean(diag H), the last one tried
  int attempts = 0;    // factorisations tried, 0 if all columns are dead
};

// Dead columns get H_jj = 1 first, and so take part in the mean and in the order. The first attempt
// is made in float32 (float64 if the Gram matrix is), then damping is raised ×10 up to 3 times in
// float64 (from 0.001 on if it was 0).
// Throws bad input for a Gram matrix that is not finite, naming the input.
HessianFactor FactorHessian(const RounderInput& input, const HessianOptions& options,
                            const Context& context);

// The factor used where there is none: H = I feeds no error forward, so columns round to nearest.
HessianFactor IdentityFactor(size_t n);

// Stores damping, attempts and remarks about them in `result`; sets fell_back_to_rtn where there is
// no factor.
void DescribeFactor(const HessianFactor& factor, double damp_asked_for, RounderResult& result);

// Keeps the last factor for the next layer with the same inputs and options (q, k and v read the
// same Gram matrix, and so do gate and up). A cache belongs to one Gram matrix: it must not be
// passed in a RounderInput with another.
class FactorCache {
 public:
  // FactorHessian(input, options, context); valid until the next call.
  const HessianFactor& Get(const RounderInput& input, const HessianOptions& options,
                           const Context& context);

 private:
  HessianOptions options_;
  bool is_double_ = false;
  std::optional<HessianFactor> factor_;
};

}  // namespace qualm
