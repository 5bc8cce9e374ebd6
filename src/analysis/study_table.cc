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
    for (const CellRun& run : plan_.cells) {
      ++table_.runs;
      if (!Add(run)) ++table_.missing_runs;
    }
    for (Cell& cell : table_.cells) Finish(cell);
    return std::move(table_);
  }

 private:
  // A condition on a test, whatever the seed.
  static std::string NameOf(const CellRun& run) {
    return StrCat(run.model, "\n", run.recipe, "\n", run.calibration, "\n", run.test);
  }

  // Null if the float model was not evaluated on the run's test.
  const EvaluationData* FloatData(const CellRun& run) const {
    const auto found = float_data_.find(StrCat(run.model, "\n", run.test));
    return found == float_data_.end() ? nullptr : &found->second;
  }

  // Adds one evaluation to its cell. False if it is not done, or if there is no float model's
  // evaluation of the same items to compare it with.
  bool Add(const CellRun& run) {
    const std::optional<StageRecord> record = work_.ReadRecord(run.evaluate);
    if (!record || !record->is_done()) return false;
    EvaluationData data = EvaluationOf(record->outcome, plan_.spec.task_loss, record->label);
    if (run.recipe == "float") float_data_[StrCat(run.model, "\n", run.test)] = data;

    // Differences need the same items in the same order.
    const EvaluationData* reference = FloatData(run);
    if (reference == nullptr || reference->loss.size() != data.loss.size() ||
        reference->cluster != data.cluster) {
      return false;
    }

    // Excess loss is paired: the same item on both models, before anything is summed.
    Cell& cell = CellOf(run, data);
    std::vector<double> excess(data.loss.size());
    for (size_t i = 0; i < excess.size(); ++i) excess[i] = data.loss[i] - reference->loss[i];
    cell.loss.AddSeed(ByCluster(data, data.loss));
    cell.excess.AddSeed(ByCluster(data, excess));

    cell.seeds.push_back(run.seed);
    cell.scores.push_back(data.score);
    cell.float_score = reference->score;
    cell.evaluate_keys.push_back(run.evaluate);
    if (!run.quantize.empty()) cell.quantize_keys.push_back(run.quantize);
    AddDistances(data, *reference, cell);
    AddOverlap(data, cell);
    AddArtefact(run, cell);
    return true;
  }

  // The cell of this condition and test, made when its first run arrives.
  Cell& CellOf(const CellRun& run, const EvaluationData& data) {
    const auto [found, is_new] = index_.emplace(NameOf(run), table_.cells.size());
    if (!is_new) return table_.cells[found->second];
    Cell cell;
    cell.model = run.model;
    cell.recipe = run.recipe;
    cell.calibration = run.calibration;
    cell.test = run.test;
    cell.relation = run.relation;
    cell.metric = data.metric;
    cell.is_text = data.is_text;
    cell.is_share = data.is_share;
    cell.items = data.loss.size();
    cell.baseline = data.baseline;
    cell.loss = LossTable(ByCluster(data, std::vector<double>(data.loss.size(), 1)));
    cell.excess = cell.loss;

    // NaN until a stage has measured it.
    cell.overlap = cell.bits = cell.model_bits = kNone;
    cell.decode_tokens_per_s = cell.decode_low = cell.decode_high = kNone;
    table_.cells.push_back(std::move(cell));
    return table_.cells.back();
  }

  // Adds distances to the float model's answers. These are sums over seeds; Finish makes means of
  // them.
  static void AddDistances(const EvaluationData& data, const EvaluationData& reference,
                           Cell& cell) {
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

    cell.kl += kl;
    cell.kl_error += kl_error;
    cell.same_top1 += data.same_top1;

    // Flips are counted against the float model; ties are reported once, as the worst seed has
    // them.
    size_t ties = 0;
    for (size_t i = 0; i < data.right.size(); ++i) {
      cell.right_to_wrong += reference.right[i] != 0 && data.right[i] == 0 ? 1 : 0;
      cell.wrong_to_right += reference.right[i] == 0 && data.right[i] != 0 ? 1 : 0;
      ties += data.near_tie[i];
    }
    cell.near_ties = std::max(cell.near_ties, ties);
  }

  // The largest share of the test's 13-grams that any seed's calibration text contains.
  static void AddOverlap(const EvaluationData& data, Cell& cell) {
    if (data.overlap_grams == 0) return;
    const double share =
        static_cast<double>(data.overlap_found) / static_cast<double>(data.overlap_grams);
    cell.overlap = std::isnan(cell.overlap) ? share : std::max(cell.overlap, share);
  }

  // Bits and speed come from the first seed that has them.
  void AddArtefact(const CellRun& run, Cell& cell) {
    if (!run.quantize.empty() && std::isnan(cell.bits)) {
      if (const auto* quantized = OutcomeOf<QuantizeOutcome>(run.quantize)) {
        cell.bits = quantized->bits_per_weight;
        cell.model_bits = quantized->bits_per_weight_model;
      }
    }

    // All cells of a recipe refer to one measurement, and a study may ask for none.
    if (!run.measure.empty() && std::isnan(cell.decode_tokens_per_s)) {
      if (const auto* measured = OutcomeOf<MeasureOutcome>(run.measure)) {
        cell.decode_tokens_per_s = measured->decode.median;
        cell.decode_low = measured->decode.lowest;
        cell.decode_high = measured->decode.highest;
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
  static void Finish(Cell& cell) {
    const double seeds = static_cast<double>(cell.seeds.size());
    for (double* sum :
         {&cell.kl, &cell.kl_error, &cell.same_top1, &cell.right_to_wrong, &cell.wrong_to_right}) {
      *sum /= seeds;
    }

    // The float model has no distance from itself.
    if (cell.recipe == "float") cell.kl = cell.kl_error = cell.same_top1 = kNone;
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
  for (const Cell& cell : cells) {
    if (cell.model == model && cell.recipe == recipe && cell.calibration == calibration &&
        cell.test == test) {
      return &cell;
    }
  }
  return nullptr;
}

StudyTable ReadStudyTable(const StudyPlan& plan, const WorkFolder& work) {
  return TableReader(plan, work).Run();
}

}  // namespace qualm
