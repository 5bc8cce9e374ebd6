// Quantizes a single weight matrix with a recipe, as `qualm layer` does: a matrix and optionally
// inputs come in, the layer and its error measures go out. LayerRun follows the steps that a layer
// takes inside a model; the report compares the result with the float matrix.
#include "quantize/layer.h"

#include <chrono>
#include <cmath>
#include <system_error>

#include "base/error_place.h"
#include "base/strings.h"
#include "io/npy.h"
#include "kernels/packed.h"
#include "kernels/transformed_weight.h"
#include "methods/activation_range.h"
#include "methods/columns/lanes.h"
#include "methods/quality.h"
#include "quantize/block_tensors.h"
#include "tensor/gram.h"

namespace qualm {
namespace {

constexpr std::string_view kLayerName = "layer";
constexpr size_t kSampleRows = 2048;  // rows that transforms search with

void RequireFinite(const Matrix& matrix) {
  for (size_t r = 0; r < matrix.rows(); ++r) {
    for (size_t c = 0; c < matrix.cols(); ++c) {
      if (std::isfinite(matrix(r, c))) continue;
      ThrowExpected("finite values", StrCat(matrix(r, c)), StrCat("at row ", r, ", column ", c));
    }
  }
}

void RequireFit(const Matrix& weight, const Matrix& inputs, std::string_view weight_place,
                std::string_view inputs_place) {
  if (inputs.cols() != weight.cols()) {
    ThrowBadInput(inputs_place,
                  StrCat(weight.cols(), " columns, the inputs of ", weight_place, " [",
                         weight.rows(), ", ", weight.cols(), "]"),
                  StrCat(inputs.cols()), "rows are tokens");
  }
  if (inputs.rows() == 0) ThrowBadInput(inputs_place, "at least one row", "none");
}

// ‖W − Ŵ‖_F / ‖W‖_F.
double RelativeError(const Matrix& weight, const Matrix& rounded) {
  double error = 0, norm = 0;
  for (size_t r = 0; r < weight.rows(); ++r) {
    for (size_t c = 0; c < weight.cols(); ++c) {
      const double w = weight(r, c), difference = w - double{rounded(r, c)};
      error += difference * difference;
      norm += w * w;
    }
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

// The way of one layer through a recipe: transforms, statistics, rounding. Run is called once. No
// layer precedes it, so every edit of its inputs stays online.
class LayerRun {
 public:
  LayerRun(std::string_view name, Matrix weight, const Matrix* inputs, const Recipe& recipe,
           uint64_t seed, const Context& context)
      : name_(name),
        weight_(std::move(weight)),
        inputs_(inputs),
        recipe_(recipe),
        plan_(recipe.PlanFor(kLayerName)),
        seed_(seed),
        context_(context) {}

  RounderResult Run() {
    Transform();

    RounderInput input;
    input.layer = name_;
    input.weight = weight_;
    input.seed = seed_;
    Matrix clipped;
    // Clipped weights are only what the rounder sees.
    if (!clip_.empty()) {
      clipped = clip_.Apply(weight_);
      input.weight = clipped;
    }

    // Exactly the statistics that the rounder asks for, collected on the edited inputs.
    Matrix gram;
    std::vector<double> gram64;
    const size_t in = weight_.cols();
    if (plan_.rounder->needs_gram64()) {
      gram64.assign(in * in, 0);
      AccumulateGram64(LayerInputs(), {gram64.data(), in, in}, context_);
      input.gram64 = gram64;
    } else if (plan_.rounder->needs_gram()) {
      gram = Matrix(in, in);
      AccumulateGram(LayerInputs(), gram, context_);
      input.gram = gram;
    }
    if (plan_.rounder->needs_gram()) input.gram_tokens = inputs_->rows();

    // The magnitudes must live as long as the rounder looks at them.
    LayerStats stats;
    std::vector<float> largest;
    if (plan_.rounder->needs_sample() || plan_.rounder->needs_input_range()) {
      stats = Collect();
      largest = AbsMax(stats);
      input.sample = stats.sample;
      input.input_abs_max = largest;
    }

    RounderResult result = At([&] { return StrCat("layer ", name_); },
                              [&] { return plan_.rounder->Round(input, plan_.scheme, context_); });
    if (plan_.activations) {
      const Span2D<const float> seen = inputs_ == nullptr ? Span2D<const float>() : LayerInputs();
      result.layer.activations =
          FitLayerActivations(*plan_.activations, result.layer, seen, {}, {}, context_);
    }

    // Online edits come before the transforms that the rounder added, output edits after them.
    result.layer.transforms.insert(result.layer.transforms.begin(), online_.begin(), online_.end());
    result.layer.transforms.insert(result.layer.transforms.end(), outputs_.begin(), outputs_.end());
    return result;
  }

  std::vector<std::string> choices;

 private:
  // The inputs after the edits so far.
  Span2D<const float> LayerInputs() const {
    return moved_.rows() > 0 ? moved_.view() : inputs_->view();
  }

  // Transforms in the recipe's order; each sees the statistics after the edits of those before it.
  void Transform() {
    LayerStats stats;
    for (const auto& transform : recipe_.transforms) {
      if (transform->rotation() != nullptr) {
        Rotate(transform->rotation()->seed);
        continue;
      }
      stats = Collect();
      const InputEdit edit = transform->Choose(View(stats), context_);
      if (!edit.choice.empty()) choices.push_back(StrCat(transform->name(), ": ", edit.choice));
      Apply(edit);
    }
    if (stats.tokens == 0) return;  // no transform has looked at the inputs

    // Clips are chosen last, for the weight and inputs as all edits left them.
    stats = Collect();
    for (const auto& transform : recipe_.transforms) {
      std::vector<WeightClip> clips = transform->Clip(View(stats), context_);
      if (!clips.empty() && !clips[0].empty()) clip_ = std::move(clips[0]);
    }
  }

  LayerStats Collect() const {
    Collector collector(weight_.cols(), inputs_->rows(),
                        {.channel_statistics = true, .sample_rows = kSampleRows});
    collector.Add(LayerInputs(), context_);
    return collector.Take();
  }

  InputReaders View(const LayerStats& stats) const {
    TransformLinear linear;
    linear.name = name_;
    linear.weight = weight_;
    linear.scheme = &plan_.scheme;
    if (plan_.activations) linear.activations = &*plan_.activations;
    InputReaders readers;
    readers.linears.push_back(std::move(linear));
    readers.stats = &stats;
    readers.can_fold = true;  // as far as methods ask: a neighbour could take the scale
    return readers;
  }

  // Rotates the inputs online, since no earlier layer can take the rotation.
  void Rotate(uint64_t seed) {
    OnlineTransform rotation;
    rotation.kind = OnlineTransform::Kind::kHadamard;
    rotation.seed = seed;
    rotation.dims = {static_cast<uint32_t>(LargestHadamardBlock(weight_.cols()))};
    RotateRows(*RotationOf(rotation, weight_.cols()), /*transposed=*/false, weight_, context_);
    online_.push_back(std::move(rotation));
    if (inputs_ != nullptr) moved_ = TransformInputs(online_, *inputs_, context_);
  }

  // Edits that a model would fold into the layer before stay in front of this one.
  void Apply(const InputEdit& edit) {
    if (!edit.shift.empty()) {
      online_.push_back(MakeInputShift(edit.shift));
      outputs_.push_back(MakeOutputShift(weight_, edit.shift));
    }
    if (!edit.scale.empty()) {
      online_.push_back(MakeInputScale(edit.scale));
      weight_ = ScaleColumns(weight_, edit.scale, context_);
    }
    moved_ = TransformInputs(online_, *inputs_, context_);
  }

  std::string_view name_;
  Matrix weight_;  // as edited
  const Matrix* inputs_;
  const Recipe& recipe_;
  LayerPlan plan_;
  uint64_t seed_;
  const Context& context_;
  Matrix moved_;  // the inputs after the edits; no rows: as given
  WeightClip clip_;
  std::vector<OnlineTransform> online_, outputs_;  // in front of the product and after it
};

// The product of all scales that inputs are divided by.
std::vector<float> SmoothFactors(const QuantizedLinear& layer) {
  std::vector<float> smooth(layer.in_features, 1.0f);
  for (const OnlineTransform& transform : layer.transforms) {
    if (transform.kind != OnlineTransform::Kind::kScale ||
        transform.side != OnlineTransform::Side::kInput) {
      continue;
    }
    for (size_t c = 0; c < smooth.size(); ++c) smooth[c] *= transform.factors[c];
  }
  return smooth;
}

// 1 where a weight is kept outside the grid, [out, in].
std::vector<uint8_t> OutlierMask(const QuantizedLinear& layer) {
  std::vector<uint8_t> mask(layer.out_features * layer.in_features, 0);
  if (!layer.outliers) return mask;
  for (size_t r = 0; r < layer.out_features; ++r) {
    for (uint32_t i = layer.outliers->row_start[r]; i < layer.outliers->row_start[r + 1]; ++i) {
      mask[r * layer.in_features + layer.outliers->column[i]] = 1;
    }
  }
  return mask;
}

}  // namespace

LayerReport QuantizeLayer(const Matrix& weight, const Matrix* inputs, const Recipe& recipe,
                          std::string_view weight_place, std::string_view inputs_place,
                          uint64_t seed, const Context& context) {
  // Arguments that cannot be used are refused before any work.
  if (weight.rows() == 0 || weight.cols() == 0) {
    ThrowBadInput(weight_place, "a matrix [out, in]",
                  StrCat("[", weight.rows(), ", ", weight.cols(), "]"));
  }
  At(weight_place, [&] { RequireFinite(weight); });
  if (inputs != nullptr) {
    RequireFit(weight, *inputs, weight_place, inputs_place);
    At(inputs_place, [&] { RequireFinite(*inputs); });
  }
  if (recipe.PlanFor(kLayerName).skip) {
    ThrowBadInput(StrCat("recipe ", recipe.name), "a recipe that quantizes this layer",
                  StrCat("a skip pattern that matches '", kLayerName, "'"));
  }
  if (recipe.allocation) {
    ThrowBadInput(StrCat("recipe ", recipe.name), "no allocate key for one layer by itself", "one",
                  "bits are shared out among the layers of a model");
  }
  if (recipe.NeedsCalibration() && inputs == nullptr) {
    ThrowBadInput("--inputs", StrCat("a .npy file: recipe ", recipe.name, " reads data"), "none");
  }

  // Only the work itself is timed, not the measurements after it.
  LayerReport report;
  LayerRun run(weight_place, Matrix::CopyOf(weight), inputs, recipe, seed, context);
  const auto start = std::chrono::steady_clock::now();
  RounderResult result = run.Run();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  report.choices = std::move(run.choices);
  report.layer = std::move(result.layer);
  report.rounded = EffectiveWeight(report.layer, context);

  // Errors on the weight and remarks, which need no inputs.
  report.rounder = recipe.PlanFor(kLayerName).rounder->name();
  report.rel_weight_error = RelativeError(weight, report.rounded);
  report.damping = result.damping;
  report.damping_attempts = result.damping_attempts;
  report.fell_back_to_rtn = result.fell_back_to_rtn;
  report.notes = std::move(result.notes);
  if (std::string note = ScaleLimitNote(report.layer); !note.empty()) {
    report.notes.push_back(std::move(note));
  }

  // Errors on the outputs.
  if (inputs == nullptr) return report;
  report.tokens = inputs->rows();
  const double relative = RelativeOutputError(*inputs, weight, report.rounded, context);
  if (!std::isnan(relative)) report.rel_output_error = relative;
  if (report.layer.activations) {
    report.rel_product_error = RelativeProductError(*inputs, weight, report.layer, context);
  }
  if (recipe.PlanFor(kLayerName).rounder->needs_gram() && inputs->rows() < weight.cols()) {
    report.notes.push_back(StrCat("fewer tokens (", inputs->rows(), ") than inputs (",
                                  weight.cols(), "): the Gram matrix is singular"));
  }
  return report;
}

void WriteLayerFiles(const std::filesystem::path& folder, const LayerReport& report,
                     const Matrix* inputs, const Context& context) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) ThrowFailed(folder.string(), StrCat("cannot make the folder: ", error.message()));
  // These two are not written for every layer, so earlier ones would be taken for this one's.
  for (const char* name : {"g_idx.npy", "Y.npy"}) std::filesystem::remove(folder / name, error);

