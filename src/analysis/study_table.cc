// Reads a study's table from the records of its stages: JSON columns come in, loss tables by
// condition go out. Losses are kept as differences from the float model on the same items, because
// every later test is paired.
#include "analysis/study_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/strings.h"
#include "evaluate/comparison.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kMostItems = size_t{1} << 32;

// A list of numbers; null is NaN.
std::vector<double> NumbersOf(const Json& list, std::string_view place) {
  std::vector<double> numbers;
  for (const Json& one : list) {
    if (!one.is_number() && !one.is_null()) {
      ThrowBadInput(place, "a list of numbers", one.type_name());
    }
    numbers.push_back(one.is_null() ? kNone : one.get<double>());
  }
  return numbers;
}

// The number at `index`, or NaN if the list has none.
double NumberAt(const Json& list, size_t index) {
  return list.is_array() && index < list.size() && list[index].is_number()
             ? list[index].get<double>()
             : kNone;
}

// Minus the logarithm of the right choice's probability among all choices.
double ChoiceNll(const std::vector<double>& choices, size_t gold) {
  const double largest = *std::ranges::max_element(choices);
  double sum = 0;
  for (double value : choices) sum += std::exp(value - largest);
  return largest + std::log(sum) - choices.at(gold);
}

// A text: windows are its items, and their losses are negative log-likelihoods.
void ReadTextItems(const Json& result, const std::string& place, EvaluationData& data) {
  const Json& items = GetChild(result, "items", place);
  data.is_text = true;
  data.metric = "ppl";
  data.loss = NumbersOf(GetChild(items, "loss", place), place);
  data.weight = NumbersOf(GetChild(items, "weight", place), place);
  data.score = NumberAt(GetChild(result, "ppl", place), 0);
  data.score_error = NumberAt(GetChild(result, "ppl", place), 1);

  // Distances are recorded only if the float model was evaluated too.
  if (result.contains("distance")) {
    const Json& distance = result["distance"];
    data.kl = NumberAt(GetChild(distance, "kl", place), 0);
    data.kl_error = NumberAt(GetChild(distance, "kl", place), 1);
    data.same_top1 = NumberAt(GetChild(distance, "same_top1", place), 0);
  }
}

// A task: its losses are -log p of the right choice if the study asks for that and the item has
// choices; otherwise 1 - value of the main metric.
void ReadTaskItems(const Json& result, const std::string& place, TaskLoss loss,
                   EvaluationData& data) {
  const Json& items = GetChild(result, "items", place);
  data.metric = GetString(result, "metric", place);
  data.value = NumbersOf(GetChild(items, "value", place), place);
  const std::vector<double> gold = NumbersOf(GetChild(items, "gold", place), place);

  for (double right : NumbersOf(GetChild(items, "right", place), place)) {
    data.right.push_back(right != 0 ? 1 : 0);
  }
  for (double tie : NumbersOf(GetChild(items, "near_tie", place), place)) {
    data.near_tie.push_back(tie != 0 ? 1 : 0);
  }
  if (items.contains("log_likelihoods")) {
    for (const Json& one : items["log_likelihoods"]) data.choices.push_back(NumbersOf(one, place));
  }

  // Only items with several choices and a known right one have a probability to lose.
  for (size_t i = 0; i < data.value.size(); ++i) {
    const bool has_choices = i < data.choices.size() && data.choices[i].size() > 1 &&
                             i < gold.size() && gold[i] >= 0 &&
                             gold[i] < static_cast<double>(data.choices[i].size());
    const bool is_nats = loss == TaskLoss::kNll && has_choices;
    data.is_share |= !is_nats;
    data.loss.push_back(is_nats ? ChoiceNll(data.choices[i], static_cast<size_t>(gold[i]))
                                : 1 - data.value[i]);
  }

  // Items count the same; the main metric's score is taken from the list of all metrics.
  data.weight.assign(data.loss.size(), 1);
  for (const Json& score : GetChild(result, "scores", place)) {
    if (GetString(score, "metric", place) != data.metric) continue;
    data.score = GetDouble(score, "value", place, kNone);
    data.score_error = GetDouble(score, "stderr", place, kNone);
    data.baseline = GetDouble(score, "baseline", place, kNone);
    break;
  }
}

// One weighted sum for each cluster.
std::vector<double> ByCluster(const EvaluationData& data, const std::vector<double>& values) {
  const size_t clusters = *std::ranges::max_element(data.cluster) + 1;
  std::vector<double> sums(clusters, 0);
  for (size_t i = 0; i < values.size(); ++i) sums[data.cluster[i]] += data.weight[i] * values[i];
  return sums;
}

// Numbers the clusters from 0 without gaps. A single cluster says nothing about others, so in that
// case every item becomes its own cluster.
void NumberClusters(EvaluationData& data) {
  std::map<size_t, size_t> numbers;
  // A new cluster gets the next number, a known one keeps its own.
  for (size_t& cluster : data.cluster)
    cluster = numbers.emplace(cluster, numbers.size()).first->second;
  if (numbers.size() > 1) return;
  for (size_t i = 0; i < data.cluster.size(); ++i) data.cluster[i] = i;
}

