// A study as its author writes it: models x recipes x calibration sets x seeds x tests, who is
// paired with whom, and what is asked of the result. studies/*.yaml, compiled in; a path of a file
// of the user's works wherever a name does. Format: docs/formats/study.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "calibrate/sampler.h"
#include "chat/chat_settings.h"
#include "io/fields.h"

namespace qualm {

struct LocalText {
  std::string en, zh;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("en", self.en, {.required = true});
    visit("zh", self.zh, {.required = true});
  }
};

// What a text is about; the relation of a calibration set to a test follows from it.
struct About {
  std::string dataset, subject, task, language;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("dataset", self.dataset);
    visit("subject", self.subject);
    visit("task", self.task);
    visit("language", self.language);
  }
};

// Calibration against test, from near to far (PROTOCOLS, section 7). The first attribute of
// language, task, dataset, subject that differs names it. kControl: the calibration set is no text
// of any kind (random tokens, the model's own, a mixture); kNone: the recipe reads no data.
enum class Relation : uint8_t {
  kIid,
  kCrossSubject,
  kCrossDataset,
  kCrossTask,
  kCrossLanguage,
  kControl,
  kNone,
};
EnumNames NamesOfEnum(Relation);
std::string_view RelationName(Relation relation);
Relation RelationFromName(std::string_view name, std::string_view place);
Relation RelationOf(const About& calibration, const About& test);

enum class CalibrationKind : uint8_t { kCorpus, kRows, kRandomTokens, kSelfGenerated, kMixed };

struct CalibrationSpec {
  std::string name;
  CalibrationKind kind = CalibrationKind::kCorpus;
  std::string corpus, text_field = "text";  // kCorpus: path or name
  std::string task, split;         // kRows: rows as the task asks them, right answer behind
  std::string category;            // kRows: only subsets of this category of the task
  std::vector<std::string> mixed;  // kMixed: names of other sets, equal parts
  double temperature = 1;          // kSelfGenerated
  SamplerOptions sampler;
  // Another set drawn again with other seeds: the same condition twice (A/A). Empty: it is none.
  std::string again;
  bool is_control = false;
  About about;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("kind", self.kind);
    visit("corpus", self.corpus);
    visit("text_field", self.text_field);
    visit("task", self.task);
    visit("split", self.split);
    visit("category", self.category);
    visit("mixed", self.mixed);
    visit("temperature", self.temperature);
    visit("sampler", self.sampler.sampler);
    visit("samples", self.sampler.samples);
    visit("length", self.sampler.length);
    visit("held_out", self.sampler.held_out);
    visit("again", self.again);
    visit("is_control", self.is_control);
    visit("about", self.about);
  }
};

struct TestSpec {
  std::string name;
  std::string corpus, text_field = "text", protocol = "gptq";  // perplexity of a text
  size_t seqlen = 0;
  std::string task, category;  // or a task
  std::optional<size_t> shots;
  size_t limit = 0;                  // windows or rows; 0: all
  std::optional<ChatSettings> chat;  // of a task; empty: it is asked as a plain text
  About about;

  bool is_task() const { return !task.empty(); }

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("corpus", self.corpus);
    visit("text_field", self.text_field);
    visit("protocol", self.protocol);
    visit("seqlen", self.seqlen);
    visit("task", self.task);
    visit("category", self.category);
    visit("shots", self.shots);
    visit("limit", self.limit);
    visit("chat", self.chat);
    visit("about", self.about);
  }
};

// A rule names recipes, calibration sets, tests and relations by patterns; empty ones fit all.
struct PairRule {
  std::vector<std::string> models, recipes, calibrations, tests, relations;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("model", self.models, {.one_or_many = true});
    visit("recipe", self.recipes, {.one_or_many = true});
    visit("calibration", self.calibrations, {.one_or_many = true});
    visit("test", self.tests, {.one_or_many = true});
    visit("relation", self.relations, {.one_or_many = true});
  }
};

struct Budget {
  double bits_per_weight = 0;    // of the quantized layers, at most; 0: no bound
  double tokens_per_second = 0;  // decoded, at least; 0: no bound

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("bits_per_weight", self.bits_per_weight, {.range = InRange(0, 64)});
    visit("tokens_per_second", self.tokens_per_second, {.range = InRange(0, 1e9)});
  }
};

// Sizes that studies may ask for.
inline constexpr int64_t kMostSize = int64_t{1} << 32;

struct EfficiencySpec {
  bool is_asked = false;
  size_t prompt = 128, gen = 16, repetitions = 5;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("prompt", self.prompt, {.range = InRange(1, kMostSize)});
    visit("gen", self.gen, {.range = InRange(1, kMostSize)});
    visit("repetitions", self.repetitions, {.range = InRange(1, kMostSize)});
  }
};

// Which per-item loss of multiple-choice tasks is compared.
enum class TaskLoss : uint8_t {
  kError,  // 1 - the task's main metric
  kNll,    // -log of the right choice's share among the choices' likelihoods
};

EnumNames NamesOfEnum(TaskLoss);

struct StudySpec {
  std::string name, text;  // the file's, for provenance
  int version = 1;
  LocalText title, question;
  std::vector<std::string> models;
  std::vector<std::string> recipes;
  std::string order;  // "parallel" or "sequential" over the recipes' own; empty: theirs
  size_t seeds = 1;
  std::vector<CalibrationSpec> calibrations;
  std::vector<TestSpec> tests;
  std::vector<PairRule> include, exclude;  // a cell needs one of include (if any), none of exclude
  TaskLoss task_loss = TaskLoss::kError;
  EfficiencySpec efficiency;
  std::vector<Budget> budgets;
  // Rows of a split that is both calibrated on and scored are parted once, by a seeded hash.
  uint64_t pool_seed = 0;
  double calibration_share = 0.5;  // of such rows, about

  const CalibrationSpec& Calibration(std::string_view wanted) const;

  // What a plan keeps: rules, pools and efficiency have become its cells and stages.
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("version", self.version);
    visit("title", self.title);
    visit("question", self.question);
    visit("models", self.models);
    visit("recipes", self.recipes);
    visit("order", self.order);
    visit("seeds", self.seeds);
    visit("calibrations", self.calibrations);
    visit("tests", self.tests);
    visit("loss", self.task_loss);
    visit("budgets", self.budgets);
    visit("text", self.text);
  }
};

// Strict: an unknown key, name or relation is bad input with its line and the nearest name.
StudySpec ParseStudy(std::string_view yaml_text, std::string_view place);
// A built-in name or a path of a .yaml file.
StudySpec FindStudy(const std::string& name_or_path);
std::vector<std::string> StudyNames();
std::string StudyTitle(std::string_view name);

}  // namespace qualm
