#include "study/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/strings.h"
#include "io/json_fields.h"
#include "study/work_folder.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

// Changes one field of a struct, counted from 0 on; fields of inner structs count one by one.
class Changer : public fields::Visitor {
 public:
  explicit Changer(size_t target) : target_(target) {}

  template <class T>
  void operator()(std::string_view key, T& field, const FieldRule& = {}) {
    if constexpr (HasFields<T>) {
      const bool was_found = is_found();
      T::Fields(*this, field);
      if (!was_found && is_found()) is_place_ = std::same_as<T, Place>;
    } else if (count_++ == target_) {
      changed_ = key;
      Change(field);
    }
  }

  bool is_found() const { return !changed_.empty(); }
  bool is_place() const { return is_place_; }
  const std::string& changed() const { return changed_; }

 private:
  template <class T>
  static void Change(T& field) {
    if constexpr (std::is_enum_v<T>) {
      field = static_cast<T>(static_cast<int>(field) + 1);
    } else if constexpr (std::is_arithmetic_v<T>) {
      field += 1;
    } else if constexpr (std::same_as<T, std::string>) {
      field += "x";
    } else if constexpr (fields::kIsOptional<T>) {
      field = typename T::value_type{};
    } else {
      field = T{{}};  // a list with an item
    }
  }

  size_t target_, count_ = 0;
  std::string changed_;
  bool is_place_ = false;
};

template <class Inputs>
class KeysOfInputs : public ::testing::Test {};
using AllInputs = ::testing::Types<CalibrateInputs, QuantizeInputs, EvaluateInputs, MeasureInputs>;
TYPED_TEST_SUITE(KeysOfInputs, AllInputs);

TYPED_TEST(KeysOfInputs, ChangeWithEveryFieldButNotWithPlaces) {
  const std::string key = StageKey(TypeParam(), "files", "avx2");
  size_t fields = 0, places = 0;
  for (;; ++fields) {
    TypeParam inputs;
    Changer changer(fields);
    TypeParam::Fields(changer, inputs);
    if (!changer.is_found()) break;
    const bool is_same = StageKey(inputs, "files", "avx2") == key;
    EXPECT_EQ(is_same, changer.is_place()) << changer.changed();
    places += changer.is_place() ? 1 : 0;
  }
  EXPECT_GE(fields, 7U);
  EXPECT_GE(places, 1U);  // the model's folder
}

TYPED_TEST(KeysOfInputs, ChangeWithFilesAndInstructionSet) {
  const std::string key = StageKey(TypeParam(), "files", "avx2");
  EXPECT_EQ(key.size(), 32U);
  EXPECT_NE(StageKey(TypeParam(), "other files", "avx2"), key);
  EXPECT_NE(StageKey(TypeParam(), "files", "avx512"), key);
}

TYPED_TEST(KeysOfInputs, ComeBackFromJson) {
  for (size_t field = 0;; ++field) {
    TypeParam inputs;
    Changer changer(field);
    TypeParam::Fields(changer, inputs);
    if (!changer.is_found()) break;
    const StageInputs all = inputs;
    const Json json = ParseJson(ToJson(all).dump(), "x");
    EXPECT_EQ(ToJson(StageInputsFromJson(KindOf(all), json, "x")).dump(), json.dump());
  }
}

TEST(StageKeys, OfDifferentKindsDiffer) {
  EXPECT_NE(StageKey(QuantizeInputs(), "", ""), StageKey(MeasureInputs(), "", ""));
}

TEST(StageInputs, EnumsAreNames) {
  CalibrateInputs inputs;
  inputs.kind = CalibrationKind::kSelfGenerated;
  inputs.rows.pool = RowPool::kScored;
  Json json = ToJson(StageInputs(inputs));
  EXPECT_EQ(json["kind"], "self_generated");
  EXPECT_EQ(json["rows"]["pool"], "scored");
  json["kind"] = "self-generated";
  EXPECT_THAT(ErrorOf([&] { StageInputsFromJson(StageKind::kCalibrate, json, "p.json"); }),
              HasSubstr("[p.json] unknown kind of calibration set 'self-generated'; did you mean "
                        "'self_generated'?"));
}

// --- records

StageRecord TextRecord() {
  StageRecord record;
  record.key = std::string(32, 'a');
  record.label = "evaluate m float on t";
  record.status = "done";
  record.finished_at = "2026-01-01T00:00:00Z";
  record.inputs = EvaluateInputs();
  TextOutcome outcome;
  outcome.protocol = "gptq";
  outcome.items = {.loss = {1.5, 0.1}, .weight = {1, 1}, .cluster = {0, 1}};
  outcome.overlap = OverlapOutcome{.grams = (uint64_t{1} << 53) + 1, .found = 3};
  record.outcome = outcome;
  return record;
}

