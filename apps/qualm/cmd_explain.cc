// qualm explain: why two scores of one task, or two perplexities of one text, differ. Reads what
// two evaluations wrote down about how they were made; the comparison is in evaluate/explain.h.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "evaluate/explain.h"
#include "evaluate/lm_eval_results.h"

namespace qualm::cli {
namespace {

struct Flags {
  std::string first, second, against, samples, task, other_task;
};

// What was compared, and what has no counterpart.
struct Comparisons {
  std::vector<Explanation> explanations;
  std::vector<std::string> only_in_first, only_in_second;
};

std::vector<std::string> NamesOf(const std::vector<EvaluationRecord>& records) {
  std::vector<std::string> names;
  for (const EvaluationRecord& record : records) names.push_back(record.name);
  return names;
}

// The records of the file, or the one that the user names.
std::vector<EvaluationRecord> ReadRecords(const std::string& file, const std::string& name) {
  std::vector<EvaluationRecord> records = ReadEvaluations(file);
  if (name.empty()) return records;
  const std::vector<std::string> names = NamesOf(records);
  std::erase_if(records, [&](const EvaluationRecord& record) { return record.name != name; });
  if (records.empty()) ThrowUnknownName(file, "task or text", name, names);
  return records;
}

Comparisons CompareFiles(const Flags& flags) {
  const std::vector<EvaluationRecord> first = ReadRecords(flags.first, flags.task);
  const std::string& other = flags.other_task.empty() ? flags.task : flags.other_task;
  const std::vector<EvaluationRecord> second = ReadRecords(flags.second, other);

  RecordPairs records = PairRecords(first, second);
  Comparisons comparisons;
  for (const auto& [a, b] : records.pairs) comparisons.explanations.push_back(Explain(*a, *b));
  comparisons.only_in_first = std::move(records.only_in_first);
  comparisons.only_in_second = std::move(records.only_in_second);
  return comparisons;
}

// The harness's task for one of ours; empty if there is none. A single task of each belong together
// under any names.
std::string TheirTask(const EvaluationRecord& ours, const Flags& flags, size_t count,
                      const std::vector<std::string>& theirs) {
  if (!flags.other_task.empty()) return flags.other_task;
  const std::string name = LmEvalTaskName(ours.name);
  if (std::ranges::find(theirs, name) != theirs.end()) return name;
  return count == 1 && theirs.size() == 1 ? theirs[0] : "";
}

Comparisons CompareWithHarness(const Flags& flags) {
  std::vector<EvaluationRecord> ours = ReadRecords(flags.first, flags.task);
  const LmEvalResults results(flags.against);
  const std::vector<std::string> tasks = results.Tasks();
  if (ours.size() > 1 && !(flags.samples.empty() && flags.other_task.empty())) {
    ThrowBadInput(flags.first, "one task, or --task to name one of them",
                  Join(NamesOf(ours), ", "));
  }

  Comparisons comparisons;
  for (EvaluationRecord& record : ours) {
    const std::string task = record.is_text ? "" : TheirTask(record, flags, ours.size(), tasks);
    if (task.empty()) {
      comparisons.only_in_first.push_back(record.name);
      continue;
    }
    EvaluationRecord theirs = results.Record(task);
    record.facts["task"] = LmEvalTaskName(record.name);

    // Prompts and rows are in another file, if they were kept.
    const std::filesystem::path samples =
        flags.samples.empty() ? results.SamplesOf(task) : std::filesystem::path(flags.samples);
    std::vector<uint64_t> rows;
    for (const RecordedItem& item : record.items) rows.push_back(item.row);
    if (!samples.empty()) results.AddSamples(samples, rows, theirs);
    comparisons.explanations.push_back(Explain(record, theirs));
  }

  for (const std::string& task : tasks) {
    if (std::ranges::find(comparisons.explanations, task, &Explanation::second) ==
        comparisons.explanations.end()) {
      comparisons.only_in_second.push_back(task);
    }
  }
  return comparisons;
}

// --- JSON

Json ToJson(const ScorePair& pair) {
  return {{"metric", pair.metric},
          {"filter", pair.filter.empty() ? Json() : Json(pair.filter)},
          {"first", NumberOrNull(pair.first.value)},
          {"first_stderr", NumberOrNull(pair.first.standard_error)},
          {"second", NumberOrNull(pair.second.value)},
          {"second_stderr", NumberOrNull(pair.second.standard_error)},
          {"difference", NumberOrNull(pair.second.value - pair.first.value)}};
}

Json ToJson(const ProtocolDifference& difference) {
  Json json = {{"aspect", AspectName(difference.aspect)},
               {"what", difference.what},
               {"first", difference.first},
               {"second", difference.second}};
  if (difference.text) {
    json["text"] = {{"line", difference.text->line},
                    {"character", difference.text->character},
                    {"first", difference.text->first},
                    {"second", difference.text->second}};
  }
  return json;
}

Json ToJson(const UnknownFact& unknown) {
  return {{"aspect", AspectName(unknown.aspect)},
          {"what", unknown.what},
          {"in_first", unknown.is_in_first},
          {"in_second", unknown.is_in_second}};
}

Json ToJson(const Explanation& explanation) {
  Json json = {{"first", explanation.first}, {"second", explanation.second}};
  json["scores"] = Json::array();
  for (const ScorePair& pair : explanation.scores) json["scores"].push_back(ToJson(pair));
  json["differences"] = Json::array();
  for (const ProtocolDifference& difference : explanation.differences) {
    json["differences"].push_back(ToJson(difference));
  }
  json["cause"] = explanation.differences.empty() ? Json() : json["differences"][0];
  json["not_compared"] = Json::array();
  for (const UnknownFact& unknown : explanation.unknown) {
    json["not_compared"].push_back(ToJson(unknown));
  }
  return json;
}

// --- text

std::string Short(double value) { return std::isnan(value) ? "-" : Significant(value, 6); }

// Lists and texts, so that nothing in them can move a terminal's cursor.
std::string ValueText(const Json& value) {
  if (value.is_string()) return QuotedForTerminal(value.get<std::string>());
  if (!value.is_array()) return value.dump();
  std::vector<std::string> parts;
  for (const Json& one : value) parts.push_back(ValueText(one));
  return StrCat("[", Join(parts, ", "), "]");
}

std::string ScoresText(const Explanation& explanation) {
  std::vector<std::vector<std::string>> table = {
      {"metric", "first", "stderr", "second", "stderr", "second - first"}};
  for (const ScorePair& pair : explanation.scores) {
    table.push_back({pair.filter.empty() ? pair.metric : StrCat(pair.metric, ",", pair.filter),
                     Short(pair.first.value), Short(pair.first.standard_error),
                     Short(pair.second.value), Short(pair.second.standard_error),
                     Short(pair.second.value - pair.first.value)});
  }
  return table.size() == 1 ? "" : FormatTable(table, {false, true, true, true, true, true});
}

std::string DifferenceText(const ProtocolDifference& difference) {
  const std::string head = StrCat(AspectName(difference.aspect), ": ", difference.what);
  if (!difference.text) {
    return StrCat(head, ": ", ValueText(difference.first), " and ", ValueText(difference.second),
                  "\n");
  }
  return StrCat(head, ", from line ", difference.text->line, ", character ",
                difference.text->character, " on\n    first   ", difference.text->first,
                "\n    second  ", difference.text->second, "\n");
}

// A cause, what else differs, and what nobody knows; where there is no cause, what that means.
std::string ExplanationText(const Explanation& explanation) {
  std::string text = StrCat("first   ", QuotedForTerminal(explanation.first), "\nsecond  ",
                            QuotedForTerminal(explanation.second), "\n", ScoresText(explanation));
  const auto& differences = explanation.differences;
  if (!differences.empty()) text += StrCat("cause   ", DifferenceText(differences[0]));
  for (size_t i = 1; i < differences.size(); ++i) {
    text += StrCat(i == 1 ? "further " : "        ", DifferenceText(differences[i]));
  }
  if (differences.empty()) {
    const bool are_equal = std::ranges::all_of(explanation.scores, [](const ScorePair& pair) {
      return pair.first.value == pair.second.value;
    });
    text +=
        StrCat("no difference found in what was asked, read and scored",
               are_equal ? "" : "; what is left is arithmetic, and what was not compared", "\n");
  }

  // Grouped by the side that does not say it.
  for (const auto& [in_first, in_second, side] :
       {std::tuple{false, true, "the first does not say: "},
        std::tuple{true, false, "the second does not say: "},
        std::tuple{false, false, "neither says: "}, std::tuple{true, true, "of other rows: "}}) {
    std::vector<std::string> whats;
    for (const UnknownFact& unknown : explanation.unknown) {
      if (unknown.is_in_first == in_first && unknown.is_in_second == in_second) {
        whats.push_back(unknown.what);
      }
    }
    if (!whats.empty()) text += StrCat("not compared, ", side, Join(whats, ", "), "\n");
  }
  return text;
}

int Run(const Flags& flags, const Globals& globals) {
  const Comparisons comparisons =
      flags.against.empty() ? CompareFiles(flags) : CompareWithHarness(flags);
  if (comparisons.explanations.empty()) {
    ThrowBadInput(flags.against.empty() ? flags.second : flags.against,
                  StrCat("one of ", Join(comparisons.only_in_first, ", ")),
                  Join(comparisons.only_in_second, ", "),
                  "--task and --other-task say which two belong together");
  }

  const bool differ = std::ranges::any_of(
      comparisons.explanations,
      [](const Explanation& explanation) { return !explanation.differences.empty(); });
  if (globals.json) {
    Json json = {{"first", flags.first},
                 {"second", flags.against.empty() ? flags.second : flags.against},
                 {"differ", differ},
                 {"comparisons", Json::array()},
                 {"only_in_first", comparisons.only_in_first},
                 {"only_in_second", comparisons.only_in_second}};
    for (const Explanation& explanation : comparisons.explanations) {
      json["comparisons"].push_back(ToJson(explanation));
    }
    PrintJson(json);
    return differ ? kFailed : kOk;
  }

  std::string text;
  for (const Explanation& explanation : comparisons.explanations) {
    text += StrCat(text.empty() ? "" : "\n", ExplanationText(explanation));
  }
  for (const auto& [side, names] : {std::pair{"first", &comparisons.only_in_first},
                                    std::pair{"second", &comparisons.only_in_second}}) {
    if (names->empty()) continue;
    std::vector<std::string> quoted;
    for (const std::string& name : *names) quoted.push_back(QuotedForTerminal(name));
    text += StrCat("only in the ", side, ": ", Join(quoted, ", "), "\n");
  }
  Print(text);
  return differ ? kFailed : kOk;
}

}  // namespace

Command AddExplain(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  arguments.Add("FIRST", flags->first, "What 'qualm eval --json' wrote").Required();
  arguments.Add("SECOND", flags->second, "The same of another run");
  arguments.Add("--against", flags->against,
                "In place of SECOND: results_*.json of lm-evaluation-harness");
  arguments.Add(
      "--samples", flags->samples,
      "The harness's samples_*.jsonl; default: the one next to the results, if it is there");
  arguments.Add("--task", flags->task, "Only this task or text of FIRST, and its like");
  arguments.Add("--other-task", flags->other_task, "Compare with this one, whatever its name");
  AddJsonFlag(arguments, globals);
  arguments.Check([flags]() -> std::string {
    if (flags->second.empty() == flags->against.empty()) {
      return StrCat("[explain] expected SECOND or --against; got ",
                    flags->second.empty() ? "neither" : "both");
    }
    if (!flags->samples.empty() && flags->against.empty()) {
      return "[--samples] expected --against in addition; got none";
    }
    return "";
  });
  arguments.Examples(
      "  qualm eval MODEL --task piqa --data DATA --json > mine.json\n"
      "  qualm explain mine.json theirs.json\n"
      "  qualm explain mine.json --against results_2024-05-01T10-00-00.000000.json\n"
      "  qualm explain mine.json theirs.json --task arc_easy --other-task arc_easy-lm-eval --json");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
