// Mistral (model_type "mistral"): LLaMA with a sliding attention window in every block.
#include "base/error.h"
#include "base/strings.h"
#include "model/families/families.h"

namespace qualm {
namespace {

void Complete(const Json& json, std::string_view place, ModelConfig& config) {
  // The published default when the key is missing is 4096; an explicit null turns the window off.
  int64_t window =
      GetInt(json, "sliding_window", place, HasNull(json, "sliding_window") ? 0 : 4096);
  if (window < 0)
    ThrowBadInput(StrCat(place, ":sliding_window"), "a positive size", StrCat(window));
  if (window > 0) config.sliding_window = static_cast<size_t>(window);
}

}  // namespace

const Family& MistralFamily() {
  static const Family family = [] {
    Family mistral = StandardFamily("mistral", Complete);
    mistral.default_context = 131072;
    mistral.default_kv_heads = 8;
    return mistral;
  }();
  return family;
}

}  // namespace qualm
