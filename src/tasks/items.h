// What a task asks of each row: contexts and continuations as texts, before any tokenizer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/chat_template.h"
#include "data/row_sets.h"
#include "tasks/row_pools.h"
#include "tasks/splits.h"
#include "tasks/task.h"

namespace qualm {

class Tokenizer;

struct ItemOptions {
  std::optional<size_t> shots;           // empty: the task's default
  std::optional<uint64_t> fewshot_seed;  // empty: the task's default
  // Rows, drawn with a fixed seed, in the data's order; of tasks of lm-evaluation-harness the first
  // ones, as there. 0: all.
  size_t limit = 0;
  // Other splits than the task's: "dev", or "train[:400]" for its first 400 rows. Empty: the
  // task's.
  std::string split, shot_split;
  RowPool pool = RowPool::kAll;
  // What pools are drawn by; empty: PoolNameOf.
  std::optional<std::string> pool_name;
  uint64_t pool_seed = 0;
  double calibration_share = 0.5;  // of the rows, about
};

// The examples before the rows of one subset, or before one row. A prompt is header + the first
// shots + context.
struct Shots {
  std::string header;
  std::vector<std::string> texts;               // each with the separator behind it
  std::vector<std::vector<ChatMessage>> turns;  // each as messages of user and assistant
  std::vector<size_t> rows;                     // which rows they are
  bool header_is_system = false;                // with a chat template: the system's message
  std::string separator;                        // between a system text and the header

  std::string Prompt(size_t count) const;
};

struct TaskItem {
  std::string subset;
  size_t row = 0;     // in its file
  std::string place;  // "mmlu:test:anatomy row 3"
  // Items with the same one depend on each other (a passage, a subject); empty: it stands alone.
  std::string cluster;
  std::shared_ptr<const Shots> shots;
  std::vector<std::string> contexts;  // one for each choice, or one for all
  // What the assistant's answer begins with, given as part of the prompt, and what is between it
  // and the context in a plain text. Both may be empty.
  std::string answer_prefix, answer_delimiter;
  std::vector<std::string> continuations;
  // The same after a chat template; empty: those above without blanks in front.
  std::vector<std::string> chat_continuations;
  std::vector<std::string> choices;   // their texts; of generation tasks: the references
  std::vector<std::string> ids;       // of the choices
  size_t gold = 0;                    // the right choice, the first of several
  std::vector<uint8_t> right;         // where several may be: 1 for each that is; else empty
  std::shared_ptr<const Json> scope;  // of generation tasks: what their prediction is made of
  std::string counted;                // of rolling likelihoods: whose words and bytes count

  bool IsRight(size_t choice) const { return right.empty() ? choice == gold : right[choice] != 0; }
  // As a plain text shows it.
  std::string ContextOf(size_t choice) const {
    return contexts[contexts.size() == 1 ? 0 : choice] + answer_delimiter + answer_prefix;
  }
};

struct TaskItems {
  std::vector<TaskItem> items;
  size_t shots = 0;
  uint64_t fewshot_seed = 0;
  bool is_partial = false;  // a limit, or a part of a split, left rows out
  size_t own_examples = 0;  // rows that are among their own examples, or equal to one of them
  size_t rows_in_split = 0;
  InputSet inputs;  // the task's text and the files that were read
};

// Throws bad input for data that is not there or does not fit the task, and for shots where the
// task has none or the split has too few.
TaskItems MakeItems(const Task& task, const ItemOptions& options,
                    const std::filesystem::path& data_folder);

// The files that MakeItems reads, and those that the task's metrics need. Of these it opens BLEU's
// pieces, to learn which files belong to them.
InputSet TaskInputs(const Task& task, const ItemOptions& options,
                    const std::filesystem::path& data_folder);
// Adds the files that the task's pieces of BLEU were read from, by their names below the data
// folder.
void AddPieceFiles(const Task& task, const Tokenizer& pieces,
                   const std::filesystem::path& data_folder, InputSet& inputs);

// The first file that the task needs (rows, examples if there are any, headers, pieces of BLEU) and
// that is not there; empty: all are.
std::string MissingTaskFile(const Task& task, const ItemOptions& options,
                            const std::filesystem::path& data_folder);

}  // namespace qualm
