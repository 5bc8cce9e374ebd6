// Measures speed and memory of a model folder, with the sizes that the stage's inputs name.
#include "study/measure_stage.h"

#include "base/error.h"
#include "efficiency/measure.h"
#include "study/machine.h"

namespace qualm {

MeasureOutcome MeasureArtefact(const std::string& folder, const MeasureInputs& inputs,
                               const std::string& label, const Context& context) {
  if (ProcessorName() != inputs.processor) {
    ThrowFailed(label, "this is another processor than the one that was planned for");
  }

  SpeedOptions options;
  options.prompt = inputs.prompt;
  options.gen = inputs.gen;
  options.repetitions = inputs.repetitions;
  const SpeedResult result = MeasureSpeed(folder, options, context);

  // One pair of lengths was asked for, so there is one point.
  const SpeedPoint& point = result.points.front();
  return {.prompt = inputs.prompt,
          .gen = inputs.gen,
          .prefill = point.prefill,
          .decode = point.decode,
          .joules_per_token = point.joules_per_token,
          .load_seconds = result.load_seconds,
          .weight_bytes = result.weight_bytes,
          .steady_memory_bytes = result.steady_memory_bytes,
          .peak_memory_bytes = result.peak_memory_bytes};
}

}  // namespace qualm