// Builds the table of one study: Run reads what the stages recorded, adds the cells one by one in
// the plan's order (the float model's first, because all others are compared with it), and finally
// turns sums over seeds into means.
class TableReader {
 public:
  TableReader(const StudyPlan& plan, const WorkFolder& work) : plan_(plan), work_(work) {
    table_.plan = &plan;
  }

  StudyTable Run() {
    std::set<std::string> processors;

    // Stages that failed are listed, not thrown: the rest of the table is still worth reading.
    for (const Stage& stage : plan_.stages) {
      const std::optional<StageRecord> record = work_.ReadRecord(stage.key, false);
      if (!record) continue;
      table_.seconds += record->seconds;
      if (!record->is_done()) table_.failures.push_back(StrCat(record->label, ": ", record->error));
      if (record->is_done() && !record->processor.empty()) processors.insert(record->processor);
    }
    table_.processors.assign(processors.begin(), processors.end());

    // The plan names the float model's cells first.
    for (const StudyCell& cell : plan_.cells) {
      ++table_.cells;
      if (!Add(cell)) ++table_.missing_cells;
    }
    for (Group& group : table_.groups) Finish(group);
    return std::move(table_);
  }

 private:
  static std::string NameOf(const StudyCell& cell) {
    return StrCat(cell.model, "\n", cell.recipe, "\n", cell.calibration, "\n", cell.test);
  }

  const EvaluationData* FloatData(const StudyCell& cell) const {
    const auto found = float_data_.find(StrCat(cell.model, "\n", cell.test));
    return found == float_data_.end() ? nullptr : &found->second;
  }

  // Adds one evaluation to its group. False if it is not done, or if there is no float model's
  // evaluation of the same items to compare it with.
  bool Add(const StudyCell& cell) {
    const std::optional<StageRecord> record = work_.ReadRecord(cell.evaluate);
    if (!record || !record->is_done()) return false;
    EvaluationData data = EvaluationFromRecord(*record, plan_.spec.task_loss);

    // The float model's evaluation is kept as the reference of all later cells.
    if (cell.recipe == "float") float_data_[StrCat(cell.model, "\n", cell.test)] = data;
    const EvaluationData* reference = FloatData(cell);
    if (reference == nullptr || reference->loss.size() != data.loss.size() ||
        reference->cluster != data.cluster) {
      return false;
    }

    // The excess of an item is its loss minus the float model's loss on it.
    Group& group = GroupOf(cell, data);
    std::vector<double> excess(data.loss.size());
    for (size_t i = 0; i < excess.size(); ++i) excess[i] = data.loss[i] - reference->loss[i];
    group.loss.AddSeed(ByCluster(data, data.loss));
    group.excess.AddSeed(ByCluster(data, excess));
    group.seeds.push_back(cell.seed);
    group.scores.push_back(data.score);
    group.float_score = reference->score;
    group.evaluate_keys.push_back(cell.evaluate);
    if (!cell.quantize.empty()) group.quantize_keys.push_back(cell.quantize);
    AddDistances(data, *reference, group);
    AddOverlap(data, group);
    AddArtefact(cell, group);
    return true;
  }

  // The group of this condition and test, made when its first cell arrives.
  Group& GroupOf(const StudyCell& cell, const EvaluationData& data) {
    const auto [found, is_new] = index_.emplace(NameOf(cell), table_.groups.size());
    if (!is_new) return table_.groups[found->second];
    Group group;
    group.model = cell.model;
    group.recipe = cell.recipe;
    group.calibration = cell.calibration;
    group.test = cell.test;
    group.relation = cell.relation;
    group.metric = data.metric;
    group.is_text = data.is_text;
    group.is_share = data.is_share;
    group.items = data.loss.size();
    group.baseline = data.baseline;
    group.loss = LossTable(ByCluster(data, std::vector<double>(data.loss.size(), 1)));
    group.excess = group.loss;

    // NaN until a stage has measured it.
    group.overlap = group.bits = group.model_bits = kNone;
    group.decode_tokens_per_s = group.decode_low = group.decode_high = kNone;
    table_.groups.push_back(std::move(group));
    return table_.groups.back();
  }

  // Adds distances to the float model's answers. These are sums over seeds; Finish makes means of
  // them.
  static void AddDistances(const EvaluationData& data, const EvaluationData& reference,
                           Group& group) {
    double kl = data.kl, kl_error = data.kl_error;

    // With choices, the distance is the mean divergence over items.
    if (!data.choices.empty() && data.choices.size() == reference.choices.size()) {
      double sum = 0, squares = 0;
      for (size_t i = 0; i < data.choices.size(); ++i) {
        if (data.choices[i].size() < 2 || data.choices[i].size() != reference.choices[i].size()) {
          continue;
        }
        const double one = KlOfChoices(reference.choices[i], data.choices[i]);
        sum += one;
        squares += one * one;
      }
      const double n = static_cast<double>(data.choices.size());
      kl = sum / n;
      kl_error = n > 1 ? std::sqrt(std::max(0.0, squares / n - kl * kl) / (n - 1)) : kNone;
    }

    group.kl += kl;
    group.kl_error += kl_error;
    group.same_top1 += data.same_top1;

    // Count the items on which the two models disagree.
    size_t ties = 0;
    for (size_t i = 0; i < data.right.size(); ++i) {
      group.right_to_wrong += reference.right[i] != 0 && data.right[i] == 0 ? 1 : 0;
      group.wrong_to_right += reference.right[i] == 0 && data.right[i] != 0 ? 1 : 0;
      ties += data.near_tie[i];
    }
    group.near_ties = std::max(group.near_ties, ties);
  }

