// Task files of lm-evaluation-harness (lm_eval 0.4.13), read as they are. A file becomes a Task;
// what our own tasks have no words for is in LmEvalFormat. Semantics: docs/tasks.md, "Files of
// lm-evaluation-harness".
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"
#include "tasks/hub_sets.h"
#include "tasks/row_value.h"
#include "tasks/task.h"

namespace qualm {

class Yaml;

// How rows of such a task become prompts.
struct LmEvalFormat {
  RowValue text, target, choices, description, prefix;
  std::string target_delimiter = " ";
  // Whether answers keep the target delimiter with a chat template: after a prefix that does not
  // end in a blank.
  bool chat_keeps_delimiter = false;
  std::string separator = "\n\n";  // between a system text and the description

  // Of the rows shown as examples. Values that are not given are those above.
  struct Shots {
    RowValue text, target, choices, prefix;
    std::string target_delimiter, separator;
    bool takes_first = false;   // else they are drawn as Python's random.sample draws
    std::vector<Json> samples;  // rows that are in the file; then there is no split
    bool has_samples = false;
    bool leaves_out_scored = false;  // rows equal to the scored one are not examples
    std::string missing_split;       // the split that the file names and the data set lacks
  } shots;

  std::optional<RowView> view;     // from rows of a data set of ours to the hub's
  std::optional<RowView> process;  // then, of our own files: what process_docs does elsewhere
  bool infers_types = false;       // a table's columns of numbers are numbers
  bool names_subset = false;       // rows get the fields subset and subset_name
  std::string subset_task;         // "mmlu_{subset}": the harness's names of the subsets' tasks
  // The harness's split names and ours, where they differ.
  std::vector<std::pair<std::string, std::string>> splits;
  RowValue counted;  // of rolling likelihoods: the text whose words and bytes count

  const RowValue& ShotText() const { return shots.text.is_given() ? shots.text : text; }
  const RowValue& ShotTarget() const { return shots.target.is_given() ? shots.target : target; }
  const RowValue& ShotChoices() const { return shots.choices.is_given() ? shots.choices : choices; }
  const RowValue& ShotPrefix() const { return shots.prefix.is_given() ? shots.prefix : prefix; }
};

// The text of an included file; `path` is as it is written, `from` the file that includes it.
struct IncludedFile {
  std::string place, text;
  bool is_on_disk = false;  // and `place` is its path; else it is compiled in
};
using IncludeReader = std::function<IncludedFile(const std::string& path, const std::string& from)>;

// Whether a task file is one of the harness's: it has keys that ours never have.
bool IsLmEvalTask(const Yaml& yaml);

// Throws bad input with the line for keys and values that are not known, and by name for what needs
// Python: !function, process_docs, process_results.
Task ParseLmEvalTask(std::string_view text, const std::string& place, const IncludeReader& include);

}  // namespace qualm
