// A rotated model: the same float function in another basis (QuaRot, Ashkboos et al. 2024). The
// hidden states between blocks are rotated, heads' values are rotated inside the attention, and the
// last linear layer of each MLP gets its input rotated online.
//
// With h' = Q·h the norms commute with Q once their weights are multiplied into the layers that
// read them: those layers become W' = W·diag(norm)·Qᵀ, layers whose output is added to h become W'
// = Q·W, the embedding becomes E' = E·Qᵀ, and the head changes like a reader. The block's plan says
// which layers these are.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "artefact/quantized_linear.h"
#include "io/fields.h"
#include "methods/rotation_options.h"
#include "model/checkpoint.h"
#include "tensor/rotation.h"

namespace qualm {

struct Context;

// Throws bad input naming the width that has no Hadamard matrix, or only a small block of one, or
// the norm that does not commute with a rotation.
void RequireRotatable(const ModelPlan& plan, const RotationOptions& options);

// Constructed once per run; it keeps the matrices Q and computes rotated tensors when they are
// asked for, so that a rotated model is never held as a whole.
class ModelRotation {
 public:
  // Throws as RequireRotatable does.
  ModelRotation(const Checkpoint& checkpoint, const RotationOptions& options,
                const Context& context);

  // The rotated weight and bias of a linear layer that reads `input`.
  Matrix Weight(const SiteInput& input, const LinearSite& site, size_t block) const;
  std::vector<float> Bias(const LinearSite& site, size_t block) const;
  // The weight of a norm inside a block; it is neutral if it was multiplied into the norm's
  // readers.
  std::vector<float> Norm(const NormPlan& norm, size_t block) const;
  // The operations on the input at run time.
  std::vector<OnlineTransform> Online(const SiteInput& input) const;

  Matrix Embedding() const;
  Matrix Head() const;
  std::vector<float> FinalNorm() const;  // requires: the model has one
  bool changes_residual() const { return options_.residual; }

 private:
  const Rotation& OfHeads(size_t width, size_t head_dim) const;
  OnlineTransform OnlineOf(size_t width) const;
  std::vector<float> Neutral(const NormPlan& norm) const;

  const Checkpoint& checkpoint_;
  const ModelPlan& plan_;
  RotationOptions options_;
  const Context& context_;
  std::unique_ptr<Rotation> residual_;
  std::map<std::pair<size_t, size_t>, std::unique_ptr<Rotation>> heads_;  // by width and head_dim
};

}  // namespace qualm
