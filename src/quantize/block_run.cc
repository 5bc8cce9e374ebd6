// Rounds the linear layers of one block in the order that the recipe asks for.
#include "quantize/block_run.h"

#include <chrono>
#include <cmath>

#include "artefact/store.h"
#include "base/context.h"
#include "base/error_place.h"
#include "base/strings.h"
#include "kernels/packed.h"
#include "kernels/transformed_weight.h"
#include "methods/activation_range.h"
#include "methods/columns/hessian.h"
#include "methods/columns/lanes.h"
#include "methods/quality.h"
#include "quantize/block_tensors.h"
#include "quantize/block_transforms.h"

namespace qualm {
namespace {

using Clock = std::chrono::steady_clock;

// One block from float to quantized. Run is called once: transforms first, then statistics and
// rounding in the order that the recipe asks for (RunInputAfterInput or RunAllInputs). Rounded
// layers replace the float ones inside the block when Replace is called.
class BlockQuantizer {
 public:
  BlockQuantizer(const BlockRun& run, DecoderBlock& block)
      : run_(run),
        block_(block),
        inputs_(block.inputs()),
        tensors_(run.checkpoint, block.index(), run.rotation),
        statistics_(run.checkpoint, block.index(), {&run.recipe}, run.calibration, run.held_out,
                    &tensors_, run.context) {}

  QuantizedBlock Run() {
    // The recipe's transforms edit the float block first.
    if (!run_.recipe.transforms.empty()) {
      const Clock::time_point start = Clock::now();
      TransformBlock(run_, block_, tensors_);
      NoteTime("transforms", start);
    }

    // Then the layers are rounded, with statistics of this or of a shared pass.
    if (run_.recipe.layer_order == Order::kSequential) {
      RunInputAfterInput();
    } else if (run_.collected != nullptr) {
      for (size_t i = 0; i < inputs_.size(); ++i) RoundReaders(i, (*run_.collected)[i]);
      Replace();
    } else {
      RunAllInputs();
    }

    std::vector<std::string> quantized;
    for (const auto& [record, layer] : result_.layers) quantized.push_back(record.name);
    result_.changed = tensors_.Changed(quantized);
    return std::move(result_);
  }

 private:
  std::string FullName(const std::string& site) const {
    return run_.checkpoint.plan().NameIn(block_.index(), site);
  }

  // Sequential layers: each input comes from the block as it is quantized so far.
  void RunInputAfterInput() {
    for (size_t i = 0; i < inputs_.size(); ++i) {
      Clock::time_point start = Clock::now();
      const InputStats stats = statistics_.CollectInput(block_, i);
      NoteTime("collect " + inputs_[i].name, start);
      RoundReaders(i, stats);
      Replace();

      start = Clock::now();
      statistics_.AdvanceInput(block_);
      NoteTime("forward " + inputs_[i].name, start);
    }
  }

  // Parallel layers: all inputs come from the float block, in one pass.
  void RunAllInputs() {
    const Clock::time_point start = Clock::now();
    std::vector<InputStats> stats = statistics_.CollectAll(block_);
    NoteTime("collect", start);
    for (size_t i = 0; i < stats.size(); ++i) {
      RoundReaders(i, stats[i]);
      stats[i] = {};  // the largest matrices of a block: not kept longer than they are read
    }
    Replace();
  }

  // Rounds the linear layers that read one input.
  void RoundReaders(size_t input, const InputStats& data) {
    const std::vector<LinearSite>& sites = inputs_[input].sites;

    // These layers have the same Gram matrix, so its factor can serve all of them.
    FactorCache factors;
    // A layer that reads its input alone (down_proj, with the widest inputs) need not keep the
    // factor.
    FactorCache* shared = sites.size() > 1 ? &factors : nullptr;
    for (const LinearSite& site : sites) {
      const LayerPlan plan = run_.recipe.PlanFor(FullName(site.name));
      if (!plan.skip) RoundLayer(input, site.name, plan, data, shared);
    }
  }

