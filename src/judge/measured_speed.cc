// Only what the judge shows is kept: one context, one batch.
#include "judge/measured_speed.h"

#include <nlohmann/json.hpp>

#include "io/json.h"

namespace qualm {
namespace {

Json ToJson(const Spread& spread) {
  return {{"median", spread.median},
          {"lowest", spread.lowest},
          {"highest", spread.highest},
          {"n", spread.n}};
}

Spread SpreadAt(const Json& json, const char* key, const std::string& place) {
  const Json& spread = GetChild(json, key, place);
  return {GetDouble(spread, "median", place), GetDouble(spread, "lowest", place),
          GetDouble(spread, "highest", place), static_cast<size_t>(GetInt(spread, "n", place))};
}

}  // namespace

std::string TextOf(const SpeedResult& speed) {
  const SpeedPoint& point = speed.points.front();
  const Json json = {{"load_seconds", ToJson(speed.load_seconds)},
                     {"weight_bytes", speed.weight_bytes},
                     {"steady_memory_bytes", speed.steady_memory_bytes},
                     {"peak_memory_bytes", speed.peak_memory_bytes},
                     {"prompt_tokens", point.context},
                     {"prefill_tokens_per_s", ToJson(point.prefill)},
                     {"decode_tokens_per_s", ToJson(point.decode)}};
  return json.dump();
}

SpeedResult SpeedOf(const std::string& text, const std::string& place) {
  const Json json = ParseJson(text, place);
  SpeedResult speed;
  speed.load_seconds = SpreadAt(json, "load_seconds", place);
  speed.weight_bytes = static_cast<uint64_t>(GetInt(json, "weight_bytes", place));
  speed.steady_memory_bytes = static_cast<uint64_t>(GetInt(json, "steady_memory_bytes", place));
  speed.peak_memory_bytes = static_cast<uint64_t>(GetInt(json, "peak_memory_bytes", place));
  SpeedPoint& point = speed.points.emplace_back();
  point.context = static_cast<size_t>(GetInt(json, "prompt_tokens", place));
  point.prefill = SpreadAt(json, "prefill_tokens_per_s", place);
  point.decode = SpreadAt(json, "decode_tokens_per_s", place);
  return speed;
}

}  // namespace qualm
