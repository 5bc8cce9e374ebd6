#include "quantize/block_run.h"

#include <chrono>

#include "artefact/store.h"
#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "calibrate/layer_stats.h"
#include "kernels/packed.h"
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
      : run_(run), block_(block), family_(run.checkpoint.family()) {}

  QuantizedBlock Run() {
    size_t groups = family_.groups.size();
    if (run_.recipe.layer_order == Order::kSequential) {
      for (size_t g = 0; g < groups; ++g) {
        std::vector<GroupData> data = Collect(g, g + 1);
        RoundGroup(g, data[0]);
        Replace();
      }
    } else {
      std::vector<GroupData> data = Collect(0, groups);
      for (size_t g = 0; g < groups; ++g) {
        RoundGroup(g, data[g]);
        data[g] = {};
      }
      Replace();
    }
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
    }
    options.sample_rows = any ? kErrorRows : 0;
    return options;
  }

  // Statistics of groups [first, last), from one pass over each set of hidden states.
  std::vector<GroupData> Collect(size_t first, size_t last) {
    Clock::time_point start = Clock::now();
    std::vector<GroupData> data(last - first);
    auto pass = [&](const HiddenStates* states, bool only_sample, LayerStats GroupData::*field) {
      if (states == nullptr || states->tokens() == 0) return;
      std::vector<Collector> collectors;
      for (size_t g = first; g < last; ++g) {
        CollectorOptions options = OptionsOf(family_.groups[g]);
        if (only_sample) options = {.sample_rows = options.sample_rows};
        collectors.emplace_back(SizeOf(family_.groups[g].in, run_.checkpoint.config()),
                                states->tokens(), options);
      }
      states->Observe(block_, run_.checkpoint.config(), run_.pool,
                      [&](size_t group, Span2D<const float> input) {
                        if (group >= first) collectors[group - first].Add(input, run_.pool);
                        return group + 1 < last;
                      });
      for (size_t g = first; g < last; ++g) data[g - first].*field = collectors[g - first].Take();
    };
    pass(run_.calibration, /*only_sample=*/false, &GroupData::calibration);
    pass(run_.held_out, /*only_sample=*/true, &GroupData::held_out);
    NoteTime("collect " + family_.groups[first].name, start);
    return data;
  }

  void RoundGroup(size_t group, const GroupData& data) {
    for (const LinearSpec& linear : family_.groups[group].linears) {
      LayerPlan plan = PlanOf(linear);
      if (!plan.skip) RoundLayer(LinearName(family_, block_.index(), linear.name), plan, data);
    }
  }

  void RoundLayer(const std::string& name, const LayerPlan& plan, const GroupData& data) {
    Clock::time_point start = Clock::now();
    Matrix weight = ToMatrix(run_.checkpoint.Weight(name));
    RounderInput input;
    input.layer = name;
    input.weight = weight;
    if (plan.rounder->needs_gram()) {
      const LayerStats& stats = data.calibration;
      input.gram = stats.gram;
      input.gram64 = stats.gram64;
      input.gram_tokens = stats.tokens;
    }
    input.seed = run_.seed;
    RounderResult rounded = plan.rounder->Round(input, plan.scheme, run_.pool);
    NoteTime(StrCat(plan.rounder->name(), " ", name), start);

    start = Clock::now();
    LayerRecord record = RecordOf(name, rounded.layer);
    record.rounder = plan.rounder->name();
    record.quality = Measure(input, rounded, weight, data);
    for (const std::string& note : record.quality.notes) run_.progress.Warn(name + ": " + note);
    NoteTime("measure " + name, start);
    result_.layers.emplace_back(std::move(record), std::move(rounded.layer));
  }

  LayerQuality Measure(const RounderInput& input, const RounderResult& rounded,
                       const Matrix& weight, const GroupData& data) const {
    LayerQuality quality;
    Matrix dequantized = rounded.layer.Dequantize();
    quality.weight_mse = WeightMse(weight, dequantized);
    auto error = [&](const LayerStats& stats) -> std::optional<MeasuredError> {
      if (stats.sample.rows() == 0) return std::nullopt;
      return MeasuredError{RelativeOutputError(stats.sample, weight, dequantized, run_.pool),
                           stats.sample.rows()};
    };
    quality.calibration = error(data.calibration);
    quality.held_out = error(data.held_out);
    quality.damping = rounded.damping;
    quality.damping_attempts = rounded.damping_attempts;
    quality.fell_back_to_rtn = rounded.fell_back_to_rtn;
    quality.gram_tokens = input.gram_tokens;
    quality.notes = rounded.notes;
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
  QuantizedBlock result_;
  size_t replaced_ = 0;
};

}  // namespace

QuantizedBlock QuantizeBlock(const BlockRun& run, DecoderBlock& block) {
  return BlockQuantizer(run, block).Run();
}

}  // namespace qualm
