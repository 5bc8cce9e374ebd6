// What models have answered, in one SQLite file that several processes may use at once. Answers are
// kept as soon as they come, so that a killed evaluation goes on where it was. Schema:
// docs/formats/results.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "results/database.h"

namespace qualm {

struct StoredAnswer {
  double log_likelihood = 0;
  bool is_greedy = false;
};

// A generated text.
struct StoredText {
  std::string text;
  uint64_t tokens = 0;
  std::string reason;  // why it ended: stop, eos, length
};

// One task asked of one model in one way. Two with the same fields are the same evaluation.
struct EvaluationKey {
  std::string model;  // its hash
  std::string task;
  int version = 1;
  uint64_t shots = 0, fewshot_seed = 0;
  uint64_t limit = 0;       // rows; 0: all
  std::string prompt_hash;  // over all requests: data, template and tokenizer
  // Over the task and the files of its rows and metrics, which also decide what answers are worth;
  // empty: not known, of stores before schema 3.
  std::string files = {};

  bool operator==(const EvaluationKey&) const = default;
};

struct StoredEvaluation {
  int64_t id = 0;
  EvaluationKey key;
  bool is_finished = false;
};

// A row that was asked, and what came of it.
struct StoredItem {
  uint64_t item = 0;  // from 0
  std::string subset;
  uint64_t row = 0;
  int64_t gold = -1, picked = -1;  // choices; -1: none
  bool is_correct = false, is_near_tie = false;
  double value = 0;        // by the task's first metric
  std::string prediction;  // of a generation task: what was read off its text
};

// What a further filter of a task took from an item's texts; the first one's is in StoredItem.
struct StoredReading {
  uint64_t item = 0, position = 0;  // the filter's among the further ones
  std::string filter, prediction;
  double value = 0;
};

// One continuation of an item as text, with its answer.
struct StoredRequest {
  uint64_t item = 0, choice = 0;
  std::string request;  // its hash
  std::string prompt;   // what many requests share in front: header and shots
  std::string context, continuation;
  uint64_t tokens = 0, continuation_tokens = 0;
  std::string head, tail;  // ids and pieces of the first and last tokens
  StoredAnswer answer;     // only when read
};

// How a store spells a model's folder: whole, without a slash at its end.
std::string StoredPath(const std::filesystem::path& folder);

class ResultStore {
 public:
  // Opens the file or makes it. Throws bad input for a file that is no store or one of another
  // schema, kFailed where it cannot be opened. Every call below throws kFailed for a full disk or a
  // store that stays locked; what was committed stays.
  explicit ResultStore(const std::filesystem::path& file);

  // Changes between Begin and Commit are kept together; the destructor takes back what was not
  // committed.
  void Begin();
  void Commit();

  void PutModel(std::string_view hash, std::string_view path);
  // The hash of a model by the beginning of its hash or its path. Throws bad input for none or
  // several.
  std::string FindModel(std::string_view name) const;
  std::string PathOfModel(std::string_view hash) const;

  std::optional<StoredAnswer> FindAnswer(std::string_view model, std::string_view request,
                                         int protocol) const;
  void PutAnswer(std::string_view model, std::string_view request, int protocol,
                 const StoredAnswer& answer);

  std::optional<StoredText> FindText(std::string_view model, std::string_view request,
                                     int protocol) const;
  void PutText(std::string_view model, std::string_view request, int protocol,
               const StoredText& text);

  // Numbers of a window of text, as bytes; `reference` may be empty.
  std::optional<std::string> FindWindow(std::string_view model, std::string_view reference,
                                        std::string_view window) const;
  void PutWindow(std::string_view model, std::string_view reference, std::string_view window,
                 std::string_view numbers);

  // What was measured on a machine under certain options, as JSON; a later measurement replaces it.
  std::optional<std::string> FindMeasurement(std::string_view model, std::string_view what) const;
  void PutMeasurement(std::string_view model, std::string_view what, std::string_view result);

  int64_t PutEvaluation(const EvaluationKey& key);  // its id, old or new
  void PutItem(int64_t evaluation, const StoredItem& item);
  void PutReading(int64_t evaluation, const StoredReading& reading);
  void PutRequest(int64_t evaluation, const StoredRequest& request);
  void FinishEvaluation(int64_t evaluation);

  // Of a model (empty: of all), in the order they were made.
  std::vector<StoredEvaluation> Evaluations(std::string_view model = {}) const;
  std::vector<StoredItem> Items(int64_t evaluation) const;
  // Of one item, in the order of the filters.
  std::vector<StoredReading> Readings(int64_t evaluation, uint64_t item) const;
  // The answers of all choices of all items in their order: item and log-likelihood. A choice that
  // was not answered is left out.
  std::vector<std::pair<uint64_t, double>> LogLikelihoods(int64_t evaluation,
                                                          std::string_view model,
                                                          int protocol) const;
  // Of one item, by choice, with answers.
  std::vector<StoredRequest> Requests(int64_t evaluation, uint64_t item, std::string_view model,
                                      int protocol) const;

 private:
  int64_t PutPrompt(const std::string& text);
  void Prepare();

  Database database_;
  std::string last_prompt_;
  int64_t last_prompt_id_ = 0;  // 0: none
};

}  // namespace qualm
