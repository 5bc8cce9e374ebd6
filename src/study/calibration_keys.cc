// Reads where the text of a calibration set comes from, which one key of several says, and how much
// of it is taken.
#include "study/calibration_keys.h"

#include <array>

#include "base/error.h"
#include "base/strings.h"
#include "study/yaml_values.h"

namespace qualm {
namespace {

// The rows of a task, as calibration text.
struct RowsSource {
  std::string task, split, category;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("task", self.task, {.required = true});
    visit("split", self.split);
    visit("category", self.category);
  }
};

// Text that the model generates itself.
struct SelfGenerated {
  double temperature = 1;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("temperature", self.temperature, {.range = InRange(0.01, 10)});
  }
};

// A set of a control condition, which is not text of a language or subject. `source` is its key.
void ReadControl(std::string_view source, const Yaml& value, CalibrationSpec& spec) {
  spec.is_control = true;
  if (source == "random_tokens") {
    spec.kind = CalibrationKind::kRandomTokens;
    if (!value.AsBool()) ThrowBadInput(value.place(), "true", "false");
  } else if (source == "self_generated") {
    spec.kind = CalibrationKind::kSelfGenerated;
    spec.temperature = OptionsFrom<SelfGenerated>(&value).temperature;
  } else {
    spec.kind = CalibrationKind::kMixed;
    spec.mixed = TextsOf(value);
    if (spec.mixed.size() < 2)
      ThrowBadInput(value.place(), "two names or more", StrCat(spec.mixed.size()));
  }
}

// Where the text comes from: exactly one of the keys below says so.
void ReadKind(const Yaml& yaml, CalibrationSpec& spec) {
  constexpr std::array<std::string_view, 6> kSources = {"corpus",         "rows",  "random_tokens",
                                                        "self_generated", "mixed", "again"};
  std::vector<std::string> given;
  for (std::string_view source : kSources) {
    if (yaml.Find(source) != nullptr) given.emplace_back(source);
  }
  if (given.size() != 1) {
    ThrowBadInput(yaml.place(), StrCat("one of ", Join(Names(kSources), ", ")),
                  given.empty() ? "none" : Join(given, " and "));
  }

  // The value's form depends on the key; what it says goes into the fields of that kind.
  const Yaml& value = yaml.Get(given[0]);
  if (given[0] == "corpus") {
    spec.corpus = value.AsString();
    spec.text_field = TextIn(yaml, "text_field", "text");
  } else if (given[0] == "rows") {
    spec.kind = CalibrationKind::kRows;
    const auto rows = OptionsFrom<RowsSource>(&value);
    spec.task = rows.task;
    spec.split = rows.split;
    spec.category = rows.category;
    // Rows are drawn by subject unless the study says otherwise.
    spec.sampler.sampler = TextIn(yaml, "sampler", "per-subject");
  } else if (given[0] == "again") {
    spec.again = value.AsString();
  } else {
    ReadControl(given[0], value, spec);
  }
}

// `samples` and `length`: one number or a list of them.
std::vector<size_t> SizesOf(const Yaml& yaml, std::string_view key, size_t fallback) {
  const Yaml* value = yaml.Find(key);
  if (value == nullptr) return {fallback};
  if (value->kind() != Yaml::Kind::kList) return {SizeIn(&yaml, key, 0, 1)};

  std::vector<size_t> sizes;
  for (const Yaml& size : value->AsList()) {
    if (size.AsInt() < 1)
      ThrowBadInput(size.place(), "a whole number, at least 1", size.AsString());
    sizes.push_back(static_cast<size_t>(size.AsInt()));
  }
  return sizes;
}

}  // namespace

// Sets with several sizes differ in nothing else.
void ReadCalibration(const Yaml& yaml, const SamplerOptions& defaults,
                     std::vector<CalibrationSpec>& all) {
  yaml.RequireKnownKeys(std::array<std::string, 13>{
      "name", "corpus", "text_field", "rows", "random_tokens", "self_generated", "mixed", "again",
      "samples", "length", "sampler", "held_out", "about"});

  CalibrationSpec spec;
  spec.name = yaml.Get("name").AsString();
  spec.sampler = defaults;
  ReadKind(yaml, spec);
  spec.about = OptionsFrom<About>(yaml.Find("about"));

  const std::vector<size_t> samples = SizesOf(yaml, "samples", spec.sampler.samples);
  const std::vector<size_t> lengths = SizesOf(yaml, "length", spec.sampler.length);
  spec.sampler.held_out = SizeIn(&yaml, "held_out", spec.sampler.held_out);
  if (spec.kind == CalibrationKind::kCorpus) {
    spec.sampler.sampler = TextIn(yaml, "sampler", spec.sampler.sampler);
  }

  // One set for each pair of sizes; a single one keeps its name.
  const std::string name = spec.name;
  for (size_t count : samples) {
    for (size_t length : lengths) {
      spec.sampler.samples = count;
      spec.sampler.length = length;
      if (samples.size() * lengths.size() > 1) spec.name = StrCat(name, "-", count, "x", length);
      all.push_back(spec);
    }
  }
}

}  // namespace qualm
