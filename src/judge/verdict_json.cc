// Every number with its standard error and n; what is not there is null.
#include "judge/verdict_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace qualm {
namespace {

Json ToJson(const Estimate& estimate) {
  return {{"value", NumberOrNull(estimate.value)},
          {"stderr", NumberOrNull(estimate.standard_error)}};
}

Json ToJson(const Comparison& comparison) {
  return {{"delta_log_ppl", ToJson(comparison.delta_log_ppl)},
          {"kl_mean", ToJson(comparison.kl_mean)},
          {"kl_median", ToJson(comparison.kl_median)},
          {"kl_p99", ToJson(comparison.kl_p99)},
          {"kl_p999", ToJson(comparison.kl_p999)},
          {"kl_max", ToJson(comparison.kl_max)},
          {"top1_agreement", ToJson(comparison.top1_agreement)},
          {"rms_delta_p", ToJson(comparison.rms_delta_p)}};
}

Json ToJson(const JudgedText& text) {
  Json json = {{"corpus", text.scores.name},
               {"n", text.scores.windows},
               {"n_tokens", text.scores.targets},
               {"bits_per_byte", ToJson(text.bits_per_byte)},
               {"has_own_tokens", text.has_own_tokens},
               {"ppl", text.has_own_tokens ? Json() : ToJson(text.scores.ppl)},
               {"comparison", Json()},
               {"is_on_front", text.is_on_front}};
  if (text.scores.comparison) json["comparison"] = ToJson(*text.scores.comparison);
  return json;
}

Json ToJson(const JudgedTask& task) {
  return {{"task", task.name},
          {"shots", task.key.shots},
          {"metric", task.score.metric},
          {"value", NumberOrNull(task.score.estimate.value)},
          {"stderr", NumberOrNull(task.score.estimate.standard_error)},
          {"n", task.score.n},
          {"baseline", NumberOrNull(task.score.baseline)},
          {"partial", task.score.is_partial}};
}

Json ToJson(const Spread& spread) {
  return {{"median", spread.median},
          {"lowest", spread.lowest},
          {"highest", spread.highest},
          {"n", spread.n}};
}

Json ToJson(const SpeedResult& speed) {
  const SpeedPoint& point = speed.points.front();
  return {{"load_seconds", ToJson(speed.load_seconds)},
          {"prompt_tokens", point.context},
          {"prefill_tokens_per_s", ToJson(point.prefill)},
          {"decode_tokens_per_s", ToJson(point.decode)},
          {"weight_bytes", speed.weight_bytes},
          {"peak_memory_bytes", speed.peak_memory_bytes}};
}

Json ToJson(const JudgedRow& row) {
  Json json = {{"label", row.label},
               {"path", row.path},
               {"reading", NameOfEnum(row.reading)},
               {"error", row.error.empty() ? Json() : Json(row.error)},
               {"weights", row.weights},
               {"hash", row.hash},
               {"file_bytes", row.file_bytes},
               {"parameters", row.parameters},
               {"bits_per_weight", row.bits_per_weight},
               {"texts", Json::array()},
               {"tasks", Json::array()},
               {"speed", row.speed ? ToJson(*row.speed) : Json()},
               {"notes", row.notes}};
  for (const JudgedText& text : row.texts) json["texts"].push_back(ToJson(text));
  for (const JudgedTask& task : row.tasks) json["tasks"].push_back(ToJson(task));
  return json;
}

}  // namespace

Json VerdictJson(const Verdict& verdict) {
  Json json = {{"format", "qualm-judge 1"},
               {"protocol", verdict.protocol},
               {"protocol_version", verdict.protocol_version},
               {"seqlen", verdict.seqlen},
               {"limit", verdict.limit},
               {"compute_type", "float32"},
               {"machine", verdict.machine},
               {"reference_note", verdict.reference_note},
               {"correction", "Holm, over all pairs and measures"},
               {"rows", Json::array()},
               {"pairs", Json::array()}};
  for (const JudgedRow& row : verdict.rows) json["rows"].push_back(ToJson(row));
  for (const JudgedPair& pair : verdict.pairs) {
    json["pairs"].push_back({{"first", pair.first},
                             {"second", pair.second},
                             {"measure", pair.measure},
                             {"of", pair.of},
                             {"n", pair.test.n},
                             {"difference", NumberOrNull(pair.test.difference.value)},
                             {"stderr", NumberOrNull(pair.test.difference.standard_error)},
                             {"right_to_wrong", pair.test.right_to_wrong},
                             {"wrong_to_right", pair.test.wrong_to_right},
                             {"p", NumberOrNull(pair.test.p)},
                             {"p_holm", NumberOrNull(pair.p_holm)}});
  }
  return json;
}

}  // namespace qualm
