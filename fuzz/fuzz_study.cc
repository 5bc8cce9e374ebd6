// Arbitrary bytes as what studies read: the first one says which: a study, a device, a plan, the
// record of a stage, a calibration set. Bad input is refused, nothing else happens.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "analysis/study_table.h"
#include "base/error.h"
#include "efficiency/hardware.h"
#include "study/calibration_source.h"
#include "study/graph.h"
#include "study/spec.h"
#include "study/work_folder.h"

namespace {

void Read(char kind, std::string_view text) {
  switch (kind) {
    case 's':
      (void)qualm::ParseStudy(text, "fuzz");
      return;
    case 'h':
      (void)qualm::ParseHardware(text, "fuzz");
      return;
    case 'p':
      (void)qualm::StudyPlanFromJson(qualm::ParseJson(text, "fuzz"), "fuzz");
      return;
    case 'c':
      (void)qualm::CalibrationSetFromJson(qualm::ParseJson(text, "fuzz"), "fuzz");
      return;
    default: {
      const qualm::StageRecord record =
          qualm::StageRecordFromJson(qualm::ParseJson(text, "fuzz"), "fuzz");
      if (KindOf(record.inputs) != qualm::StageKind::kEvaluate || !record.is_done()) return;
      (void)qualm::EvaluationOf(record.outcome, qualm::TaskLoss::kNll, "fuzz");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    Read(static_cast<char>(data[0]), {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
