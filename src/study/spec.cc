// Studies, from YAML: maps of plain values state their fields (io/fields.h), and what keys mean
// together is checked here. A study may extend a built-in one; keys that it leaves out are taken
// from that one.
#include "study/spec.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "study/calibration_keys.h"
#include "study/embedded_studies.h"
#include "study/yaml_values.h"

namespace qualm {
namespace {

// A text without languages is used for all of them.
LocalText LocalTextOf(const Yaml& yaml) {
  if (!yaml.IsMap()) return {yaml.AsString(), yaml.AsString()};
  return OptionsFrom<LocalText>(&yaml);
}

// The keys that `defaults` gives calibration sets.
struct SamplerKeys {
  SamplerOptions options;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("samples", self.options.samples, {.range = InRange(1, kMostSize)});
    visit("length", self.options.length, {.range = InRange(1, kMostSize)});
    visit("sampler", self.options.sampler);
    visit("held_out", self.options.held_out, {.range = InRange(0, kMostSize)});
  }
};

// How rows that are used for both calibration and scoring are divided.
struct Pools {
  uint64_t seed = 0;
  double calibration_share = 0.5;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("seed", self.seed, {.range = InRange(0, kMostSize)});
    visit("calibration_share", self.calibration_share, {.range = InRange(0.01, 0.99)});
  }
};

// Defaults for all tests that do not set these themselves; 0: no limit.
struct Limits {
  size_t rows = 0, windows = 0, seqlen = 0;
  std::string protocol = TestSpec{}.protocol;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("rows", self.rows, {.range = InRange(0, kMostSize)});
    visit("windows", self.windows, {.range = InRange(0, kMostSize)});
    visit("seqlen", self.seqlen, {.range = InRange(0, kMostSize)});
    visit("protocol", self.protocol);
  }
};

// A test as YAML states it; TestsOf makes one or more TestSpec of it.
struct TestKeys {
  std::string name, task, corpus, text_field = "text", protocol, category;
  size_t seqlen = 0;
  std::vector<std::string> tasks;
  std::optional<size_t> shots, limit;
  bool is_chat = false;
  std::string chat_template, date;
  std::vector<std::string> chat_options;
  About about;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name);
    visit("corpus", self.corpus);
    visit("text_field", self.text_field);
    visit("protocol", self.protocol);
    visit("seqlen", self.seqlen, {.range = InRange(0, kMostSize)});
    visit("task", self.task);
    visit("tasks", self.tasks, {.one_or_many = true});
    visit("category", self.category);
    visit("shots", self.shots, {.range = InRange(0, kMostSize)});
    visit("limit", self.limit, {.range = InRange(0, kMostSize)});
    visit("chat", self.is_chat);
    visit("chat_template", self.chat_template);
    visit("date", self.date);
    visit("chat_options", self.chat_options, {.one_or_many = true});
    visit("about", self.about);
  }
};

// The chat template that a test asks with, if it does. Throws bad input for settings of a template
// in a test without one.
std::optional<ChatSettings> ChatOf(const TestKeys& keys, bool is_task, std::string_view place) {
  const ChatSettings settings{keys.chat_template, keys.date, keys.chat_options};
  const bool has_template = keys.is_chat || !keys.chat_template.empty();
  if (has_template && !is_task) ThrowBadInput(place, "a task where chat is asked for", "a text");
  if (!has_template && (!keys.date.empty() || !keys.chat_options.empty())) {
    ThrowBadInput(place, "chat: true or chat_template with date and chat_options", "neither");
  }
  if (!has_template) return std::nullopt;
  (void)ChatOptionsOf(settings, ChatKeys(place));  // only checked here
  return settings;
}

