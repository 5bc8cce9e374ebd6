// The results of every item of every cell, for other programs.
#pragma once

#include <filesystem>
#include <string>

#include "data/parquet_writer.h"
#include "io/json.h"
#include "report/sections.h"

namespace qualm {

// One row for each item: model, recipe, calibration, seed, test, relation, metric, item, cluster,
// weight, loss, float_loss, value, is_right, is_near_tie, bits_per_weight. Losses are those that
// the study compares.
ParquetTable ObservationTable(const ReportData& data);
std::string CsvOf(const ParquetTable& table);
// The plan's cells with their summaries, comparisons, gaps and guidance, without the items.
Json StudyJson(const ReportData& data);

}  // namespace qualm
