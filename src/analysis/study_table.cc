// Reads the typed outcomes of a study's stages and makes cells of them. A cell is a condition on
// a test, over all of its seeds: losses by item and seed, differences from the float model,
// distances, bits and speed.
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

// -log of the right choice's probability among the choices, without overflow.
double ChoiceNll(const std::vector<double>& choices, size_t gold) {
  const double largest = *std::ranges::max_element(choices);
  double sum = 0;
  for (double value : choices) sum += std::exp(value - largest);
  return largest + std::log(sum) - choices.at(gold);
}

// A window's loss is its mean negative log-likelihood; its weight is what the protocol gives it.
void ReadText(const TextOutcome& outcome, EvaluationData& data) {
  data.is_text = true;
  data.metric = "ppl";
  data.loss = outcome.items.loss;
  data.weight = outcome.items.weight;
  data.cluster = outcome.items.cluster;
  data.score = outcome.ppl.value;
  data.score_error = outcome.ppl.standard_error;

  if (!outcome.distance) return;
  data.kl = outcome.distance->kl.value;
  data.kl_error = outcome.distance->kl.standard_error;
  data.same_top1 = outcome.distance->same_top1.value;
}

// The loss of a row in nats, if the study asks for it and the row has choices.
std::optional<double> NatsOf(const RowColumns& items, size_t item, TaskLoss loss) {
  if (loss != TaskLoss::kNll || items.log_likelihoods.empty()) return std::nullopt;
  const std::vector<double>& choices = items.log_likelihoods[item];
  const int64_t gold = items.gold[item];
  if (choices.size() < 2 || gold < 0 || gold >= static_cast<int64_t>(choices.size())) {
    return std::nullopt;
  }
  return ChoiceNll(choices, static_cast<size_t>(gold));
}

// Losses of rows are in nats or, for every row that has none, 1 minus the row's value.
void ReadRows(const RowsOutcome& outcome, TaskLoss loss, EvaluationData& data) {
  const RowColumns& items = outcome.items;
  data.metric = outcome.metric;
  data.value = items.value;
  data.right = items.right;
  data.near_tie = items.near_tie;
  data.choices = items.log_likelihoods;
  data.cluster = items.cluster;

  for (size_t i = 0; i < items.value.size(); ++i) {
    const std::optional<double> nats = NatsOf(items, i, loss);
    data.is_share |= !nats;
    data.loss.push_back(nats ? *nats : 1 - items.value[i]);
  }

  // Items weigh the same. The main metric's score comes from the list of all metrics.
  data.weight.assign(data.loss.size(), 1);

  for (const ScoreOutcome& score : outcome.scores) {
    if (score.metric != data.metric) continue;
    data.score = score.value;
    data.score_error = score.standard_error;
    data.baseline = score.baseline;
    break;
  }
}

// One weighted sum for each cluster: the analysis resamples clusters, not items.
std::vector<double> ByCluster(const EvaluationData& data, const std::vector<double>& values) {
  const size_t clusters = *std::ranges::max_element(data.cluster) + 1;
  std::vector<double> sums(clusters, 0);
  for (size_t i = 0; i < values.size(); ++i) sums[data.cluster[i]] += data.weight[i] * values[i];
  return sums;
}

// Numbers the clusters from 0 without gaps. A single cluster says nothing about others, so in that
// case every item becomes its own cluster.
void NumberClusters(EvaluationData& data) {
  std::map<uint64_t, uint64_t> numbers;
  for (uint64_t& cluster : data.cluster) {
    cluster = numbers.emplace(cluster, numbers.size()).first->second;
  }
  if (numbers.size() > 1) return;
  for (size_t i = 0; i < data.cluster.size(); ++i) data.cluster[i] = i;
}

// Reads the records run by run. Run is called once. The float model's runs come first in a plan,
// so that all later ones find what they are compared with. A cell is made with its first run,
// filled seed by seed, and finished at the end.
class TableReader {
 public:
  TableReader(const StudyPlan& plan, const WorkFolder& work) : plan_(plan), work_(work) {
    table_.plan = &plan;
  }

  StudyTable Run() {
    // Time, failures and processors are in the heads of the records; results are not read for them.
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

    // Cells without a result are counted, because a table with holes must say so.
    for (const CellRun& cell : plan_.cells) {
      ++table_.runs;
      if (!Add(cell)) ++table_.missing_runs;
    }
    for (Cell& group : table_.cells) Finish(group);
    return std::move(table_);
  }

 private:
  // A condition on a test, whatever the seed.
  static std::string NameOf(const CellRun& cell) {
    return StrCat(cell.model, "\n", cell.recipe, "\n", cell.calibration, "\n", cell.test);
  }

  // Null if the float model was not evaluated on the cell's test.
  const EvaluationData* FloatData(const CellRun& cell) const {
    const auto found = float_data_.find(StrCat(cell.model, "\n", cell.test));
    return found == float_data_.end() ? nullptr : &found->second;
  }

