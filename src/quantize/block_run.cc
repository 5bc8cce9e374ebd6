#include "quantize/block_run.h"

#include <chrono>
#include <cmath>

#include "artefact/store.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "calibrate/layer_stats.h"
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

// Rows of the inputs that a layer's output error is measured on, at most; the table gives the
// number.
constexpr size_t kErrorRows = 2048;

using Clock = std::chrono::steady_clock;

// What one group of linear layers is quantized with.
struct GroupData {
  LayerStats calibration, held_out;
};

class BlockQuantizer {
 public:
  BlockQuantizer(const BlockRun& run, DecoderBlock& block)
      : run_(run),
        block_(block),
        family_(run.checkpoint.family()),
        tensors_(run.checkpoint, block.index(), run.rotation) {}

  QuantizedBlock Run() {
    if (!run_.recipe.transforms.empty()) {
      const Clock::time_point start = Clock::now();
      TransformBlock(run_, block_, tensors_);
      NoteTime("transforms", start);
    }
    if (run_.recipe.layer_order == Order::kSequential) {
      for (size_t g = 0; g < family_.groups.size(); ++g) {
        RoundGroup(g, CollectGroup(g));
        Replace();
        AdvanceStage(g);
      }
    } else {
      std::vector<GroupData> data = CollectAll();
      for (size_t g = 0; g < data.size(); ++g) {
        RoundGroup(g, data[g]);
        data[g] = {};
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

  CollectorOptions OptionsOf(const LinearGroup& group) const {
    CollectorOptions options;
    bool any = false;
    for (const LinearSpec& linear : group.linears) {
      LayerPlan plan = PlanOf(linear);
      if (plan.skip) continue;
      any = true;
      options.gram64 |= plan.rounder->needs_gram64();
      options.gram |= plan.rounder->needs_gram() && !plan.rounder->needs_gram64();
      options.channel_statistics |= plan.rounder->needs_input_range() ||
                                    (plan.activations && !plan.activations->scheme.dynamic);
    }
    options.sample_rows = any ? kErrorRows : 0;
    return options;
  }

  Collector MakeCollector(size_t group, const HiddenStates& states, bool only_sample) const {
    CollectorOptions options = OptionsOf(family_.groups[group]);
    if (only_sample) {
      const size_t rows = options.sample_rows;
      options = CollectorOptions{};
      options.sample_rows = rows;
    }
    options.place = StrCat("inputs of ", LinearName(family_, block_.index(), ""),
                           family_.groups[group].linears[0].name);
    return Collector(SizeOf(family_.groups[group].in, run_.checkpoint.config()), states.tokens(),
                     options);
  }

  // Calls body(states, only_sample, field of GroupData) for the sets of hidden states there are.
  template <typename Body>
  void ForStates(const Body& body) const {
    auto one = [&](HiddenStates* states, bool only_sample, LayerStats GroupData::*field) {
      if (states != nullptr && states->tokens() > 0) body(*states, only_sample, field);
    };
    one(run_.calibration, /*only_sample=*/false, &GroupData::calibration);
    one(run_.held_out, /*only_sample=*/true, &GroupData::held_out);
  }

  // Statistics of the group that the hidden states stand at.
  GroupData CollectGroup(size_t group) {
    Clock::time_point start = Clock::now();
    GroupData data;
    ForStates([&](HiddenStates& states, bool only_sample, LayerStats GroupData::*field) {
      QUALM_CHECK(states.stage() == group);
      Collector collector = MakeCollector(group, states, only_sample);
      states.ForGroupInput(block_, run_.pool,
                           [&](Span2D<const float> input) { AddTo(collector, group, input); });
      data.*field = collector.Take();
    });
    NoteTime("collect " + family_.groups[group].name, start);
    return data;
  }

  // Statistics of all groups from one pass over the block as it is.
  std::vector<GroupData> CollectAll() {
    Clock::time_point start = Clock::now();
    std::vector<GroupData> data(family_.groups.size());
    ForStates([&](HiddenStates& states, bool only_sample, LayerStats GroupData::*field) {
      std::vector<Collector> collectors;
      for (size_t g = 0; g < data.size(); ++g) {
        collectors.push_back(MakeCollector(g, states, only_sample));
      }
      states.Observe(block_, run_.pool, [&](size_t group, Span2D<const float> input) {
        AddTo(collectors[group], group, input);
      });
      for (size_t g = 0; g < data.size(); ++g) data[g].*field = collectors[g].Take();
    });
    NoteTime("collect", start);
    return data;
  }

  // Layers see their inputs behind the group's online operations.
  void AddTo(Collector& collector, size_t group, Span2D<const float> input) const {
    if (tensors_.Online(group).empty()) {
      collector.Add(input, run_.pool);
    } else {
      collector.Add(TransformInputs(tensors_.Online(group), input, run_.pool), run_.pool);
    }
  }

  void AdvanceStage(size_t group) {
    Clock::time_point start = Clock::now();
    ForStates([&](HiddenStates& states, bool, LayerStats GroupData::*) {
      states.AdvanceStage(block_, run_.pool);
    });
    NoteTime("forward " + family_.groups[group].name, start);
  }

  void RoundGroup(size_t group, const GroupData& data) {
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
                  const GroupData& data, FactorCache* factors) {
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
      input.gram = stats.gram;
      if (plan.rounder->needs_gram64()) input.gram64 = stats.gram64;
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
                       const Matrix& weight, const GroupData& data) const {
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
  QuantizedBlock result_;
  size_t replaced_ = 0;
};

}  // namespace

QuantizedBlock QuantizeBlock(const BlockRun& run, DecoderBlock& block) {
  return BlockQuantizer(run, block).Run();
}

}  // namespace qualm
