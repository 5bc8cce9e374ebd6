// Transforms: edits of the linear layers that read one input (its readers). They leave the float
// model's function unchanged and make it easier to round. The table is in transforms.cc, one line
// per file in transforms/.
//
// A transform looks at the readers and answers with numbers; block_tensors.h folds them into the
// neighbours or keeps them as an online operation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/scheme.h"
#include "calibrate/layer_stats.h"
#include "methods/activation_plan.h"
#include "methods/rotation_options.h"
#include "tensor/dense.h"
#include "tensor/matrix.h"

namespace qualm {

struct Context;
struct FieldDescription;
class Yaml;

// Bounds that a layer's weights are clamped to before they are rounded, one pair per output row and
// group of inputs. Empty matrices: none.
struct WeightClip {
  size_t group_size = 0;
  Matrix low, high;  // [out, groups]

  bool empty() const { return low.rows() == 0; }
  // The clamped weight [out, in].
  Matrix Apply(Span2D<const float> weight) const;
};

// One of the linear layers that read an input.
struct TransformLinear {
  std::string name;            // in full, for messages
  Span2D<const float> weight;  // [out, in]
  // How it will be rounded; null if the recipe skips it.
  const Scheme* scheme = nullptr;
  const ActivationPlan* activations = nullptr;  // null: inputs stay float
  bool feeds_scores = false;  // its output goes into the attention scores (q and k)
};

// The linear layers that read one input, with its statistics. The views are valid during a call.
struct InputReaders {
  std::vector<TransformLinear> linears;
  // Of the input: channel statistics over all calibration tokens, and a sample of rows.
  const LayerStats* stats = nullptr;
  // Whether a scale can be folded into the norm or layer that produces the input.
  bool can_fold = false;
  // ‖f(x) − f̂(x)‖² of the whole module that the input opens (attention, MLP), with the weights of
  // its linear layers replaced; empty if the input does not open a module.
  std::function<double(std::span<const Matrix> weights)> module_loss;
};

// x ↦ (x − shift)/scale, W ↦ W·diag(scale); empty vectors: none.
struct InputEdit {
  std::vector<float> shift, scale;
  bool keep_online = false;  // even where it could be folded
  std::string choice;        // the result of a search, such as "ratio 0.35"
};

// A transform with its options parsed. Choose is called for each input in turn, Clip for all inputs
// after the edits of all transforms.
class Transform {
 public:
  virtual ~Transform() = default;
  virtual std::string_view name() const = 0;
  virtual bool needs_data() const { return true; }
  // Options of a transform that changes the basis of the whole model and must come first; null for
  // all other transforms.
  virtual const RotationOptions* rotation() const { return nullptr; }
  // Throws bad input if a scheme cannot be used with it.
  virtual InputEdit Choose(const InputReaders& readers, const Context& context) const = 0;
  // Called after the edits of all transforms: one clip for each linear layer, or an empty list.
  virtual std::vector<WeightClip> Clip(const InputReaders&, const Context&) const { return {}; }
  // Options as canonical JSON text, every default spelled out.
  virtual std::string OptionsJson() const = 0;
  // The options that it takes, with their defaults.
  virtual std::vector<FieldDescription> OptionFields() const = 0;
};

// A line of the table.
struct TransformEntry {
  const char* name;
  const char* summary;
  // Strict; `options` may be null (all defaults).
  std::unique_ptr<Transform> (*make)(const Yaml* options);
};

std::span<const TransformEntry> AllTransforms();
std::unique_ptr<Transform> MakeTransform(std::string_view name, const Yaml* options,
                                         std::string_view place);
std::vector<std::string> TransformNames();

// Q(weight·diag(scale))·diag(scale)⁻¹ with every group rounded to nearest on the grid of `scheme`:
// the estimate that searches use, whatever rounder comes later. kScaled leaves the second factor
// out, kError is the weight minus kWhole. [out, in]
enum class RoundedPart { kWhole, kScaled, kError };
Matrix RoundScaled(Span2D<const float> weight, const Scheme& scheme, std::span<const float> scale,
                   RoundedPart part, const Context& context);

// Σ over the rounded readers of ‖X·(W_i − Ŵ_i)ᵀ‖² over the sampled rows, with Ŵ_i of
// RoundScaled; float products, sums in double. The memory is reused from one candidate to the next.
class ReadersLoss {
 public:
  explicit ReadersLoss(const InputReaders& readers);  // which must outlive it
  double Of(std::span<const float> scale, const Context& context);

 private:
  const InputReaders& readers_;
  std::vector<std::unique_ptr<WritableWeight>> errors_;  // null: not rounded
};
// max |x_j| over all tokens. [in]
std::vector<float> AbsMax(const LayerStats& stats);
// max |W_ij| over the rows of all readers. [in]
std::vector<float> ColumnAbsMax(const InputReaders& readers, const Context& context);
// weight·diag(scale). Shapes [out, in], [in].
Matrix ScaleColumns(Span2D<const float> weight, std::span<const float> scale,
                    const Context& context);

}  // namespace qualm
