// The table of families. A new family is a file in families/ and its two lines here. Tests swap the
// table for one that has a fixture family.
#include "base/error_place.h"
#include "base/strings.h"
#include "model/family.h"

namespace qualm {

extern const Family kGemma2Family, kLlamaFamily, kMistralFamily, kPhiFamily, kQwen2Family;

namespace {

constexpr const Family* kTable[] = {
    &kGemma2Family, &kLlamaFamily, &kMistralFamily, &kPhiFamily, &kQwen2Family,
};

std::span<const Family* const> current_table = kTable;

}  // namespace

std::span<const Family* const> AllFamilies() { return current_table; }

const Family& FindFamily(std::string_view model_type, std::span<const Family* const> families) {
  for (const Family* family : families) {
    if (family->model_type == model_type) return *family;
  }
  ThrowUnknownName(kNoPlace, "model_type", model_type, FamilyNames(families));
}

std::vector<std::string> FamilyNames(std::span<const Family* const> families) {
  std::vector<std::string> names;
  for (const Family* family : families) names.emplace_back(family->model_type);
  return names;
}

ScopedFamilies::ScopedFamilies(std::span<const Family* const> families) : before_(current_table) {
  current_table = families;
}

ScopedFamilies::~ScopedFamilies() { current_table = before_; }

}  // namespace qualm