TEST(StageRecords, ComeBackFromJson) {
  const Json json = ToJson(TextRecord());
  const StageRecord read = StageRecordFromJson(ParseJson(json.dump(), "r"), "r");
  EXPECT_EQ(ToJson(read).dump(), json.dump());
  const auto& outcome = std::get<TextOutcome>(read.outcome);
  EXPECT_EQ(outcome.items.loss[1], 0.1);
  EXPECT_EQ(outcome.overlap->grams, (uint64_t{1} << 53) + 1);  // a double does not hold it
  EXPECT_TRUE(std::isnan(outcome.ppl.standard_error));
  EXPECT_FALSE(outcome.distance.has_value());
  const StageRecord head = StageRecordFromJson(json, "r", /*with_outcome=*/false);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(head.outcome));
}

// Outcomes in which every list has an item.
std::vector<std::pair<StageInputs, StageOutcome>> FilledOutcomes() {
  CalibrateOutcome calibrated;
  calibrated.hash = "h";
  calibrated.subjects = {{.subject = "a", .rows = 2, .drawn = 1}};
  QuantizeOutcome quantized;
  quantized.layers = {{.name = "q", .held_out = 0.5}};
  EvaluateInputs task;
  task.kind = TestKind::kTask;
  RowsOutcome rows;
  rows.metric = "acc";
  rows.scores = {{.metric = "acc", .value = 0.5}};
  rows.items.value = {1};
  rows.items.right = {1};
  rows.items.near_tie = {0};
  rows.items.picked = {-1};
  rows.items.gold = {2};
  rows.items.cluster = {0};
  rows.items.log_likelihoods = {{-1, -2}};
  rows.samples = {{.item = 0, .answer = "a", .prompt = "p"}};
  MeasureOutcome measured;
  measured.joules_per_token = 0.5;
  return {{CalibrateInputs(), calibrated},
          {QuantizeInputs(), quantized},
          {task, rows},
          {MeasureInputs(), measured}};
}

TEST(StageRecords, OfEveryKindComeBack) {
  for (const auto& [inputs, outcome] : FilledOutcomes()) {
    StageRecord record = TextRecord();
    record.inputs = inputs;
    record.outcome = outcome;
    const Json json = ToJson(record);
    const StageRecord read = StageRecordFromJson(ParseJson(json.dump(), "r"), "r");
    EXPECT_EQ(ToJson(read).dump(), json.dump());
    EXPECT_EQ(read.outcome.index(), outcome.index());
  }
}

TEST(StageRecords, MistakesNamePlaceAndKey) {
  const auto error_with = [](const std::function<void(Json&)>& change) {
    Json json = ToJson(TextRecord());
    change(json);
    return ErrorOf([&] { StageRecordFromJson(json, "k.json"); });
  };
  EXPECT_THAT(error_with([](Json& json) { json["kind"] = "evaluat"; }),
              HasSubstr("[k.json] unknown kind of stage 'evaluat'; did you mean 'evaluate'"));
  EXPECT_THAT(error_with([](Json& json) { json["inputs"].erase("limit"); }),
              HasSubstr("[k.json: inputs] expected"));
  EXPECT_THAT(error_with([](Json& json) { json["inputs"]["limitt"] = 1; }),
              HasSubstr("did you mean 'limit'"));
  EXPECT_THAT(error_with([](Json& json) {
                json["result"]["items"]["loss"] = {1, "a"};
              }),
              HasSubstr("[k.json: result] expected loss as numbers; got \"a\""));
  EXPECT_THAT(error_with([](Json& json) { json["result"]["items"]["loss"] = {1}; }),
              HasSubstr("[k.json: result] expected columns of 2 items; got one of 1"));
  EXPECT_THAT(error_with([](Json& json) {
                json["result"]["items"]["cluster"] = {0, 2};
              }),
              HasSubstr("expected clusters below 2; got 2"));
  EXPECT_THAT(error_with([](Json& json) {
                json["result"]["items"]["cluster"] = {-1, 0};
              }),
              HasSubstr("expected cluster in 0..9223372036854775807; got -1"));
  EXPECT_THAT(error_with([](Json& json) { json["inputs"]["kind"] = "task"; }),
              HasSubstr("[k.json: result] "));  // the outcome is that of a text
}

}  // namespace
}  // namespace qualm
