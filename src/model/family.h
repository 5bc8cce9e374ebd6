// Model families: each turns its config.json into a plan (model_plan.h), and nothing else knows a
// family by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/config_reader.h"
#include "model/model_plan.h"

namespace qualm {

struct Family {
  const char* model_type;
  // All of the plan but its model_type. Throws bad input naming the key of what it cannot run.
  ModelPlan (*plan)(const ConfigReader& config);
};

// The table (families.cc), two lines per file in families/, or what a ScopedFamilies put in its
// place.
std::span<const Family* const> AllFamilies();
const Family& FindFamily(std::string_view model_type, std::span<const Family* const> families);
std::vector<std::string> FamilyNames(std::span<const Family* const> families = AllFamilies());

// For programs and tests that bring a family along: AllFamilies() is `families` until this goes out
// of scope. The span's memory must outlive it; other threads must not load models meanwhile.
class ScopedFamilies {
 public:
  explicit ScopedFamilies(std::span<const Family* const> families);
  ~ScopedFamilies();
  ScopedFamilies(const ScopedFamilies&) = delete;
  ScopedFamilies& operator=(const ScopedFamilies&) = delete;

 private:
  std::span<const Family* const> before_;
};

}  // namespace qualm
