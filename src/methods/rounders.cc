// The table of rounders and the look-up by name. A new rounder is a file in rounders/ and a line
// here.
#include "methods/rounders.h"

#include "base/strings.h"
#include "methods/rounders/easyquant.h"
#include "methods/rounders/gptq.h"
#include "methods/rounders/hqq.h"
#include "methods/rounders/llm_int8.h"
#include "methods/rounders/owq.h"
#include "methods/rounders/quip.h"
#include "methods/rounders/rtn.h"
#include "methods/rounders/slim.h"
#include "methods/rounders/spqr.h"

namespace qualm {
namespace {

// One line per file in rounders/.
constexpr RounderEntry kRounders[] = {
    {"easyquant", "outliers of the weights kept, scales by gradient descent (needs no data)",
     MakeEasyQuant},
    {"gptq", "second-order, column by column, errors fed forward (needs calibration data)",
     MakeGptq},
    {"hqq", "zero points by a half-quadratic solver (needs no data, zero_point: float)", MakeHqq},
    {"llm_int8", "inputs with outliers stay float, with their weights (needs calibration data)",
     MakeLlmInt8},
    {"owq", "the most sensitive columns stay float, the rest is GPTQ's (needs calibration data)",
     MakeOwq},
    {"quip", "LDLQ on weights made incoherent by random rotations (needs calibration data)",
     MakeQuip},
    {"rtn", "round to nearest (needs no data)", MakeRtn},
    {"slim", "bits and ranges by salience, then GPTQ (SliM-LLM; needs calibration data)", MakeSlim},
    {"spqr", "small groups with quantized statistics, outliers kept (needs calibration data)",
     MakeSpqr},
};

}  // namespace

std::span<const RounderEntry> AllRounders() { return kRounders; }

std::unique_ptr<Rounder> MakeRounder(std::string_view name, const Yaml* options,
                                     std::string_view place) {
  for (const RounderEntry& entry : kRounders) {
    if (entry.name == name) return entry.make(options);
  }
  ThrowUnknownName(place, "rounder", name, RounderNames());
}

std::vector<std::string> RounderNames() {
  std::vector<std::string> names;
  for (const RounderEntry& entry : kRounders) names.emplace_back(entry.name);
  return names;
}

}  // namespace qualm
