#include "study/measure_stage.h"

#include "base/error.h"
#include "efficiency/measure.h"
#include "study/machine.h"

namespace qualm {
namespace {

Json ToJson(const Spread& spread) {
  return {{"median", spread.median},
          {"lowest", spread.lowest},
          {"highest", spread.highest},
          {"n", spread.n}};
}

}  // namespace

Json MeasureArtefact(const std::string& folder, const Stage& stage, ThreadPool& pool,
                     Progress& progress) {
  if (ProcessorName() != GetString(stage.inputs, "processor", stage.label)) {
    ThrowFailed(stage.label, "this is another processor than the one that was planned for");
  }
  SpeedOptions options;
  options.prompt = static_cast<size_t>(GetInt(stage.inputs, "prompt", stage.label));
  options.gen = static_cast<size_t>(GetInt(stage.inputs, "gen", stage.label));
  options.repetitions = static_cast<size_t>(GetInt(stage.inputs, "repetitions", stage.label));
  const SpeedResult result = MeasureSpeed(folder, options, pool, progress);
  const SpeedPoint& point = result.points.front();
  return {{"prompt", options.prompt},
          {"gen", options.gen},
          {"prefill_tokens_per_s", ToJson(point.prefill)},
          {"decode_tokens_per_s", ToJson(point.decode)},
          {"joules_per_token", point.joules_per_token ? Json(*point.joules_per_token) : Json()},
          {"load_seconds", ToJson(result.load_seconds)},
          {"weight_bytes", result.weight_bytes},
          {"steady_memory_bytes", result.steady_memory_bytes},
          {"peak_memory_bytes", result.peak_memory_bytes}};
}

}  // namespace qualm