// One test, or one for each of `tasks`. Shots that are given and a chat template are part of a
// test's name: "-5shot", "-chat".
std::vector<TestSpec> TestsOf(const Yaml& yaml, const Limits& limits) {
  TestKeys keys;
  keys.protocol = limits.protocol;
  keys.seqlen = limits.seqlen;
  ReadFields(yaml, keys);

  // Text and task exclude each other, and one name cannot belong to several tasks.
  const bool has_name = yaml.Find("name") != nullptr;
  std::vector<std::string> tasks = keys.tasks;
  if (yaml.Find("task") != nullptr) tasks.push_back(keys.task);
  if (keys.corpus.empty() == tasks.empty() || (!keys.tasks.empty() && has_name)) {
    std::vector<std::string> found;
    for (const char* key : {"corpus", "task", "tasks", "name"}) {
      if (yaml.Find(key) != nullptr) found.emplace_back(key);
    }
    ThrowBadInput(yaml.place(), "exactly one of corpus, task or tasks (tasks takes no name)",
                  found.empty() ? "none of them" : Join(found, ", "));
  }

  // What all of the tests have in common.
  TestSpec test;
  test.corpus = keys.corpus;
  test.text_field = keys.text_field;
  test.protocol = keys.protocol;
  test.seqlen = keys.seqlen;
  test.category = keys.category;
  test.shots = keys.shots;
  test.limit = keys.limit.value_or(tasks.empty() ? limits.windows : limits.rows);
  test.chat = ChatOf(keys, !tasks.empty(), yaml.place());
  test.about = keys.about;
  if (tasks.empty()) {
    test.name = has_name ? keys.name : test.corpus;
    return {test};
  }

  // The name tells tests of one task apart, and reports group tests by their data set.
  std::vector<TestSpec> tests;
  for (const std::string& task : tasks) {
    TestSpec& added = tests.emplace_back(test);
    added.task = task;
    const std::string shots = test.shots.value_or(0) > 0 ? StrCat("-", *test.shots, "shot") : "";
    const std::string chat = test.chat ? "-chat" : "";
    added.name = has_name ? keys.name : StrCat(task, shots, chat);
    if (added.about.dataset.empty()) added.about.dataset = task;
  }
  return tests;
}

// Patterns that match no cell are allowed; a relation that does not exist is a typing error.
std::vector<PairRule> RulesOf(const Yaml& yaml, std::string_view key) {
  std::vector<PairRule> rules;
  const Yaml* list = yaml.Find(key);
  if (list == nullptr) return rules;
  for (const Yaml& one : list->AsList()) {
    auto rule = OptionsFrom<PairRule>(&one);
    for (const std::string& name : rule.relations) (void)RelationFromName(name, one.place());
    rules.push_back(std::move(rule));
  }
  return rules;
}

const CalibrationSpec& SetNamed(const StudySpec& spec, std::string_view name,
                                const std::string& place) {
  const auto found = std::ranges::find(spec.calibrations, name, &CalibrationSpec::name);
  if (found != spec.calibrations.end()) return *found;
  std::vector<std::string> names;
  for (const CalibrationSpec& set : spec.calibrations) names.push_back(set.name);
  ThrowUnknownName(place, "calibration set", name, names);
}

// Resolves sets that name other sets. Members of a mixture must exist. A set with `again` takes
// over everything but its name from the other set; it gets other seeds when it is drawn.
void ResolveNamedSets(StudySpec& spec, const std::string& place) {
  for (CalibrationSpec& set : spec.calibrations) {
    // A mixture is one level deep: its members are sampled themselves.
    for (const std::string& member : set.mixed) {
      if (SetNamed(spec, member, place).kind == CalibrationKind::kMixed) {
        ThrowBadInput(place, "a mixture of sets that are none themselves", member);
      }
    }
    if (set.again.empty()) continue;

    // `again` stays in the copy: planning gives repetitions other seeds by it.
    CalibrationSpec copy = SetNamed(spec, set.again, place);
    if (!copy.again.empty()) ThrowBadInput(place, "again of another set", set.again);
    copy.name = set.name;
    copy.again = set.again;
    set = std::move(copy);
  }
}

void RequireDistinct(const std::vector<std::string>& names, const std::string& place,
                     std::string_view what) {
  for (size_t i = 0; i < names.size(); ++i) {
    if (std::ranges::count(names, names[i]) > 1) {
      ThrowBadInput(place, StrCat("different names of ", what), StrCat("'", names[i], "' twice"));
    }
  }
}

constexpr std::array<std::string_view, 19> kKeys = {
    "name",    "extends", "version",  "title",      "question",    "models", "recipes",
    "order",   "seeds",   "defaults", "limits",     "calibration", "tests",  "include",
    "exclude", "pools",   "loss",     "efficiency", "budgets"};