  // Adds one evaluation to its group. False if it is not done, or if there is no float model's
  // evaluation of the same items to compare it with.
  bool Add(const CellRun& cell) {
    const std::optional<StageRecord> record = work_.ReadRecord(cell.evaluate);
    if (!record || !record->is_done()) return false;
    EvaluationData data = EvaluationOf(record->outcome, plan_.spec.task_loss, record->label);
    if (cell.recipe == "float") float_data_[StrCat(cell.model, "\n", cell.test)] = data;

    // Differences need the same items in the same order.
    const EvaluationData* reference = FloatData(cell);
    if (reference == nullptr || reference->loss.size() != data.loss.size() ||
        reference->cluster != data.cluster) {
      return false;
    }

    // Excess loss is paired: the same item on both models, before anything is summed.
    Cell& group = GroupOf(cell, data);
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
  Cell& GroupOf(const CellRun& cell, const EvaluationData& data) {
    const auto [found, is_new] = index_.emplace(NameOf(cell), table_.cells.size());
    if (!is_new) return table_.cells[found->second];
    Cell group;
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
    table_.cells.push_back(std::move(group));
    return table_.cells.back();
  }

  // Adds distances to the float model's answers. These are sums over seeds; Finish makes means of
  // them.
  static void AddDistances(const EvaluationData& data, const EvaluationData& reference,
                           Cell& group) {
    // Of tasks the divergence is over the choices of each row.
    double kl = data.kl, kl_error = data.kl_error;

    // With choices, the distance is the mean divergence over items.
    if (!data.choices.empty() && data.choices.size() == reference.choices.size()) {
      double sum = 0, squares = 0;
      for (size_t i = 0; i < data.choices.size(); ++i) {
        if (data.choices[i].size() < 2 || data.choices[i].size() != reference.choices[i].size()) {
          continue;
        }
        const double divergence = KlOfChoices(reference.choices[i], data.choices[i]);
        sum += divergence;
        squares += divergence * divergence;
      }
      const double n = static_cast<double>(data.choices.size());
      kl = sum / n;
      kl_error = n > 1 ? std::sqrt(std::max(0.0, squares / n - kl * kl) / (n - 1)) : kNone;
    }

    group.kl += kl;
    group.kl_error += kl_error;
    group.same_top1 += data.same_top1;

    // Flips are counted against the float model; ties are reported once, as the worst seed has
    // them.
    size_t ties = 0;
    for (size_t i = 0; i < data.right.size(); ++i) {
      group.right_to_wrong += reference.right[i] != 0 && data.right[i] == 0 ? 1 : 0;
      group.wrong_to_right += reference.right[i] == 0 && data.right[i] != 0 ? 1 : 0;
      ties += data.near_tie[i];
    }
    group.near_ties = std::max(group.near_ties, ties);
  }

  // The largest share of the test's 13-grams that any seed's calibration text contains.
  static void AddOverlap(const EvaluationData& data, Cell& group) {
    if (data.overlap_grams == 0) return;
    const double share =
        static_cast<double>(data.overlap_found) / static_cast<double>(data.overlap_grams);
    group.overlap = std::isnan(group.overlap) ? share : std::max(group.overlap, share);
  }

  // Bits and speed come from the first seed that has them.
  void AddArtefact(const CellRun& cell, Cell& group) {
    if (!cell.quantize.empty() && std::isnan(group.bits)) {
      if (const auto* quantized = OutcomeOf<QuantizeOutcome>(cell.quantize)) {
        group.bits = quantized->bits_per_weight;
        group.model_bits = quantized->bits_per_weight_model;
      }
    }

    // All cells of a recipe refer to one measurement, and a study may ask for none.
    if (!cell.measure.empty() && std::isnan(group.decode_tokens_per_s)) {
      if (const auto* measured = OutcomeOf<MeasureOutcome>(cell.measure)) {
        group.decode_tokens_per_s = measured->decode.median;
        group.decode_low = measured->decode.lowest;
        group.decode_high = measured->decode.highest;
      }
    }
  }

  // The outcome of a stage, read once. Null if the stage is not done.
  template <class Outcome>
  const Outcome* OutcomeOf(const std::string& key) {
    const auto [found, is_new] = outcomes_.try_emplace(key);
    if (is_new) {
      if (std::optional<StageRecord> record = work_.ReadRecord(key)) {
        found->second = std::move(record->outcome);
      }
    }
    return std::get_if<Outcome>(&found->second);
  }

  // Turns the sums of AddDistances into means over seeds.
  static void Finish(Cell& group) {
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
  std::map<std::string, size_t> index_;
  std::map<std::string, EvaluationData> float_data_;
  std::map<std::string, StageOutcome> outcomes_;  // by key
};

}  // namespace

EvaluationData EvaluationOf(const StageOutcome& outcome, TaskLoss loss, std::string_view place) {
  // What an outcome does not have stays NaN.
  EvaluationData data;
  data.kl = data.kl_error = data.same_top1 = data.baseline = kNone;
  data.score = data.score_error = kNone;
  std::optional<OverlapOutcome> overlap;
  if (const auto* text = std::get_if<TextOutcome>(&outcome)) {
    ReadText(*text, data);
    overlap = text->overlap;
  } else if (const auto* rows = std::get_if<RowsOutcome>(&outcome)) {
    ReadRows(*rows, loss, data);
    overlap = rows->overlap;
  } else {
    ThrowBadInput(place, "the outcome of a test", "another kind of stage");
  }

  NumberClusters(data);
  if (overlap) {
    data.overlap_grams = overlap->grams;
    data.overlap_found = overlap->found;
  }
  return data;
}

const Cell* StudyTable::Find(const std::string& model, const std::string& recipe,
                             const std::string& calibration, const std::string& test) const {
  for (const Cell& group : cells) {
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
