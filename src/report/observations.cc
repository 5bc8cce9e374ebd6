// Writes the study's data for other programs: one row for every item of every cell
// (ObservationTable, as Parquet or CSV), and the summaries as JSON (StudyJson). A number that does
// not exist is null.
#include "report/observations.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/strings.h"
#include "report/html.h"
#include "study/work_folder.h"

namespace qualm {
namespace {

template <typename T>
using Column = ParquetTable::Values<T>;

// The columns of the item table while they are filled; all of them have the same length.
struct Columns {
  Column<std::string> model, recipe, calibration, test, relation, metric;
  Column<int64_t> seed, item, cluster;
  Column<double> weight, loss, float_loss, value, bits;
  Column<bool> is_right, is_near_tie;
};

// Appends the rows of one evaluation.
void AddItems(const CellRun& run, const EvaluationData& data, const EvaluationData& reference,
              double bits, Columns& columns) {
  for (size_t i = 0; i < data.loss.size(); ++i) {
    columns.model.emplace_back(run.model);
    columns.recipe.emplace_back(run.recipe);
    columns.calibration.emplace_back(run.calibration);
    columns.test.emplace_back(run.test);
    columns.relation.emplace_back(RelationName(run.relation));
    columns.metric.emplace_back(data.metric);
    columns.seed.emplace_back(run.seed);
    columns.item.emplace_back(i);
    columns.cluster.emplace_back(static_cast<int64_t>(data.cluster[i]));
    // The float model's loss on the same item makes every row a pair.
    columns.weight.emplace_back(data.weight[i]);
    columns.loss.emplace_back(data.loss[i]);
    columns.float_loss.emplace_back(reference.loss[i]);
    columns.bits.push_back(std::isfinite(bits) ? std::optional(bits) : std::nullopt);

    // A text has windows, which are neither right nor wrong.
    if (data.is_text) {
      columns.value.emplace_back();
      columns.is_right.emplace_back();
      columns.is_near_tie.emplace_back();
    } else {
      columns.value.emplace_back(data.value[i]);
      columns.is_right.emplace_back(data.right[i] != 0);
      columns.is_near_tie.emplace_back(data.near_tie[i] != 0);
    }
  }
}

// An estimate with its uncertainty, and how many seeds and clusters it rests on.
Json ToJson(const Inference& one) {
  return {{"value", NumberOrNull(one.value)},
          {"stderr", NumberOrNull(one.standard_error)},
          {"low", NumberOrNull(one.low)},
          {"high", NumberOrNull(one.high)},
          {"df", NumberOrNull(one.df)},
          {"p", NumberOrNull(one.p)},
          {"effect_size", NumberOrNull(one.effect_size)},
          {"detectable", NumberOrNull(one.detectable)},
          {"seeds", one.seeds},
          {"clusters", one.clusters},
          {"seed_deviation", NumberOrNull(one.seed_deviation)},
          {"seeds_agreeing", one.seeds_agreeing}};
}

// Every cell with its summary and the keys of the stages that it comes from.
Json CellsJson(const ReportData& data) {
  Json cells = Json::array();
  for (const CellSummary& summary : data.analysis.cells) {
    // Names and sizes come from the cell, inferences from the analysis.
    const Cell& cell = data.table.cells[summary.cell];
    cells.push_back({{"model", cell.model},
                     {"recipe", cell.recipe},
                     {"calibration", cell.calibration},
                     {"test", cell.test},
                     {"relation", RelationName(cell.relation)},
                     {"metric", cell.metric},
                     {"items", cell.items},
                     {"seeds", cell.seeds},
                     {"scores", cell.scores},
                     {"float_score", NumberOrNull(cell.float_score)},
                     {"baseline", NumberOrNull(cell.baseline)},
                     // Losses relative to the float model, then other distances.
                     {"excess_loss", ToJson(summary.excess)},
                     {"p_holm", NumberOrNull(summary.p_holm)},
                     {"kl", NumberOrNull(cell.kl)},
                     {"kl_stderr", NumberOrNull(cell.kl_error)},
                     {"same_top1", NumberOrNull(cell.same_top1)},
                     {"right_to_wrong", cell.right_to_wrong},
                     {"wrong_to_right", cell.wrong_to_right},
                     {"near_ties", cell.near_ties},
                     {"overlap", NumberOrNull(cell.overlap)},
                     {"bits_per_weight", NumberOrNull(cell.bits)},
                     {"decode_tokens_per_s", NumberOrNull(cell.decode_tokens_per_s)},
                     // Where the numbers come from.
                     {"evaluate", cell.evaluate_keys},
                     {"quantize", cell.quantize_keys}});
  }
  return cells;
}

// The advice for each model and budget, with all candidates.
Json GuidanceJson(const ReportData& data) {
  Json all = Json::array();
  for (const Guidance& guidance : data.analysis.guidance) {
    // Candidates are already sorted, the best one first.
    Json candidates = Json::array();
    for (const Candidate& one : guidance.candidates) {
      candidates.push_back({{"recipe", one.recipe},
                            {"calibration", one.calibration},
                            {"bits_per_weight", NumberOrNull(one.bits)},
                            {"tokens_per_second", NumberOrNull(one.tokens_per_second)},
                            {"loss", ToJson(one.loss)},
                            {"probability_best", one.probability_best},
                            {"p_worse_holm", NumberOrNull(one.p_worse)},
                            {"is_worse", one.is_worse}});
    }

    // A bound of 0 means that the budget has none.
    all.push_back({{"model", guidance.model},
                   {"bits_per_weight", guidance.budget.bits_per_weight},
                   {"tokens_per_second", guidance.budget.tokens_per_second},
                   {"unit", guidance.unit},
                   {"tests", guidance.tests},
                   {"left_out", guidance.left_out},
                   {"tests_left_out", guidance.tests_left_out},
                   {"is_decided", guidance.is_decided},
                   {"candidates", std::move(candidates)}});
  }
  return all;
}

}  // namespace

ParquetTable ObservationTable(const ReportData& data) {
  Columns columns;

  // The float model's evaluations, by model and test. The plan lists them first.
  std::map<std::string, EvaluationData> references;
  for (const CellRun& run : data.plan.cells) {
    const std::optional<StageRecord> record = data.work.ReadRecord(run.evaluate);
    if (!record || !record->is_done()) continue;
    const EvaluationData one =
        EvaluationOf(record->outcome, data.plan.spec.task_loss, record->label);
    const std::string name = StrCat(run.model, "\n", run.test);
    if (run.recipe == "float") references[name] = one;

    // Cells that the table leaves out have no rows here either.
    const Cell* cell = data.table.Find(run.model, run.recipe, run.calibration, run.test);
    if (cell == nullptr || !references.contains(name)) continue;
    if (references[name].loss.size() != one.loss.size()) continue;
    AddItems(run, one, references[name], cell->bits, columns);
  }

  // observations.h lists the columns in the same order.
  ParquetTable table;
  table.AddColumn("model", std::move(columns.model));
  table.AddColumn("recipe", std::move(columns.recipe));
  table.AddColumn("calibration", std::move(columns.calibration));
  table.AddColumn("seed", std::move(columns.seed));
  table.AddColumn("test", std::move(columns.test));
  table.AddColumn("relation", std::move(columns.relation));
  table.AddColumn("metric", std::move(columns.metric));
  table.AddColumn("item", std::move(columns.item));
  table.AddColumn("cluster", std::move(columns.cluster));
  table.AddColumn("weight", std::move(columns.weight));
  table.AddColumn("loss", std::move(columns.loss));
  table.AddColumn("float_loss", std::move(columns.float_loss));
  table.AddColumn("value", std::move(columns.value));
  table.AddColumn("is_right", std::move(columns.is_right));
  table.AddColumn("is_near_tie", std::move(columns.is_near_tie));
  table.AddColumn("bits_per_weight", std::move(columns.bits));
  return table;
}

// A header line, then a line per row; texts are quoted where CSV needs it.
std::string CsvOf(const ParquetTable& table) {
  std::string text;
  for (size_t c = 0; c < table.columns().size(); ++c) {
    text += StrCat(c == 0 ? "" : ",", CsvField(table.columns()[c].name));
  }
  text += "\n";

  for (size_t row = 0; row < table.rows(); ++row) {
    for (size_t c = 0; c < table.columns().size(); ++c) {
      if (c > 0) text += ',';

      // Columns have different types; a missing value is an empty field.
      std::visit(
          [&](const auto& values) {
            if (!values[row]) return;
            using Value = std::decay_t<decltype(*values[row])>;
            if constexpr (std::is_same_v<Value, std::string>) {
              text += CsvField(*values[row]);
            } else if constexpr (std::is_same_v<Value, bool>) {
              text += *values[row] ? '1' : '0';
            } else {
              text += StrCat(*values[row]);
            }
          },
          table.columns()[c].values);
    }
    text += "\n";
  }
  return text;
}

// The whole analysis as one object, without the items.
Json StudyJson(const ReportData& data) {
  Json comparisons = Json::array(), gaps = Json::array(), families = Json::array(),
       proxies = Json::array();

  // Each kind of statement is a list of objects with its names, its inference and its adjusted p.
  for (const CalibrationComparison& one : data.analysis.comparisons) {
    comparisons.push_back({{"model", one.model},
                           {"recipe", one.recipe},
                           {"test", one.test},
                           {"calibration", one.calibration},
                           {"iid", one.iid},
                           {"relation", RelationName(one.relation)},
                           {"difference", ToJson(one.difference)},
                           {"p_holm", NumberOrNull(one.p_holm)}});
  }

  // How much is lost by calibrating on other data, by relation.
  for (const GeneralizationGap& one : data.analysis.gaps) {
    gaps.push_back({{"model", one.model},
                    {"recipe", one.recipe},
                    {"relation", RelationName(one.relation)},
                    {"tests", one.tests},
                    {"gap", ToJson(one.gap)},
                    {"p_holm", NumberOrNull(one.p_holm)}});
  }

  // Whether IID calibration is best, by kind of test.
  for (const FamilyAnswer& one : data.analysis.families) {
    families.push_back({{"model", one.model},
                        {"recipe", one.recipe},
                        {"family", one.family},
                        {"tests", one.tests},
                        {"others_minus_iid", ToJson(one.difference)},
                        {"p_holm", NumberOrNull(one.p_holm)}});
  }

  // Whether a measure on text predicts the loss on tasks.
  for (const ProxyAnswer& one : data.analysis.proxies) {
    proxies.push_back({{"model", one.model},
                       {"measure", one.measure},
                       {"test", one.test},
                       {"points", one.points},
                       {"spearman", NumberOrNull(one.spearman)},
                       {"low", NumberOrNull(one.low)},
                       {"high", NumberOrNull(one.high)}});
  }

  // The study and its completeness come first, so that a reader can judge the rest.
  const FalseAlarms& alarms = data.analysis.false_alarms;
  return {{"study", data.plan.spec.name},
          {"version", data.plan.spec.version},
          {"qualm_version", data.plan.version},
          {"instruction_set", data.plan.instruction_set},
          {"cells_asked", data.table.runs},
          {"cells_missing", data.table.missing_runs},
          {"skipped", data.plan.skipped},
          {"failures", data.table.failures},
          {"cells", CellsJson(data)},
          {"comparisons_with_iid", std::move(comparisons)},
          {"generalization_gaps", std::move(gaps)},
          {"families", std::move(families)},
          {"false_alarms",
           {{"comparisons", alarms.comparisons},
            {"alarms", alarms.alarms},
            {"rate_low", alarms.interval.low},
            {"rate_high", alarms.interval.high},
            {"splits", alarms.splits},
            {"split_alarms", alarms.split_alarms}}},
          {"guidance", GuidanceJson(data)},
          {"proxies", std::move(proxies)}};
}

}  // namespace qualm