  // The largest share of the test's 13-grams that any seed's calibration text contains.
  static void AddOverlap(const EvaluationData& data, Group& group) {
    if (data.overlap_grams == 0) return;
    const double share =
        static_cast<double>(data.overlap_found) / static_cast<double>(data.overlap_grams);
    group.overlap = std::isnan(group.overlap) ? share : std::max(group.overlap, share);
  }

  // Bits and speed come from the first seed that has them.
  void AddArtefact(const StudyCell& cell, Group& group) {
    if (!cell.quantize.empty() && std::isnan(group.bits)) {
      const Json result = ResultOf(cell.quantize);
      if (!result.is_null()) {
        group.bits = GetDouble(result, "bits_per_weight", cell.quantize);
        group.model_bits = GetDouble(result, "bits_per_weight_model", cell.quantize);
      }
    }

    if (!cell.measure.empty() && std::isnan(group.decode_tokens_per_s)) {
      const Json result = ResultOf(cell.measure);
      if (result.is_null()) return;
      const Json& decode = GetChild(result, "decode_tokens_per_s", cell.measure);
      group.decode_tokens_per_s = GetDouble(decode, "median", cell.measure);
      group.decode_low = GetDouble(decode, "lowest", cell.measure);
      group.decode_high = GetDouble(decode, "highest", cell.measure);
    }
  }

  // The result of a stage, read once; null if the stage is not done.
  Json ResultOf(const std::string& key) {
    const auto found = results_.find(key);
    if (found != results_.end()) return found->second;
    const std::optional<StageRecord> record = work_.ReadRecord(key);
    Json& result = results_[key];
    if (record && record->is_done()) result = record->result;
    return result;
  }

  // Turns the sums of AddDistances into means over seeds.
  static void Finish(Group& group) {
    const double seeds = static_cast<double>(group.seeds.size());
    for (double* sum : {&group.kl, &group.kl_error, &group.same_top1, &group.right_to_wrong,
                        &group.wrong_to_right}) {
      *sum /= seeds;
    }

    // The float model has no distance from itself.
    if (group.recipe == "float") group.kl = group.kl_error = group.same_top1 = kNone;
  }

  const StudyPlan& plan_;
  const WorkFolder& work_;
  StudyTable table_;
  std::map<std::string, size_t> index_;  // by condition and test: index in table_.groups
  std::map<std::string, EvaluationData> float_data_;  // by model and test
  std::map<std::string, Json> results_;               // by stage key
};

}  // namespace

EvaluationData EvaluationFromRecord(const StageRecord& record, TaskLoss loss) {
  const std::string& place = record.label;
  EvaluationData data;
  data.kl = data.kl_error = data.same_top1 = data.baseline = kNone;
  data.score = data.score_error = kNone;
  const Json& result = record.result;
  if (GetString(result, "kind", place) == "text") {
    ReadTextItems(result, place, data);
  } else {
    ReadTaskItems(result, place, loss, data);
  }

  // Clusters are checked before they are used as indices.
  for (double cluster :
       NumbersOf(GetChild(GetChild(result, "items", place), "cluster", place), place)) {
    if (!(cluster >= 0 && cluster < static_cast<double>(kMostItems))) {
      ThrowBadInput(place, "clusters that are numbers of items", StrCat(cluster));
    }
    data.cluster.push_back(static_cast<size_t>(cluster));
  }

  // All columns must have one entry per item.
  const size_t n = data.loss.size();
  const bool fits = n > 0 && data.weight.size() == n && data.cluster.size() == n &&
                    std::ranges::all_of(data.cluster, [&](size_t c) { return c < n; }) &&
                    (data.is_text || (data.right.size() == n && data.near_tie.size() == n));
  if (!fits) ThrowBadInput(place, StrCat("columns of ", n, " items"), "others");
  NumberClusters(data);
  if (result.contains("overlap")) {
    data.overlap_grams = static_cast<size_t>(GetInt(result["overlap"], "grams", place));
    data.overlap_found = static_cast<size_t>(GetInt(result["overlap"], "found", place));
  }
  return data;
}

const Group* StudyTable::Find(const std::string& model, const std::string& recipe,
                              const std::string& calibration, const std::string& test) const {
  for (const Group& group : groups) {
    if (group.model == model && group.recipe == recipe && group.calibration == calibration &&
        group.test == test) {
      return &group;
    }
  }
  return nullptr;
}

StudyTable ReadStudyTable(const StudyPlan& plan, const WorkFolder& work) {
  return TableReader(plan, work).Run();
}

}  // namespace qualm
