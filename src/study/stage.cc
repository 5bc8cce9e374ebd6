// Kinds, names, keys and JSON of stages' inputs. The fields are stated once, in the header; from
// them come the plan's JSON and the text that a key is the hash of.
#include "study/stage.h"

#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "io/hash.h"
#include "io/json_fields.h"

namespace qualm {
namespace {

// Names in plans and records, in the order of the enums. They are part of stored files: none may
// change.
constexpr std::array<std::string_view, 4> kStageKinds = {"calibrate", "quantize", "evaluate",
                                                         "measure"};
constexpr std::array<std::string_view, 5> kCalibrationKinds = {"corpus", "rows", "random_tokens",
                                                               "self_generated", "mixed"};
constexpr std::array<std::string_view, 3> kRowPools = {"all", "calibration", "scored"};
constexpr std::array<std::string_view, 2> kTestKinds = {"text", "task"};

// Writes fields as text, but leaves out places: two stages that find the same files in different
// folders are one stage.
class KeyWriter : public fields::TextWriter {
 public:
  using fields::TextWriter::operator();
  void operator()(std::string_view, const Place&, const FieldRule& = {}) {}
};

// All fields as text, in a fixed form: equal inputs give equal keys on every machine.
template <class Inputs>
std::string KeyText(const Inputs& inputs) {
  KeyWriter writer;
  Inputs::Fields(writer, inputs);
  return writer.Take();
}

}  // namespace

std::string_view StageKindName(StageKind kind) { return NameOfEnum(kind); }

StageKind StageKindFromName(std::string_view name, std::string_view place) {
  return EnumFromName<StageKind>(name, place);
}

EnumNames NamesOfEnum(StageKind) { return {"kind of stage", kStageKinds}; }
EnumNames NamesOfEnum(CalibrationKind) { return {"kind of calibration set", kCalibrationKinds}; }
EnumNames NamesOfEnum(RowPool) { return {"pool of rows", kRowPools}; }
EnumNames NamesOfEnum(TestKind) { return {"kind of test", kTestKinds}; }

ItemOptions PooledRows::Options() const {
  ItemOptions options;
  options.pool = pool;
  options.pool_seed = seed;
  options.calibration_share = calibration_share;
  options.pool_name = pool_name;
  return options;
}

SamplerOptions CalibrateInputs::Sampler() const {
  return {
      .sampler = sampler, .samples = samples, .length = length, .seed = seed, .held_out = held_out};
}

const std::string& ModelFolderOf(const StageInputs& inputs) {
  return std::visit([](const auto& of_kind) -> const std::string& { return of_kind.model.path; },
                    inputs);
}

Json ToJson(const StageInputs& inputs) {
  return std::visit([](const auto& of_kind) { return FieldsJson(of_kind); }, inputs);
}

StageInputs StageInputsFromJson(StageKind kind, const Json& json, std::string_view place) {
  switch (kind) {
    case StageKind::kCalibrate:
      return FieldsFrom<CalibrateInputs>(json, place);
    case StageKind::kQuantize:
      return FieldsFrom<QuantizeInputs>(json, place);
    case StageKind::kEvaluate:
      return FieldsFrom<EvaluateInputs>(json, place);
    case StageKind::kMeasure:
      return FieldsFrom<MeasureInputs>(json, place);
  }
  QUALM_CHECK(false);
  return {};
}

// What decides the result and nothing else: the inputs, the contents of the files, the instruction
// set (sums differ in their last bits), and the version of our arithmetic.
std::string StageKey(const StageInputs& inputs, const std::string& files,
                     const std::string& instruction_set) {
  Hasher hasher;
  hasher.Add(StageKindName(KindOf(inputs)));
  hasher.Add(StrCat(kNumericVersion));
  hasher.Add(instruction_set);
  hasher.Add(std::visit([](const auto& of_kind) { return KeyText(of_kind); }, inputs));
  hasher.Add(files);
  return hasher.Hex();
}

}  // namespace qualm