  // Rounds one layer, measures it and stores its record.
  void RoundLayer(size_t input_index, const std::string& linear, const LayerPlan& plan,
                  const InputStats& data, FactorCache* factors) {
    Clock::time_point start = Clock::now();
    const std::string name = FullName(linear);
    const Matrix& weight = tensors_.Weight(linear);

    // The rounder gets the edited weight and the statistics that it asks for.
    Matrix clipped;
    RounderInput input;
    input.layer = name;
    input.weight = weight;
    if (const WeightClip& clip = tensors_.Clip(linear); !clip.empty()) {
      clipped = clip.Apply(weight);
      input.weight = clipped;
    }

    if (plan.rounder->needs_gram()) {
      const LayerStats& stats = data.calibration;
      if (plan.rounder->needs_gram64()) {
        input.gram64 = stats.gram64;
      } else {
        input.gram = stats.gram;
      }
      input.gram_tokens = stats.tokens;
    }

    if (plan.rounder->needs_sample()) input.sample = data.calibration.sample;
    std::vector<float> largest;
    if (plan.rounder->needs_input_range()) {
      largest = AbsMax(data.calibration);
      input.input_abs_max = largest;
    }

    input.seed = run_.seed;
    input.factors = factors;
    // Rounding, then the grid of the activations, which depends on the layer's own transforms.
    RounderResult rounded =
        At([&] { return StrCat("layer ", name); },
           [&] { return plan.rounder->Round(input, plan.scheme, run_.context); });
    if (plan.activations) {
      const LayerStats& stats = data.calibration;
      rounded.layer.activations = FitLayerActivations(
          *plan.activations, rounded.layer, stats.sample, stats.min, stats.max, run_.context);
    }
    NoteTime(StrCat(plan.rounder->name(), " ", name), start);

    // Measured without the transforms of the input, since `data` has them applied already.
    start = Clock::now();
    const LayerQuality quality = Measure(input, rounded, weight, data);
    AddTransforms(input_index, linear, rounded.layer);
    LayerRecord record = RecordOf(name, rounded.layer);
    record.rounder = plan.rounder->name();
    record.quality = quality;
    record.is_transformed = tensors_.is_transformed(input_index);
    record.choices = tensors_.Choices(input_index);

    for (const std::string& note : record.quality.notes)
      run_.context.progress.Warn(StrCat(name, ": ", note));
    NoteTime("measure " + name, start);
    result_.layers.emplace_back(std::move(record), std::move(rounded.layer));
    tensors_.Forget(linear);  // the float weight is not needed any more
  }

  // The input's online operations come before the layer's, the operations that undo a shift after
  // them.
  void AddTransforms(size_t input, const std::string& linear, QuantizedLinear& layer) {
    const std::vector<OnlineTransform>& before = tensors_.Online(input);
    const std::vector<OnlineTransform>& after = tensors_.OnlineOutput(linear);
    layer.transforms.insert(layer.transforms.begin(), before.begin(), before.end());
    layer.transforms.insert(layer.transforms.end(), after.begin(), after.end());
  }

  // Errors on the weight, and on the outputs of both sets of data; then remarks.
  LayerQuality Measure(const RounderInput& input, const RounderResult& rounded,
                       const Matrix& weight, const InputStats& data) const {
    LayerQuality quality;
    const Matrix effective = EffectiveWeight(rounded.layer, run_.context);
    quality.weight_mse = WeightMse(weight, effective);

    // The relative output error on one sample, if there is one.
    auto error = [&](const LayerStats& stats) -> std::optional<MeasuredError> {
      if (stats.sample.rows() == 0) return std::nullopt;
      const double relative = RelativeOutputError(stats.sample, weight, effective, run_.context);
      if (std::isnan(relative)) return std::nullopt;  // the float layer gives 0 everywhere
      MeasuredError measured{relative, {}, stats.sample.rows()};
      if (rounded.layer.activations) {
        measured.with_activations =
            RelativeProductError(stats.sample, weight, rounded.layer, run_.context);
      }
      return measured;
    };

    quality.calibration = error(data.calibration);
    quality.held_out = error(data.held_out);
    quality.damping = rounded.damping;
    quality.damping_attempts = rounded.damping_attempts;
    quality.fell_back_to_rtn = rounded.fell_back_to_rtn;
    quality.gram_tokens = input.gram_tokens;
    quality.notes = rounded.notes;

    // Remarks about scales that were limited, and about too little data.
    if (std::string note = ScaleLimitNote(rounded.layer); !note.empty()) {
      quality.notes.push_back(std::move(note));
    }
    if (input.gram_tokens > 0 && input.gram_tokens < weight.cols()) {
      quality.notes.push_back(StrCat("fewer calibration tokens (", input.gram_tokens,
                                     ") than inputs (", weight.cols(),
                                     "): the Gram matrix is singular; use more samples"));
    }
    return quality;
  }

  // Makes the block run on the layers that were rounded since the last call.
  void Replace() {
    for (; replaced_ < result_.layers.size(); ++replaced_) {
      const auto& [record, layer] = result_.layers[replaced_];
      const std::string inside = record.name.substr(FullName("").size());
      block_.Linear(inside).weight = MakePackedWeight(layer, run_.context);
    }
  }

  void NoteTime(std::string stage, Clock::time_point since) {
    result_.seconds.emplace_back(std::move(stage),
                                 std::chrono::duration<double>(Clock::now() - since).count());
  }

  const BlockRun& run_;
  DecoderBlock& block_;
  const std::vector<SiteInput>& inputs_;
  BlockTensors tensors_;
  BlockStatistics statistics_;
  QuantizedBlock result_;
  size_t replaced_ = 0;
};

}  // namespace

QuantizedBlock QuantizeBlock(const BlockRun& run, DecoderBlock& block) {
  return BlockQuantizer(run, block).Run();
}

}  // namespace qualm
