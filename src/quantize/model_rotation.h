// A rotated model: the same float function in another basis (QuaRot, Ashkboos et al. 2024). The
// hidden states between blocks are rotated, heads' values are rotated inside the attention, and the
// last linear layer of each MLP gets its input rotated online.
//
// With h' = Q·h the norms commute with Q once their weights are multiplied into the layers that
// read them: W' = W·diag(norm)·Qᵀ there, W' = Q·W where a layer's output is added to h, E' = E·Qᵀ
// for the embedding, and the head like a reader. Which layers these are is in the family's table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "artefact/quantized_linear.h"
#include "io/fields.h"
#include "model/checkpoint.h"
#include "tensor/rotation.h"

namespace qualm {

class ThreadPool;

struct RotationOptions {
  bool residual = true;  // hidden states between blocks
  bool heads = true;     // values inside attention heads
  bool online = true;    // the input of down_proj
  uint64_t seed = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("residual", self.residual, {.meaning = "rotate the hidden states between blocks"});
    visit("heads", self.heads, {.meaning = "rotate the values inside attention heads"});
    visit("online", self.online, {.meaning = "rotate the input of down_proj at run time"});
    visit("seed", self.seed,
          {.meaning = "of the random signs", .range = InRange(0, int64_t{1} << 62)});
  }
};

// Throws bad input naming the width that has no Hadamard matrix, or only a small block of one.
void RequireRotatable(const ModelConfig& config, const RotationOptions& options);

class ModelRotation {
 public:
  // Throws as RequireRotatable does.
  ModelRotation(const Checkpoint& checkpoint, const RotationOptions& options, ThreadPool& pool);

  // The layer's rotated weight and bias. `group` is its place in the family's table.
  Matrix Weight(size_t group, const LinearSpec& linear, size_t block) const;
  std::vector<float> Bias(size_t group, const LinearSpec& linear, size_t block) const;
  // The weight of a norm inside a block: ones where it went into its readers.
  std::vector<float> Norm(const std::string& name, size_t block) const;
  // What the group's input goes through at run time.
  std::vector<OnlineTransform> Online(size_t group) const;

  Matrix Embedding() const;
  Matrix Head() const;
  std::vector<float> FinalNorm() const;
  bool changes_residual() const { return options_.residual; }

 private:
  bool Reads(size_t group) const;   // the hidden states behind a norm
  bool Writes(size_t group) const;  // into the hidden states
  bool IsValue(const LinearSpec& linear) const;
  bool IsMlpOutput(size_t group) const;

  const Checkpoint& checkpoint_;
  const Family& family_;
  RotationOptions options_;
  ThreadPool& pool_;
  std::unique_ptr<Rotation> residual_, values_, attended_;
  OnlineTransform online_;
  std::unique_ptr<Rotation> inner_;  // online_ as a rotation
};

}  // namespace qualm
