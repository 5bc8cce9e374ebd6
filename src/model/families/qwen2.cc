// Qwen2 and Qwen2.5 (model_type "qwen2"): biases on q, k and v; a sliding window only if
// use_sliding_window says so, and then only in the blocks from max_window_layers on.
#include "base/error.h"
#include "base/strings.h"
#include "model/families/families.h"

namespace qualm {
namespace {

void Complete(const Json& json, std::string_view place, ModelConfig& config) {
  config.qkv_bias = true;
  if (!GetBool(json, "use_sliding_window", place, false)) return;
  if (HasNull(json, "sliding_window")) return;
  int64_t window = GetInt(json, "sliding_window", place, 4096);
  int64_t first = GetInt(json, "max_window_layers", place, 28);
  if (window < 1 || first < 0) {
    ThrowBadInput(StrCat(place, ":sliding_window"), "a positive size and max_window_layers >= 0",
                  StrCat(window, " and ", first));
  }
  config.sliding_window = static_cast<size_t>(window);
  config.first_window_layer = static_cast<size_t>(first);
}

}  // namespace

const Family& Qwen2Family() {
  static const Family family = [] {
    Family qwen2 = StandardFamily("qwen2", Complete);
    qwen2.default_context = 32768;
    return qwen2;
  }();
  return family;
}

}  // namespace qualm
