// What stages take in time, memory and disk, from the shape of the model and the number of tokens.
// The estimates are rough on purpose: they decide what runs next to what, and show whether a study
// takes minutes or days. History corrects the times.
#include "study/estimate.h"

#include <algorithm>
#include <map>

#include "evaluate/protocol.h"
#include "model/block_cost.h"
#include "model/model_plan.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

// Rows and texts are not read for an estimate, so these typical sizes replace theirs.
constexpr double kTokensPerRow = 300, kRowsOfWholeTask = 1500, kWindowsOfWholeText = 150;

// What the estimates need to know of a model.
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
void EstimateCalibration(const CalibrateInputs& inputs, const Shape& shape, double flops,
                         Stage& stage) {
  const double tokens = static_cast<double>(inputs.samples * inputs.length);
  const bool runs_model = inputs.kind == CalibrationKind::kSelfGenerated;
  if (flops > 0) {
    stage.seconds = tokens * 1e-6;
    // One token at a time reads all weights: far from the peak of large products.
    if (runs_model)
      stage.seconds += tokens * 20 * (shape.layer_weights + shape.head_weights) / flops;
  }
  stage.memory_bytes = static_cast<uint64_t>(
      1e8 + tokens * 16 + (runs_model ? 4 * (shape.layer_weights + shape.head_weights) : 0));
  stage.disk_bytes = static_cast<uint64_t>(tokens * 6);
}

// Each token passes through the layers about three times (to collect statistics, to measure errors,
// to make the next block's inputs); then come Gram matrices and rounding. Memory holds the hidden
// states twice and one block; disk the layers at up to 6 bits and a float head.
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

// How many tokens a test runs through the model.
double TokensOf(const EvaluateInputs& inputs, const Shape& shape) {
  const double limit = static_cast<double>(inputs.limit);
  if (inputs.kind == TestKind::kTask) {
    return (inputs.limit == 0 ? kRowsOfWholeTask : limit) * kTokensPerRow;
  }
  const PerplexityProtocol& protocol = FindProtocol(inputs.protocol);
  const double window = inputs.seqlen != 0
                            ? static_cast<double>(inputs.seqlen)
                            : std::min(static_cast<double>(protocol.default_window), shape.context);
  return (inputs.limit == 0 ? kWindowsOfWholeText : limit) * window;
}

// Two operations per weight and token; the head counts because every position is scored.
void EstimateEvaluate(const EvaluateInputs& inputs, const Shape& shape, double flops,
                      Stage& stage) {
  // On texts, a quantized model is compared with the float one, which then runs as well.
  const bool has_reference = !inputs.quantize.empty() && inputs.kind == TestKind::kText;
  const double models = has_reference ? 2 : 1;
  const double weights = shape.layer_weights + shape.head_weights;
  if (flops > 0) stage.seconds = 2 * models * TokensOf(inputs, shape) * weights / flops;
  stage.memory_bytes = static_cast<uint64_t>(2e8 + models * 4 * weights);
  stage.disk_bytes = static_cast<uint64_t>(2e6);
}

void EstimateMeasure(const MeasureInputs& inputs, const Shape& shape, double flops, Stage& stage) {
  const double weights = shape.layer_weights + shape.head_weights;
  // A decoded token reads all weights alone: it costs as much as ten of a prompt.
  const double tokens = static_cast<double>(inputs.prompt + 10 * inputs.gen) *
                        static_cast<double>(inputs.repetitions);
  if (flops > 0) stage.seconds = 4 * tokens * weights / flops;
  stage.memory_bytes = static_cast<uint64_t>(1e8 + 4 * weights);
}

}  // namespace

void EstimateStages(StudyPlan& plan, double flops) {
  // Calibration stages come before the quantizations that need them, so their tokens are known.
  std::map<std::string, Shape> shapes;   // by model folder
  std::map<std::string, double> tokens;  // of calibration stages
  for (Stage& stage : plan.stages) {
    const std::string& model = ModelFolderOf(stage.inputs);
    if (!shapes.contains(model)) shapes[model] = ShapeOf(ReadModelPlan(model));
    const Shape& shape = shapes[model];

    switch (stage.kind()) {
      case StageKind::kCalibrate: {
        const auto& inputs = std::get<CalibrateInputs>(stage.inputs);
        tokens[stage.key] = static_cast<double>((inputs.samples + inputs.held_out) * inputs.length);
        EstimateCalibration(inputs, shape, flops, stage);
        break;
      }
      case StageKind::kQuantize: {
        const std::string& calibration = std::get<QuantizeInputs>(stage.inputs).calibration;
        EstimateQuantize(calibration.empty() ? 0 : tokens[calibration], shape, flops, stage);
        break;
      }
      case StageKind::kEvaluate:
        EstimateEvaluate(std::get<EvaluateInputs>(stage.inputs), shape, flops, stage);
        break;
      case StageKind::kMeasure:
        EstimateMeasure(std::get<MeasureInputs>(stage.inputs), shape, flops, stage);
        break;
    }
  }
}

// Multiplies the estimates of each kind of stage by how long its finished stages really took.
void ScaleByHistory(StudyPlan& plan, const WorkFolder& work) {
  struct Sums {
    double measured = 0, estimated = 0;
    size_t n = 0;
  };

  std::map<StageKind, Sums> history;
  for (const Stage& stage : plan.stages) {
    const std::optional<StageRecord> record = work.ReadRecord(stage.key, /*with_outcome=*/false);
    if (!record || !record->is_done() || stage.seconds <= 0) continue;
    Sums& sums = history[stage.kind()];
    sums.measured += record->seconds;
    sums.estimated += stage.seconds;
    ++sums.n;
  }

  // One or two stages say too little about the next ones.
  for (Stage& stage : plan.stages) {
    const Sums& sums = history[stage.kind()];
    if (sums.n >= 3) stage.seconds *= sums.measured / sums.estimated;
  }
}

}  // namespace qualm