// The values of a study's keys: its own, or else those of the study that it extends.
class StudyKeys {
 public:
  StudyKeys(const Yaml& own, const Yaml* base) : own_(own), base_(base) {}
  const Yaml* Find(std::string_view key) const {
    const Yaml* found = own_.Find(key);
    if (found == nullptr && base_ != nullptr) found = base_->Find(key);
    return found;
  }
  const Yaml& Get(std::string_view key) const {
    const Yaml* found = Find(key);
    return found == nullptr ? own_.Get(key) : *found;
  }
  // The map that has the key, for readers of optional keys.
  const Yaml& Holder(std::string_view key) const {
    return own_.Find(key) != nullptr || base_ == nullptr ? own_ : *base_;
  }

 private:
  const Yaml& own_;
  const Yaml* base_;
};

void ReadTests(const StudyKeys& keys, StudySpec& spec) {
  const auto limits = OptionsFrom<Limits>(keys.Find("limits"));
  for (const Yaml& test : keys.Get("tests").AsList()) {
    for (TestSpec& added : TestsOf(test, limits)) spec.tests.push_back(std::move(added));
  }
}

// The name becomes part of file names in the work folder, so it must be a plain word.
std::string StudyNameOf(const Yaml& yaml) {
  std::string name = yaml.AsString();
  const bool is_plain =
      name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
      std::string::npos;
  if (name.empty() || name.size() > 100 || !is_plain) {
    ThrowBadInput(yaml.place(), "a name of letters, digits, - and _", StrCat("'", name, "'"));
  }
  return name;
}

// A table needs rows and columns, and they are told apart by their names.
void RequireWholeTable(const StudySpec& spec, const std::string& place) {
  std::vector<std::string> sets, tests;
  for (const CalibrationSpec& set : spec.calibrations) sets.push_back(set.name);
  for (const TestSpec& test : spec.tests) tests.push_back(test.name);
  RequireDistinct(sets, place, "calibration sets");
  RequireDistinct(tests, place, "tests");
  RequireDistinct(spec.recipes, place, "recipes");
  if (spec.tests.empty() || spec.recipes.empty()) {
    ThrowBadInput(place, "at least one test and one recipe", "none");
  }
}

StudySpec StudyOf(const Yaml& yaml, const Yaml* base, const std::string& place) {
  // What the study is called and asks, and what it runs on.
  const StudyKeys keys(yaml, base);
  StudySpec spec;
  spec.name = StudyNameOf(yaml.Get("name"));
  spec.version = static_cast<int>(IntOption(&keys.Holder("version"), "version", 1, 1, 1 << 20));
  spec.title = LocalTextOf(keys.Get("title"));
  spec.question = LocalTextOf(keys.Get("question"));
  spec.models = TextsIn(keys.Holder("models"), "models");
  spec.recipes = TextsOf(keys.Get("recipes"));
  spec.order = TextIn(keys.Holder("order"), "order");
  if (!spec.order.empty() && spec.order != "parallel" && spec.order != "sequential") {
    ThrowUnknownName(keys.Get("order").place(), "order", spec.order,
                     std::array<std::string, 2>{"parallel", "sequential"});
  }
  spec.seeds = SizeIn(&keys.Holder("seeds"), "seeds", 1, 1);

  // The axes of the table, and which of its cells are left out.
  const SamplerOptions sampler = OptionsFrom<SamplerKeys>(keys.Find("defaults")).options;
  if (const Yaml* sets = keys.Find("calibration")) {
    for (const Yaml& one : sets->AsList()) ReadCalibration(one, sampler, spec.calibrations);
  }
  ReadTests(keys, spec);
  spec.include = RulesOf(keys.Holder("include"), "include");
  spec.exclude = RulesOf(keys.Holder("exclude"), "exclude");

  // What is measured, and what the report is asked for.
  if (const Yaml* loss = keys.Find("loss")) {
    spec.task_loss = EnumFromName<TaskLoss>(loss->AsString(), loss->place());
  }
  const auto pools = OptionsFrom<Pools>(keys.Find("pools"));
  spec.pool_seed = pools.seed;
  spec.calibration_share = pools.calibration_share;
  spec.efficiency = OptionsFrom<EfficiencySpec>(keys.Find("efficiency"));
  spec.efficiency.is_asked = keys.Find("efficiency") != nullptr;
  if (const Yaml* budgets = keys.Find("budgets")) {
    for (const Yaml& budget : budgets->AsList()) {
      spec.budgets.push_back(OptionsFrom<Budget>(&budget));
    }
  }

  // Names can only be resolved when all sets are known.
  ResolveNamedSets(spec, place);
  RequireWholeTable(spec, place);
  return spec;
}

