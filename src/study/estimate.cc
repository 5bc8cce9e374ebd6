// Estimates seconds, memory and disk of each stage from the model's shape, the number of tokens and
// this machine's speed. The factors are rough; finished stages correct the times.
#include "study/estimate.h"

#include <algorithm>
#include <map>

#include "evaluate/protocol.h"
#include "model/block_cost.h"
#include "model/model_plan.h"
#include "study/stage_inputs.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

// The cost of a row is not known before the row is read.
constexpr double kTokensPerRow = 300, kRowsOfWholeTask = 1500, kWindowsOfWholeText = 150;

// What the estimates need of a model.
struct Shape {
  double layer_weights = 0;  // of all blocks' linear layers
  double gram_flops = 0;     // for each token
  double round_flops = 0;
  double block_bytes = 0, hidden = 0, head_weights = 0, context = 0;
};

// Sums over all blocks; a run holds one block at a time, so its bytes are those of the largest.
Shape ShapeOf(const ModelPlan& plan) {
  const TokenCounts counts = CountsOf(plan);
  Shape shape;
  shape.layer_weights = counts.linear_weights;
  shape.gram_flops = counts.input_squares;

  // One factor for each input, and column updates for each layer that reads it.
  for (const BlockPlan& block : plan.blocks) {
    for (const SiteInput& input : SiteInputs(block)) {
      shape.round_flops += FactorOps(input.width);
      for (const LinearSite& site : input.sites) {
        shape.round_flops += ColumnUpdateOps(site.out, site.in);
      }
    }
    const double block_bytes = CountsOf(block).linear_weights * sizeof(float);
    shape.block_bytes = std::max(shape.block_bytes, block_bytes);
  }

  shape.hidden = static_cast<double>(plan.hidden_size);
  shape.head_weights = static_cast<double>(plan.head.out) * static_cast<double>(plan.head.in);
  shape.context = static_cast<double>(plan.context);
  return shape;
}

// Sampling text costs little; only self-generated text runs the model.
void EstimateCalibration(const CalibrationSpec& set, const Shape& shape, double flops,
                         Stage& stage) {
  const double tokens = static_cast<double>(set.sampler.samples * set.sampler.length);
  const bool runs_model = set.kind == CalibrationKind::kSelfGenerated;
  if (flops > 0) {
    stage.seconds = tokens * 1e-6;
    // Generation reads all weights for every token, which is far slower than large products.
    if (runs_model)
      stage.seconds += tokens * 20 * (shape.layer_weights + shape.head_weights) / flops;
  }

  stage.memory_bytes = static_cast<uint64_t>(
      1e8 + tokens * 16 + (runs_model ? 4 * (shape.layer_weights + shape.head_weights) : 0));
  stage.disk_bytes = static_cast<uint64_t>(tokens * 6);
}

// Three passes over the tokens and the rounding; hidden states are held for all tokens.
void EstimateQuantize(double tokens, const Shape& shape, double flops, Stage& stage) {
  if (flops > 0) {
    stage.seconds =
        (tokens * (3 * 2 * shape.layer_weights + shape.gram_flops) + 1.5 * shape.round_flops) /
        flops;
  }
  stage.memory_bytes =
      static_cast<uint64_t>(1e8 + 2 * tokens * shape.hidden * 4 + 4 * shape.block_bytes);
  stage.disk_bytes =
      static_cast<uint64_t>(shape.layer_weights * 0.75 + shape.head_weights * 4 + 1e5);
}

double TokensOf(const TestSpec& test, const Shape& shape) {
  // Tasks by rows, texts by windows.
  const double limit = static_cast<double>(test.limit);
  if (test.is_task()) return (test.limit == 0 ? kRowsOfWholeTask : limit) * kTokensPerRow;

  const PerplexityProtocol& protocol = FindProtocol(test.protocol);
  const double window = test.seqlen != 0
                            ? static_cast<double>(test.seqlen)
                            : std::min(static_cast<double>(protocol.default_window), shape.context);
  return (test.limit == 0 ? kWindowsOfWholeText : limit) * window;
}

// A comparison with a reference on text runs both models; on tasks the reference has its own stage.
void EstimateEvaluate(const TestSpec& test, bool has_reference, const Shape& shape, double flops,
                      Stage& stage) {
  const double models = has_reference && !test.is_task() ? 2 : 1;
  const double weights = shape.layer_weights + shape.head_weights;
  if (flops > 0) stage.seconds = 2 * models * TokensOf(test, shape) * weights / flops;
  stage.memory_bytes = static_cast<uint64_t>(2e8 + models * 4 * weights);
  stage.disk_bytes = static_cast<uint64_t>(2e6);
}

}  // namespace

void EstimateStages(StudyPlan& plan, double flops) {
  // Calibration stages come before the stages that use their tokens.
  std::map<std::string, Shape> shapes;
  std::map<std::string, double> tokens;  // of calibration stages
  for (Stage& stage : plan.stages) {
    // Reading a config once per model is enough.
    const std::string model = stage.inputs["model"];
    if (!shapes.contains(model)) shapes[model] = ShapeOf(ReadModelPlan(model));
    const Shape& shape = shapes[model];

    // Quantization needs the tokens of its calibration stage.
    switch (stage.kind) {
      case StageKind::kCalibrate: {
        const CalibrationSpec set = CalibrationFromInputs(stage.inputs, stage.label);
        tokens[stage.key] =
            static_cast<double>((set.sampler.samples + set.sampler.held_out) * set.sampler.length);
        EstimateCalibration(set, shape, flops, stage);
        break;
      }
      case StageKind::kQuantize:
        EstimateQuantize(stage.needs.empty() ? 0 : tokens[stage.needs[0]], shape, flops, stage);
        break;
      case StageKind::kEvaluate:
        EstimateEvaluate(TestFromInputs(stage.inputs, stage.label), !stage.needs.empty(), shape,
                         flops, stage);
        break;
      case StageKind::kMeasure: {
        const double all =
            static_cast<double>(plan.spec.efficiency.prompt + 10 * plan.spec.efficiency.gen) *
            static_cast<double>(plan.spec.efficiency.repetitions);
        if (flops > 0) stage.seconds = 4 * all * (shape.layer_weights + shape.head_weights) / flops;
        stage.memory_bytes =
            static_cast<uint64_t>(1e8 + 4 * (shape.layer_weights + shape.head_weights));
        break;
      }
    }
  }
}

void ScaleByHistory(StudyPlan& plan, const WorkFolder& work) {
  // Measured and estimated seconds of the finished stages of one kind.
  struct Sums {
    double measured = 0, estimated = 0;
    size_t n = 0;
  };

  std::map<StageKind, Sums> history;
  for (const Stage& stage : plan.stages) {
    const std::optional<StageRecord> record = work.ReadRecord(stage.key, /*with_result=*/false);
    if (!record || !record->is_done() || stage.seconds <= 0) continue;
    Sums& sums = history[stage.kind];
    sums.measured += record->seconds;
    sums.estimated += stage.seconds;
    ++sums.n;
  }

  // Fewer than three say too little about a kind.
  for (Stage& stage : plan.stages) {
    const Sums& sums = history[stage.kind];
    if (sums.n >= 3) stage.seconds *= sums.measured / sums.estimated;
  }
}

}  // namespace qualm
