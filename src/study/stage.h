// A stage of a study: what it is told, which files it reads, and the key that both have. One struct
// for each kind of stage states its inputs once (io/fields.h); the plan's file, the stage's record
// and its key are made of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "chat/chat_settings.h"
#include "io/fields.h"
#include "io/input_set.h"
#include "io/json.h"
#include "study/spec.h"
#include "tasks/items.h"

namespace qualm {

// Raised whenever equal inputs give other numbers than before, or keys are made in another way:
// results of another one are not reused.
inline constexpr int kNumericVersion = 2;

enum class StageKind : uint8_t { kCalibrate, kQuantize, kEvaluate, kMeasure };
std::string_view StageKindName(StageKind kind);
StageKind StageKindFromName(std::string_view name, std::string_view place);

EnumNames NamesOfEnum(StageKind);
EnumNames NamesOfEnum(CalibrationKind);
EnumNames NamesOfEnum(RowPool);

// Where an input is found: a folder, a file, or the name of something that is built in. A place is
// not part of a stage's key, because what lies there is: as a file of the stage.
struct Place {
  std::string path;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("path", self.path);
  }
};

// The rows of a split that may be used. The seed and the share do not matter where all may be.
struct PooledRows {
  RowPool pool = RowPool::kAll;
  uint64_t seed = 0;
  double calibration_share = 0;
  // What pools are drawn by, where it is not the name of the task's own set: the user's rows, and
  // rows that several sets have.
  std::optional<std::string> pool_name;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("pool", self.pool);
    visit("seed", self.seed, {.is_seed = true});
    visit("calibration_share", self.calibration_share);
    visit("pool_name", self.pool_name);
  }
  ItemOptions Options() const;  // with these rows
};

struct CalibrateInputs {
  CalibrationKind kind = CalibrationKind::kCorpus;
  std::string sampler;
  size_t samples = 0, length = 0, held_out = 0;
  uint64_t seed = 0;
  Place model;                       // of kSelfGenerated the weights as well, else the tokenizer
  Place corpus;                      // of kCorpus
  std::string text_field;            // of kCorpus
  Place task;                        // of kRows
  std::string split, category;       // of kRows
  PooledRows rows;                   // of kRows
  double temperature = 0;            // of kSelfGenerated
  std::optional<int> text_protocol;  // of kSelfGenerated: kGenerationProtocol
  std::vector<std::string> members;  // of kMixed: keys of stages

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("kind", self.kind);
    visit("sampler", self.sampler);
    visit("samples", self.samples);
    visit("length", self.length);
    visit("held_out", self.held_out);
    visit("seed", self.seed, {.is_seed = true});
    visit("model", self.model);
    visit("corpus", self.corpus);
    visit("text_field", self.text_field);
    visit("task", self.task);
    visit("split", self.split);
    visit("category", self.category);
    visit("rows", self.rows);
    visit("temperature", self.temperature);
    visit("text_protocol", self.text_protocol);
    visit("members", self.members);
  }
  SamplerOptions Sampler() const;
};

struct QuantizeInputs {
  Place model;
  std::string model_hash;
  Place recipe;
  std::string order;        // in place of the recipe's; empty: the recipe's
  std::string recipe_hash;  // of its canonical form, with that order
  std::string calibration;  // key of a stage; empty: the recipe reads no data
  uint64_t seed = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("model", self.model);
    visit("model_hash", self.model_hash);
    visit("recipe", self.recipe);
    visit("order", self.order);
    visit("recipe_hash", self.recipe_hash);
    visit("calibration", self.calibration);
    visit("seed", self.seed, {.is_seed = true});
  }
};

enum class TestKind : uint8_t { kText, kTask };
EnumNames NamesOfEnum(TestKind);

struct EvaluateInputs {
  TestKind kind = TestKind::kText;
  Place model;  // the float one, also where a quantized one is evaluated
  std::string model_hash;
  std::string quantize;  // key of the stage that made the model; empty: the float one is evaluated
  size_t limit = 0;      // windows or rows; 0: all

