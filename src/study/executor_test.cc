#include "study/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "study/slurm.h"

namespace qualm {
namespace {

using testing::ElementsAre;

StageInputs InputsOf(StageKind kind) {
  switch (kind) {
    case StageKind::kCalibrate:
      return CalibrateInputs();
    case StageKind::kQuantize:
      return QuantizeInputs();
    case StageKind::kEvaluate:
      return EvaluateInputs();
    case StageKind::kMeasure:
      return MeasureInputs();
  }
  return {};
}

// Two calibration sets (0, 1), two models of the first (2, 3) and one of the second (4), one
// evaluation of 2 (5), the float model's (6).
StudyPlan SmallPlan() {
  StudyPlan plan;
  const auto add = [&](const std::string& key, StageKind kind, const std::string& group,
                       std::vector<std::string> needs) {
    Stage stage;
    stage.key = key;
    stage.inputs = InputsOf(kind);
    stage.group = group;
    stage.needs = std::move(needs);
    stage.memory_bytes = plan.stages.size() << 20;
    plan.stages.push_back(stage);
  };
  add("c0", StageKind::kCalibrate, "c", {});
  add("c1", StageKind::kCalibrate, "c", {});
  add("q0", StageKind::kQuantize, "q c0", {"c0"});
  add("q1", StageKind::kQuantize, "q c0", {"c0"});
  add("q2", StageKind::kQuantize, "q c1", {"c1"});
  add("e0", StageKind::kEvaluate, "e q0", {"q0"});
  add("ef", StageKind::kEvaluate, "e float", {});
  return plan;
}

TEST(ReadyGroups, AreOpenStagesWhoseNeedsAreDone) {
  const StudyPlan plan = SmallPlan();
  std::vector<StageState> state(plan.stages.size(), StageState::kWaiting);
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(0, 1), ElementsAre(6)));
  EXPECT_THAT(ReadyGroups(plan, state, 1),
              ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(6)));
  state[0] = StageState::kFoundDone;
  state[1] = StageState::kFailed;
  state[6] = StageState::kRunning;
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(2, 3)));
  state[2] = StageState::kDone;
  EXPECT_THAT(ReadyGroups(plan, state, 8), ElementsAre(ElementsAre(3), ElementsAre(5)));
}

TEST(SlurmArrays, HoldStagesThatWaitForTheSame) {
  const StudyPlan plan = SmallPlan();
  const std::vector<SlurmArray> arrays =
      PlanSlurmArrays(plan, std::vector<SlurmState>(7, SlurmState::kOpen));
  ASSERT_EQ(arrays.size(), 5U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(0, 1));
  EXPECT_EQ(arrays[0].memory_bytes, 1U << 20);
  EXPECT_THAT(arrays[1].stages, ElementsAre(6));
  EXPECT_THAT(arrays[2].stages, ElementsAre(2, 3));
  EXPECT_THAT(arrays[2].waits_for, ElementsAre("c0"));
  EXPECT_THAT(arrays[3].waits_for, ElementsAre("c1"));
  EXPECT_THAT(arrays[4].waits_for, ElementsAre("q0"));  // behind what it waits for
}

TEST(SlurmArrays, DoNotWaitForWhatIsDone) {
  const StudyPlan plan = SmallPlan();
  constexpr SlurmState kDone = SlurmState::kDone, kOpen = SlurmState::kOpen;
  const std::vector<SlurmArray> arrays =
      PlanSlurmArrays(plan, {kDone, kDone, kOpen, kDone, kOpen, kOpen, kDone});
  ASSERT_EQ(arrays.size(), 2U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(2, 4));
  EXPECT_TRUE(arrays[0].waits_for.empty());
  EXPECT_THAT(arrays[1].waits_for, ElementsAre("q0"));
}

TEST(SlurmArrays, WaitForWhatIsInTheQueue) {
  const StudyPlan plan = SmallPlan();
  std::vector<SlurmState> state(7, SlurmState::kDone);
  state[2] = SlurmState::kQueued;
  state[5] = SlurmState::kOpen;
  const std::vector<SlurmArray> arrays = PlanSlurmArrays(plan, state);
  ASSERT_EQ(arrays.size(), 1U);
  EXPECT_THAT(arrays[0].stages, ElementsAre(5));
  EXPECT_THAT(arrays[0].waits_for, ElementsAre("q0"));
}

}  // namespace
}  // namespace qualm
