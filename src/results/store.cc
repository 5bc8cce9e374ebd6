// Answers, texts, evaluations and their items as rows of one SQLite file. Answers are found by
// model, request and protocol, so that no run computes what an earlier one has stored; evaluations
// and items are what people look at.
#include "results/store.h"

#include "base/error.h"
#include "base/strings.h"
#include "results/schema.h"

namespace qualm {
namespace {

constexpr DatabaseKind kStore = {.name = "a results store",
                                 .damaged_hint = "",
                                 .failed_note = "; what was answered before is kept"};

// Binds what makes two evaluations the same.
Statement& BindKey(Statement& statement, const EvaluationKey& key) {
  return statement.Bind(key.model, key.task, key.version, key.shots, key.fewshot_seed, key.limit,
                        key.prompt_hash, key.files);
}

}  // namespace

// One spelling for each folder, because models are found by it.
std::string StoredPath(const std::filesystem::path& folder) {
  std::string path = std::filesystem::absolute(folder).lexically_normal().string();
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

ResultStore::ResultStore(const std::filesystem::path& file) : database_(file, kStore) { Prepare(); }

void ResultStore::Prepare() {
  // What is this file? The answer needs one transaction: another process may be making the tables
  // and their marks at this moment.
  database_.Execute("BEGIN");
  const int64_t application = database_.Number("PRAGMA application_id");
  const int64_t version = database_.Number("PRAGMA user_version");
  const int64_t tables = database_.Number("SELECT count(*) FROM sqlite_master");
  database_.Execute("COMMIT");

  if (tables > 0 && application != kApplicationId) {
    ThrowBadInput(database_.file(), "a results store", "another SQLite database");
  }
  if (tables > 0 && (version < 1 || version > kSchemaVersion)) {
    ThrowBadInput(database_.file(), StrCat("a results store of schema 1 to ", kSchemaVersion),
                  StrCat("schema ", version));
  }

  // With a write-ahead log, readers see finished transactions while another process writes.
  database_.SwitchToWal();
  database_.Execute("PRAGMA synchronous = NORMAL");
  if (tables > 0 && version == kSchemaVersion) return;

  // Two processes may come here at once: the second one waits and finds what the first one made.
  database_.Begin();
  const int64_t found = database_.Number("PRAGMA user_version");
  if (found == 1) database_.Execute(kUpgradeFrom1);
  if (found == 1 || found == 2) database_.Execute(kUpgradeFrom2);
  database_.Execute(kSchema);
  database_.Execute(StrCat("PRAGMA application_id = ", kApplicationId));
  database_.Execute(StrCat("PRAGMA user_version = ", kSchemaVersion));
  database_.Commit();
}

void ResultStore::Begin() { database_.Begin(); }
void ResultStore::Commit() { database_.Commit(); }

// A model that was moved is found at its new path. One whose folder holds another model now is
// found by its hash alone.
void ResultStore::PutModel(std::string_view hash, std::string_view path) {
  Statement(database_,
            "UPDATE models SET path = path || ' (before)' WHERE path = ?2 AND hash <> ?1")
      .Run(hash, path);
  Statement(database_,
            "INSERT INTO models VALUES(?, ?) ON CONFLICT DO UPDATE SET path = excluded.path")
      .Run(hash, path);
}

// By the beginning of the hash, by the path, or by the path's last parts.
std::string ResultStore::FindModel(std::string_view name) const {
  Statement statement(database_,
                      "SELECT hash, path FROM models WHERE substr(hash, 1, length(?1)) = ?1 "
                      "OR path = ?1 OR substr(path, -length(?1) - 1) = '/' || ?1 ORDER BY hash");
  statement.Bind(name);
  std::vector<std::string> found;
  while (statement.Step()) found.push_back(statement.Text(0));
  if (found.size() == 1) return found[0];

  // No model or several: the message lists those that there are.
  Statement all(database_, "SELECT hash, path FROM models ORDER BY path");
  std::vector<std::string> known;
  while (all.Step()) known.push_back(StrCat(all.Text(0).substr(0, 8), " (", all.Text(1), ")"));
  ThrowBadInput(database_.file(), "one model by its path or the beginning of its hash",
                StrCat("'", name, "', which is ", found.empty() ? "none" : "several"),
                StrCat("there are: ", Join(known, ", ")));
}

std::string ResultStore::PathOfModel(std::string_view hash) const {
  Statement statement(database_, "SELECT path FROM models WHERE hash = ?");
  return statement.Bind(hash).Step() ? statement.Text(0) : std::string();
}

// Nothing if the model was not asked this request under this version of the protocol.
std::optional<StoredAnswer> ResultStore::FindAnswer(std::string_view model,
                                                    std::string_view request, int protocol) const {
  Statement statement(database_,
                      "SELECT log_likelihood, is_greedy FROM answers "
                      "WHERE model = ? AND request = ? AND protocol = ?");
  statement.Bind(model, request, protocol);
  if (!statement.Step()) return std::nullopt;
  return StoredAnswer{statement.Real(0), statement.Bool(1)};
}

// The first answer stays: equal requests have equal answers.
void ResultStore::PutAnswer(std::string_view model, std::string_view request, int protocol,
                            const StoredAnswer& answer) {
  Statement(database_, "INSERT OR IGNORE INTO answers VALUES(?, ?, ?, ?, ?)")
      .Run(model, request, protocol, answer.log_likelihood, answer.is_greedy);
}

std::optional<StoredText> ResultStore::FindText(std::string_view model, std::string_view request,
                                                int protocol) const {
  Statement statement(database_,
                      "SELECT text, tokens, reason FROM texts "
                      "WHERE model = ? AND request = ? AND protocol = ?");
  statement.Bind(model, request, protocol);
  if (!statement.Step()) return std::nullopt;
  return StoredText{statement.Text(0), statement.Unsigned(1), statement.Text(2)};
}

void ResultStore::PutText(std::string_view model, std::string_view request, int protocol,
                          const StoredText& text) {
  Statement(database_, "INSERT OR IGNORE INTO texts VALUES(?, ?, ?, ?, ?, ?)")
      .Run(model, request, protocol, text.text, text.tokens, text.reason);
}

std::optional<std::string> ResultStore::FindWindow(std::string_view model,
                                                   std::string_view reference,
                                                   std::string_view window) const {
  Statement statement(database_,
                      "SELECT numbers FROM windows WHERE model = ? AND reference = ? "
                      "AND window = ?");
  statement.Bind(model, reference, window);
  if (!statement.Step()) return std::nullopt;
  return statement.Bytes(0);
}

// Equal windows have equal numbers, but damaged ones are written again.
void ResultStore::PutWindow(std::string_view model, std::string_view reference,
                            std::string_view window, std::string_view numbers) {
  Statement(database_, "INSERT OR REPLACE INTO windows VALUES(?, ?, ?, ?)")
      .Run(model, reference, window, SqlBytes{numbers});
}

std::optional<std::string> ResultStore::FindMeasurement(std::string_view model,
                                                        std::string_view what) const {
  Statement statement(database_, "SELECT result FROM measurements WHERE model = ? AND what = ?");
  statement.Bind(model, what);
  if (!statement.Step()) return std::nullopt;
  return statement.Text(0);
}

void ResultStore::PutMeasurement(std::string_view model, std::string_view what,
                                 std::string_view result) {
  Statement(database_, "INSERT OR REPLACE INTO measurements VALUES(?, ?, ?)")
      .Run(model, what, result);
}

// An evaluation that was started before keeps its id, and its items are overwritten.
int64_t ResultStore::PutEvaluation(const EvaluationKey& key) {
  Statement insert(database_,
                   "INSERT OR IGNORE INTO evaluations(model, task, version, shots, fewshot_seed, "
                   "row_limit, prompt_hash, files) VALUES(?, ?, ?, ?, ?, ?, ?, ?)");
  BindKey(insert, key).Step();

  Statement find(
      database_,
      "SELECT id FROM evaluations WHERE model = ? AND task = ? AND version = ? AND "
      "shots = ? AND fewshot_seed = ? AND row_limit = ? AND prompt_hash = ? AND files = ?");
  QUALM_CHECK(BindKey(find, key).Step());
  return find.Int(0);
}

// What filters read before is forgotten: the task may have other ones now.
void ResultStore::PutItem(int64_t evaluation, const StoredItem& item) {
  Statement(database_, "DELETE FROM readings WHERE evaluation = ? AND item = ?")
      .Run(evaluation, item.item);
  Statement(database_, "INSERT OR REPLACE INTO items VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Run(evaluation, item.item, item.subset, item.row, item.gold, item.picked, item.is_correct,
           item.is_near_tie, item.value, item.prediction);
}

void ResultStore::PutReading(int64_t evaluation, const StoredReading& reading) {
  Statement(database_, "INSERT OR REPLACE INTO readings VALUES(?, ?, ?, ?, ?, ?)")
      .Run(evaluation, reading.item, reading.position, reading.filter, reading.prediction,
           reading.value);
}

// Items of a subset share their prompt text, so it is stored once. Remembering the last one saves a
// query for most items.
int64_t ResultStore::PutPrompt(const std::string& text) {
  if (text == last_prompt_ && last_prompt_id_ != 0) return last_prompt_id_;
  Statement(database_, "INSERT OR IGNORE INTO prompts(text) VALUES(?)").Run(text);
  Statement find(database_, "SELECT id FROM prompts WHERE text = ?");
  QUALM_CHECK(find.Bind(text).Step());
  last_prompt_ = text;
  last_prompt_id_ = find.Int(0);
  return last_prompt_id_;
}

void ResultStore::PutRequest(int64_t evaluation, const StoredRequest& request) {
  const int64_t prompt = PutPrompt(request.prompt);
  Statement(database_, "INSERT OR REPLACE INTO requests VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Run(evaluation, request.item, request.choice, request.request, prompt, request.context,
           request.continuation, request.tokens, request.continuation_tokens, request.head,
           request.tail);
}

void ResultStore::FinishEvaluation(int64_t evaluation) {
  Statement(database_, "UPDATE evaluations SET is_finished = 1 WHERE id = ?").Run(evaluation);
}

// Of one model, or of all if `model` is empty.
std::vector<StoredEvaluation> ResultStore::Evaluations(std::string_view model) const {
  Statement statement(
      database_,
      "SELECT id, model, task, version, shots, fewshot_seed, row_limit, "
      "prompt_hash, files, is_finished FROM evaluations WHERE ?1 = '' OR model = ?1 "
      "ORDER BY id");
  statement.Bind(model);

  // Columns in the order of the SELECT.
  std::vector<StoredEvaluation> all;
  while (statement.Step()) {
    StoredEvaluation evaluation;
    evaluation.id = statement.Int(0);
    evaluation.key = {.model = statement.Text(1),
                      .task = statement.Text(2),
                      .version = static_cast<int>(statement.Int(3)),
                      .shots = statement.Unsigned(4),
                      .fewshot_seed = statement.Unsigned(5),
                      .limit = statement.Unsigned(6),
                      .prompt_hash = statement.Text(7),
                      .files = statement.Text(8)};
    evaluation.is_finished = statement.Bool(9);
    all.push_back(std::move(evaluation));
  }
  return all;
}

std::vector<StoredItem> ResultStore::Items(int64_t evaluation) const {
  Statement statement(database_,
                      "SELECT item, subset, row, gold, picked, is_correct, is_near_tie, value, "
                      "prediction FROM items "
                      "WHERE evaluation = ? ORDER BY item");
  statement.Bind(evaluation);

  // Columns in the order of the SELECT.
  std::vector<StoredItem> items;
  while (statement.Step()) {
    items.push_back({.item = statement.Unsigned(0),
                     .subset = statement.Text(1),
                     .row = statement.Unsigned(2),
                     .gold = statement.Int(3),
                     .picked = statement.Int(4),
                     .is_correct = statement.Bool(5),
                     .is_near_tie = statement.Bool(6),
                     .value = statement.Real(7),
                     .prediction = statement.Text(8)});
  }
  return items;
}

std::vector<StoredReading> ResultStore::Readings(int64_t evaluation, uint64_t item) const {
  Statement statement(database_,
                      "SELECT item, position, filter, prediction, value FROM readings "
                      "WHERE evaluation = ? AND item = ? ORDER BY position");
  statement.Bind(evaluation, item);
  std::vector<StoredReading> readings;
  while (statement.Step()) {
    readings.push_back({statement.Unsigned(0), statement.Unsigned(1), statement.Text(2),
                        statement.Text(3), statement.Real(4)});
  }
  return readings;
}

// Pairs of item and log-likelihood, in the order of the items' choices.
std::vector<std::pair<uint64_t, double>> ResultStore::LogLikelihoods(int64_t evaluation,
                                                                     std::string_view model,
                                                                     int protocol) const {
  Statement statement(database_,
                      "SELECT r.item, a.log_likelihood FROM requests r JOIN answers a "
                      "ON a.model = ? AND a.request = r.request AND a.protocol = ? "
                      "WHERE r.evaluation = ? ORDER BY r.item, r.choice");
  statement.Bind(model, protocol, evaluation);
  std::vector<std::pair<uint64_t, double>> all;
  while (statement.Step()) all.emplace_back(statement.Unsigned(0), statement.Real(1));
  return all;
}

// The requests of an item with the model's answers; a request without one has NaN.
std::vector<StoredRequest> ResultStore::Requests(int64_t evaluation, uint64_t item,
                                                 std::string_view model, int protocol) const {
  Statement statement(
      database_,
      "SELECT r.choice, r.request, r.context, r.continuation, r.tokens, "
      "r.continuation_tokens, r.head, r.tail, a.log_likelihood, a.is_greedy, p.text "
      "FROM requests r JOIN prompts p ON p.id = r.prompt LEFT JOIN answers a ON a.model = ? AND "
      "a.request = r.request AND a.protocol = ? WHERE r.evaluation = ? AND r.item = ? "
      "ORDER BY r.choice");
  statement.Bind(model, protocol, evaluation, item);

  // Columns in the order of the SELECT.
  std::vector<StoredRequest> requests;
  while (statement.Step()) {
    StoredRequest request;
    request.item = item;
    request.choice = statement.Unsigned(0);
    request.request = statement.Text(1);
    request.context = statement.Text(2);
    request.continuation = statement.Text(3);
    request.tokens = statement.Unsigned(4);
    request.continuation_tokens = statement.Unsigned(5);
    request.head = statement.Text(6);
    request.tail = statement.Text(7);
    // NULL in both columns if the model has not answered yet.
    request.answer = {statement.Real(8), statement.Bool(9)};
    request.prompt = statement.Text(10);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace qualm