  const QuantizedLinear& layer = report.layer;
  const size_t out = layer.out_features, groups = layer.group_count();
  Matrix scales(out, groups), zeros(out, groups);
  for (size_t r = 0; r < out; ++r) {
    for (size_t group = 0; group < groups; ++group) {
      scales(r, group) = layer.ScaleAt(r, group);
      zeros(r, group) = layer.ZeroAt(r, group);
    }
  }
  WriteNpy(folder / "scales.npy", scales);
  WriteNpy(folder / "zeros.npy", zeros);
  WriteNpyBytes(folder / "codes.npy", {layer.codes.data(), out, layer.in_features});
  WriteNpyVector(folder / "smooth.npy", SmoothFactors(layer));

  const std::vector<uint8_t> mask = OutlierMask(layer);
  WriteNpyBytes(folder / "outlier_mask.npy", {mask.data(), out, layer.in_features});
  if (!layer.g_idx.empty()) {
    WriteNpyVector(folder / "g_idx.npy",
                   std::vector<float>(layer.g_idx.begin(), layer.g_idx.end()));
  }

  if (inputs == nullptr) return;
  Matrix y = Matrix::Uninitialized(inputs->rows(), out);
  MakePackedWeight(layer, context)->Multiply(*inputs, y, context);
  WriteNpy(folder / "Y.npy", y);
}

}  // namespace qualm