  Place corpus;                 // of texts
  std::string text_field;       // of texts
  std::string protocol;         // of texts
  int protocol_version = 0;     // of texts
  size_t seqlen = 0;            // of texts; 0: the protocol's
  Place task;                   // of tasks
  std::string category;         // of tasks
  std::optional<size_t> shots;  // of tasks; empty: the task's default
  PooledRows rows;              // of tasks
  // Of tasks that are answered with a text: kGenerationProtocol.
  std::optional<int> text_protocol;
  // Of tasks that are asked in the form of a chat template, whose place is not part of the settings
  // here: a name, a file, or empty for the model's own.
  Place chat_template;
  std::optional<ChatSettings> chat;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("kind", self.kind);
    visit("model", self.model);
    visit("model_hash", self.model_hash);
    visit("quantize", self.quantize);
    visit("limit", self.limit);
    visit("corpus", self.corpus);
    visit("text_field", self.text_field);
    visit("protocol", self.protocol);
    visit("protocol_version", self.protocol_version);
    visit("seqlen", self.seqlen);
    visit("task", self.task);
    visit("category", self.category);
    visit("shots", self.shots, {.null_when_empty = true});
    visit("rows", self.rows);
    visit("text_protocol", self.text_protocol);
    visit("chat_template", self.chat_template, {.optional = true});
    visit("chat", self.chat);
  }
};

struct MeasureInputs {
  Place model;
  std::string model_hash;
  std::string quantize;  // key of the stage that made the model; empty: the float one
  std::string processor;
  size_t prompt = 0, gen = 0, repetitions = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("model", self.model);
    visit("model_hash", self.model_hash);
    visit("quantize", self.quantize);
    visit("processor", self.processor);
    visit("prompt", self.prompt);
    visit("gen", self.gen);
    visit("repetitions", self.repetitions);
  }
};

// In the order of StageKind.
using StageInputs = std::variant<CalibrateInputs, QuantizeInputs, EvaluateInputs, MeasureInputs>;

template <StageKind kKind, class Inputs>
inline constexpr bool kHasInputs =
    std::is_same_v<std::variant_alternative_t<static_cast<size_t>(kKind), StageInputs>, Inputs>;
static_assert(kHasInputs<StageKind::kCalibrate, CalibrateInputs> &&
              kHasInputs<StageKind::kQuantize, QuantizeInputs> &&
              kHasInputs<StageKind::kEvaluate, EvaluateInputs> &&
              kHasInputs<StageKind::kMeasure, MeasureInputs>);

inline StageKind KindOf(const StageInputs& inputs) {
  return static_cast<StageKind>(inputs.index());
}
// The folder of the float model.
const std::string& ModelFolderOf(const StageInputs& inputs);

Json ToJson(const StageInputs& inputs);
StageInputs StageInputsFromJson(StageKind kind, const Json& json, std::string_view place);

struct Stage {
  std::string key;                 // 32 hex digits
  std::string label;               // "quantize gptq-w4-g64 stories seed 0"
  std::string group;               // stages of one group share what one process loads or computes
  std::vector<std::string> needs;  // keys
  StageInputs inputs;
  std::string files;   // the hash of the files that it reads, a set of the plan's
  double seconds = 0;  // estimates
  uint64_t memory_bytes = 0, disk_bytes = 0;

  StageKind kind() const { return KindOf(inputs); }

  // All but the inputs, whose struct depends on the kind.
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("key", self.key);
    visit("label", self.label);
    visit("group", self.group);
    visit("needs", self.needs);
    visit("files", self.files);
    visit("seconds", self.seconds);
    visit("memory_bytes", self.memory_bytes);
    visit("disk_bytes", self.disk_bytes);
  }
};

// The hash of all that decides a stage's result: kind, inputs without places, the files' hash,
// instruction set, numeric version.
std::string StageKey(const StageInputs& inputs, const std::string& files,
                     const std::string& instruction_set);

}  // namespace qualm