const EmbeddedFile* FindEmbedded(std::string_view name) {
  for (const EmbeddedFile& file : EmbeddedStudies()) {
    if (file.name == StrCat(name, ".yaml")) return &file;
  }
  return nullptr;
}

// An unknown key is refused at the top level, too: it would be ignored silently.
Yaml ParseKeys(std::string_view text, std::string_view place) {
  Yaml yaml = Yaml::Parse(text, place);
  yaml.RequireKnownKeys(Names(kKeys));
  return yaml;
}

}  // namespace

EnumNames NamesOfEnum(Relation) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "iid", "cross-subject", "cross-dataset", "cross-task", "cross-language", "control", "none"};
  return {"relation", kNames};
}

EnumNames NamesOfEnum(TaskLoss) {
  static constexpr std::array<std::string_view, 2> kNames = {"error", "nll"};
  return {"loss", kNames};
}

std::string_view RelationName(Relation relation) { return NameOfEnum(relation); }

Relation RelationFromName(std::string_view name, std::string_view place) {
  return EnumFromName<Relation>(name, place);
}

// How far a test is from the calibration text: the most general property in which they differ.
Relation RelationOf(const About& calibration, const About& test) {
  if (calibration.language != test.language) return Relation::kCrossLanguage;
  if (calibration.task != test.task) return Relation::kCrossTask;
  if (calibration.dataset != test.dataset) return Relation::kCrossDataset;
  if (calibration.subject != test.subject) return Relation::kCrossSubject;
  return Relation::kIid;
}

const CalibrationSpec& StudySpec::Calibration(std::string_view wanted) const {
  for (const CalibrationSpec& one : calibrations) {
    if (one.name == wanted) return one;
  }
  QUALM_CHECK(false);
  return calibrations.front();
}

StudySpec ParseStudy(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = ParseKeys(yaml_text, place);
  const Yaml* extends = yaml.Find("extends");
  StudySpec spec;
  if (extends == nullptr) {
    spec = StudyOf(yaml, nullptr, std::string(place));
    spec.text = yaml_text;
    return spec;
  }

  // Only built-in studies are extended, and only one level deep: a reader finds every key in two
  // files at most.
  const EmbeddedFile* file = FindEmbedded(extends->AsString());
  if (file == nullptr) {
    ThrowUnknownName(extends->place(), "study", extends->AsString(), StudyNames());
  }
  const Yaml base = ParseKeys(file->text, StrCat("studies/", file->name));
  if (const Yaml* nested = base.Find("extends")) {
    ThrowBadInput(extends->place(), "a study that extends no other", nested->AsString());
  }

  spec = StudyOf(yaml, &base, std::string(place));
  spec.text = StrCat(yaml_text, "\n# extends:\n", file->text);
  return spec;
}

StudySpec FindStudy(const std::string& name_or_path) {
  if (const EmbeddedFile* file = FindEmbedded(name_or_path)) {
    return ParseStudy(file->text, StrCat("studies/", file->name));
  }
  if (!name_or_path.ends_with(".yaml")) {
    ThrowUnknownName("study", "study", name_or_path, StudyNames());
  }
  return ParseStudy(ReadFile(name_or_path, 1 << 20), name_or_path);
}

std::vector<std::string> StudyNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedStudies()) {
    names.emplace_back(file.name.substr(0, file.name.size() - 5));
  }
  return names;
}

std::string StudyTitle(std::string_view name) {
  const EmbeddedFile* file = FindEmbedded(name);
  QUALM_CHECK(file != nullptr);
  return ParseStudy(file->text, StrCat("studies/", file->name)).title.en;
}

}  // namespace qualm
