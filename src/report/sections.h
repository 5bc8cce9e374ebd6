// The parts of a report. Each function gives the HTML of one <section>, or nothing if the study has
// no data for it.
#pragma once

#include <string>

#include "analysis/study_analysis.h"
#include "report/html.h"

namespace qualm {

class WorkFolder;

// What every section is made from.
struct ReportData {
  const StudyPlan& plan;
  const StudyTable& table;
  const StudyAnalysis& analysis;
  const WorkFolder& work;

  bool IsShare(const std::string& test) const;  // whether the test's loss is 1 - a share
  // The name and unit of the test's loss.
  LocalText TestLoss(const std::string& test) const;
  // The unit of a mean over the tests of one kind, or over all tests.
  LossUnit UnitOfTests(const std::optional<std::string>& family = std::nullopt) const;
};

std::string Section(std::string_view id, const LocalText& title, std::string_view body);

std::string SummarySection(const ReportData& data);
std::string GuidanceSection(const ReportData& data);
std::string HeatMapSection(const ReportData& data);
std::string ForestSection(const ReportData& data);
std::string FrontSection(const ReportData& data);  // loss against bits and against speed
std::string SizeSection(const ReportData& data);
std::string ProxySection(const ReportData& data);
std::string CellSection(const ReportData& data);  // every number, with filters
std::string LayerSection(const ReportData& data);
std::string ControlSection(const ReportData& data);  // A/A comparisons, controls, overlap
std::string SampleSection(const ReportData& data);
std::string ProvenanceSection(const ReportData& data);

// "IID", "other language", ...
LocalText RelationText(Relation relation);
// "gptq-w2-g32 · model", or only the recipe if the study has one model.
std::string ConditionText(const ReportData& data, const std::string& model,
                          const std::string& recipe);
std::string BothText(const LocalText& text);

}  // namespace qualm
