#include "quantize/block_run.h"

#include <chrono>
#include <cmath>

#include "artefact/store.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "kernels/packed.h"
#include "kernels/transformed_weight.h"
#include "quantize/activation_range.h"
#include "quantize/block_tensors.h"
#include "quantize/block_transforms.h"
#include "quantize/hessian.h"
#include "quantize/lanes.h"
#include "quantize/quality.h"

namespace qualm {
namespace {

using Clock = std::chrono::steady_clock;

class BlockQuantizer {
 public:
  BlockQuantizer(const BlockRun& run, DecoderBlock& block)
      : run_(run),
        block_(block),
        family_(run.checkpoint.family()),
        tensors_(run.checkpoint, block.index(), run.rotation),
        statistics_(run.checkpoint, block.index(), {&run.recipe}, run.calibration, run.held_out,
                    &tensors_, run.pool) {}

  QuantizedBlock Run() {
    if (!run_.recipe.transforms.empty()) {
      const Clock::time_point start = Clock::now();
      TransformBlock(run_, block_, tensors_);
      NoteTime("transforms", start);
    }
    if (run_.recipe.layer_order == Order::kSequential) {
      for (size_t g = 0; g < family_.groups.size(); ++g) {
        Clock::time_point start = Clock::now();
        const GroupStats stats = statistics_.CollectGroup(block_, g);
        NoteTime("collect " + family_.groups[g].name, start);
        RoundGroup(g, stats);
        Replace();
        start = Clock::now();
        statistics_.AdvanceStage(block_);
        NoteTime("forward " + family_.groups[g].name, start);
      }
    } else if (run_.collected != nullptr) {
      for (size_t g = 0; g < run_.collected->size(); ++g) RoundGroup(g, (*run_.collected)[g]);
      Replace();
    } else {
      const Clock::time_point start = Clock::now();
      std::vector<GroupStats> stats = statistics_.CollectAll(block_);
      NoteTime("collect", start);
      for (size_t g = 0; g < stats.size(); ++g) {
        RoundGroup(g, stats[g]);
        stats[g] = {};
      }
      Replace();
    }
    std::vector<std::string> quantized;
    for (const auto& [record, layer] : result_.layers) quantized.push_back(record.name);
    result_.changed = tensors_.Changed(quantized);
    return std::move(result_);
  }

 private:
  LayerPlan PlanOf(const LinearSpec& linear) const {
    return run_.recipe.PlanFor(LinearName(family_, block_.index(), linear.name));
  }

  void RoundGroup(size_t group, const GroupStats& data) {
    const std::vector<LinearSpec>& linears = family_.groups[group].linears;
    FactorCache factors;
    // A layer by itself (down_proj, with the widest inputs) need not keep its factor.
    FactorCache* shared = linears.size() > 1 ? &factors : nullptr;
    for (const LinearSpec& linear : linears) {
      LayerPlan plan = PlanOf(linear);
      if (!plan.skip) RoundLayer(group, linear.name, plan, data, shared);
    }
  }

  void RoundLayer(size_t group, const std::string& linear, const LayerPlan& plan,
                  const GroupStats& data, FactorCache* factors) {
    Clock::time_point start = Clock::now();
    const std::string name = LinearName(family_, block_.index(), linear);
    const Matrix& weight = tensors_.Weight(linear);
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
    RounderResult rounded = plan.rounder->Round(input, plan.scheme, run_.pool);
    if (plan.activations) {
      const LayerStats& stats = data.calibration;
      rounded.layer.activations = FitLayerActivations(
          *plan.activations, rounded.layer, stats.sample, stats.min, stats.max, run_.pool);
    }
    NoteTime(StrCat(plan.rounder->name(), " ", name), start);

    start = Clock::now();
    const LayerQuality quality = Measure(input, rounded, weight, data);
    AddGroupTransforms(group, linear, rounded.layer);
    LayerRecord record = RecordOf(name, rounded.layer);
    record.rounder = plan.rounder->name();
    record.quality = quality;
    record.is_transformed = tensors_.is_transformed(group);
    record.choices = tensors_.Choices(group);
    for (const std::string& note : record.quality.notes)
      run_.progress.Warn(StrCat(name, ": ", note));
    NoteTime("measure " + name, start);
    result_.layers.emplace_back(std::move(record), std::move(rounded.layer));
    tensors_.Forget(linear);
  }

  // The group's online operations come before the layer's own, what undoes a shift after them.
  void AddGroupTransforms(size_t group, const std::string& linear, QuantizedLinear& layer) {
    const std::vector<OnlineTransform>& before = tensors_.Online(group);
    const std::vector<OnlineTransform>& after = tensors_.OnlineOutput(linear);
    layer.transforms.insert(layer.transforms.begin(), before.begin(), before.end());
    layer.transforms.insert(layer.transforms.end(), after.begin(), after.end());
  }

  LayerQuality Measure(const RounderInput& input, const RounderResult& rounded,
                       const Matrix& weight, const GroupStats& data) const {
    LayerQuality quality;
    const Matrix effective = EffectiveWeight(rounded.layer, run_.pool);
    quality.weight_mse = WeightMse(weight, effective);
    auto error = [&](const LayerStats& stats) -> std::optional<MeasuredError> {
      if (stats.sample.rows() == 0) return std::nullopt;
      const double relative = RelativeOutputError(stats.sample, weight, effective, run_.pool);
      if (std::isnan(relative)) return std::nullopt;  // the float layer gives 0 for all of them
      MeasuredError measured{relative, {}, stats.sample.rows()};
      if (rounded.layer.activations) {
        measured.with_activations =
            RelativeProductError(stats.sample, weight, rounded.layer, run_.pool);
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

  // The block runs on what was rounded since the last call.
  void Replace() {
    for (; replaced_ < result_.layers.size(); ++replaced_) {
      const auto& [record, layer] = result_.layers[replaced_];
      std::string inside = record.name.substr(LinearName(family_, block_.index(), "").size());
      block_.Linear(inside).weight = MakePackedWeight(layer, run_.pool);
    }
  }

  void NoteTime(std::string stage, Clock::time_point since) {
    result_.seconds.emplace_back(std::move(stage),
                                 std::chrono::duration<double>(Clock::now() - since).count());
  }

  const BlockRun& run_;
  DecoderBlock& block_;
  const Family& family_;
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
