// The table of families. A new family is a file in families/ and its two lines here. Tests swap the
// table for one that has a fixture family.
#include "base/error_place.h"
#include "base/strings.h"
#include "model/family.h"

namespace qualm {

extern const Family kBaichuanFamily;
extern const Family kBloomFamily;
extern const Family kChatglmFamily;
extern const Family kCodegenFamily;
extern const Family kCohereFamily;
extern const Family kCohere2Family;
extern const Family kErnie45Family;
extern const Family kExaone4Family;
extern const Family kFalconFamily;
extern const Family kGemmaFamily;
extern const Family kGemma2Family;
extern const Family kGemma3Family;
extern const Family kGemma3TextFamily;
extern const Family kGlmFamily;
extern const Family kGlm4Family;
extern const Family kGpt2Family;
extern const Family kGptNeoFamily;
extern const Family kGptNeoxFamily;
extern const Family kGptjFamily;
extern const Family kGraniteFamily;
extern const Family kHunyuanV1DenseFamily;
extern const Family kInternlm2Family;
extern const Family kInternlm3Family;
extern const Family kLlamaFamily;
extern const Family kMinicpmFamily;
extern const Family kMinistralFamily;
extern const Family kMinistral3Family;
extern const Family kMistralFamily;
extern const Family kMistral3Family;
extern const Family kMptFamily;
extern const Family kNemotronFamily;
extern const Family kOlmoFamily;
extern const Family kOlmo2Family;
extern const Family kOlmo3Family;
extern const Family kOptFamily;
extern const Family kPersimmonFamily;
extern const Family kPhiFamily;
extern const Family kPhi3Family;
extern const Family kQwen2Family;
extern const Family kQwen3Family;
extern const Family kSeedOssFamily;
extern const Family kSmollm3Family;
extern const Family kStablelmFamily;
extern const Family kStarcoder2Family;

namespace {

constexpr const Family* kTable[] = {
    &kBaichuanFamily,   &kBloomFamily,      &kChatglmFamily,
    &kCodegenFamily,    &kCohereFamily,     &kCohere2Family,
    &kErnie45Family,    &kExaone4Family,    &kFalconFamily,
    &kGemmaFamily,      &kGemma2Family,     &kGemma3Family,
    &kGemma3TextFamily, &kGlmFamily,        &kGlm4Family,
    &kGpt2Family,       &kGptNeoFamily,     &kGptNeoxFamily,
    &kGptjFamily,       &kGraniteFamily,    &kHunyuanV1DenseFamily,
    &kInternlm2Family,  &kInternlm3Family,  &kLlamaFamily,
    &kMinicpmFamily,    &kMinistralFamily,  &kMinistral3Family,
    &kMistralFamily,    &kMistral3Family,   &kMptFamily,
    &kNemotronFamily,   &kOlmoFamily,       &kOlmo2Family,
    &kOlmo3Family,      &kOptFamily,        &kPersimmonFamily,
    &kPhiFamily,        &kPhi3Family,       &kQwen2Family,
    &kQwen3Family,      &kSeedOssFamily,    &kSmollm3Family,
    &kStablelmFamily,   &kStarcoder2Family,
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
