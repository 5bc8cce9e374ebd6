#include "results/store.h"

#include <sqlite3.h>

#include <chrono>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "results/schema.h"

namespace qualm {
namespace {

constexpr int kLockedMilliseconds = 60000;

}  // namespace

std::string StoredPath(const std::filesystem::path& folder) {
  std::string path = std::filesystem::absolute(folder).lexically_normal().string();
  if (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

struct ResultStore::Connection {
  std::string file;
  sqlite3* db = nullptr;
  bool in_transaction = false;
  std::string last_prompt;
  int64_t last_prompt_id = 0;  // 0: none

  [[noreturn]] void Fail(int code) const {
    const char* text = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
      ThrowBadInput(file, "a results store", text);
    }
    const char* hint = code == SQLITE_FULL                            ? "; the disk is full"
                       : code == SQLITE_BUSY || code == SQLITE_LOCKED ? "; another process holds it"
                                                                      : "";
    ThrowFailed(file, StrCat(text, hint, "; what was answered before is kept"));
  }
};

// A statement with its parameters bound one after the other.
class ResultStore::Statement {
 public:
  Statement(const Connection& connection, const char* sql) : connection_(connection) {
    Check(sqlite3_prepare_v2(connection.db, sql, -1, &statement_, nullptr));
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& Bind(std::string_view text) {
    // A null pointer would be NULL, not the empty text.
    Check(sqlite3_bind_text(statement_, ++bound_, text.empty() ? "" : text.data(),
                            static_cast<int>(text.size()), SQLITE_TRANSIENT));
    return *this;
  }
  Statement& Bind(int64_t value) {
    Check(sqlite3_bind_int64(statement_, ++bound_, value));
    return *this;
  }
  Statement& BindReal(double value) {
    Check(sqlite3_bind_double(statement_, ++bound_, value));
    return *this;
  }

  bool Step() {  // whether there is a row
    const int code = sqlite3_step(statement_);
    if (code == SQLITE_ROW) return true;
    if (code != SQLITE_DONE) connection_.Fail(code);
    return false;
  }
  void Run() {
    while (Step()) {
    }
  }

  std::string Text(int column) const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return text == nullptr
               ? std::string()
               : std::string(text, static_cast<size_t>(sqlite3_column_bytes(statement_, column)));
  }
  int64_t Int(int column) const { return sqlite3_column_int64(statement_, column); }
  uint64_t Unsigned(int column) const { return static_cast<uint64_t>(Int(column)); }
  bool Bool(int column) const { return Int(column) != 0; }
  // NULL is what SQLite makes of NaN.
  double Real(int column) const {
    return sqlite3_column_type(statement_, column) == SQLITE_NULL
               ? std::numeric_limits<double>::quiet_NaN()
               : sqlite3_column_double(statement_, column);
  }

 private:
  void Check(int code) const {
    if (code != SQLITE_OK) connection_.Fail(code);
  }

  const Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

ResultStore::ResultStore(const std::filesystem::path& file)
    : connection_(std::make_unique<Connection>()) {
  connection_->file = file.string();
  const int code = sqlite3_open_v2(file.c_str(), &connection_->db,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  try {
    if (code != SQLITE_OK) connection_->Fail(code);
    Prepare();
  } catch (...) {
    sqlite3_close(connection_->db);
    throw;
  }
}

ResultStore::~ResultStore() {
  if (connection_->in_transaction) {
    sqlite3_exec(connection_->db, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  sqlite3_close(connection_->db);
}

void ResultStore::Prepare() {
  sqlite3_busy_timeout(connection_->db, kLockedMilliseconds);
  const auto pragma = [&](const char* sql) {
    Statement statement(*connection_, sql);
    return statement.Step() ? statement.Int(0) : 0;
  };
  // In one transaction: another process may be making the tables and their marks just now.
  Execute("BEGIN");
  const int64_t application = pragma("PRAGMA application_id");
  const int64_t version = pragma("PRAGMA user_version");
  const int64_t tables = pragma("SELECT count(*) FROM sqlite_master");
  Execute("COMMIT");
  if (tables > 0 && application != kApplicationId) {
    ThrowBadInput(connection_->file, "a results store", "another SQLite database");
  }
  if (tables > 0 && (version < 1 || version > kSchemaVersion)) {
    ThrowBadInput(connection_->file, StrCat("a results store of schema 1 to ", kSchemaVersion),
                  StrCat("schema ", version));
  }
  SwitchToWal();
  Execute("PRAGMA synchronous = NORMAL");
  if (tables > 0 && version == kSchemaVersion) return;
  // Two processes may come here at once: the second one waits and finds what the first one made.
  Execute("BEGIN IMMEDIATE");
  if (pragma("PRAGMA user_version") == 1) Execute(kUpgradeFrom1);
  Execute(kSchema);
  Execute(StrCat("PRAGMA application_id = ", kApplicationId).c_str());
  Execute(StrCat("PRAGMA user_version = ", kSchemaVersion).c_str());
  Execute("COMMIT");
}

// SQLite does not wait where waiting for the exclusive lock could be a deadlock: two processes that
// make one store meet here.
void ResultStore::SwitchToWal() const {
  for (int waited = 0;; ++waited) {
    const int code =
        sqlite3_exec(connection_->db, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return;
    if (code != SQLITE_BUSY || waited == kLockedMilliseconds) connection_->Fail(code);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void ResultStore::Execute(const char* sql) const {
  const int code = sqlite3_exec(connection_->db, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) connection_->Fail(code);
}

void ResultStore::Begin() {
  Execute("BEGIN IMMEDIATE");
  connection_->in_transaction = true;
}

void ResultStore::Commit() {
  Execute("COMMIT");
  connection_->in_transaction = false;
}

void ResultStore::PutModel(std::string_view hash, std::string_view path) {
  Statement(*connection_,
            "INSERT INTO models VALUES(?, ?) ON CONFLICT DO UPDATE SET path = excluded.path")
      .Bind(hash)
      .Bind(path)
      .Run();
}

std::string ResultStore::FindModel(std::string_view name) const {
  Statement statement(*connection_,
                      "SELECT hash, path FROM models WHERE substr(hash, 1, length(?1)) = ?1 "
                      "OR path = ?1 OR substr(path, -length(?1) - 1) = '/' || ?1 ORDER BY hash");
  statement.Bind(name);
  std::vector<std::string> found;
  while (statement.Step()) found.push_back(statement.Text(0));
  if (found.size() == 1) return found[0];
  Statement all(*connection_, "SELECT hash, path FROM models ORDER BY path");
  std::vector<std::string> known;
  while (all.Step()) known.push_back(StrCat(all.Text(0).substr(0, 8), " (", all.Text(1), ")"));
  ThrowBadInput(connection_->file, "one model by its path or the beginning of its hash",
                StrCat("'", name, "', which is ", found.empty() ? "none" : "several"),
                StrCat("there are: ", Join(known, ", ")));
}

std::string ResultStore::PathOfModel(std::string_view hash) const {
  Statement statement(*connection_, "SELECT path FROM models WHERE hash = ?");
  return statement.Bind(hash).Step() ? statement.Text(0) : std::string();
}

std::optional<StoredAnswer> ResultStore::FindAnswer(std::string_view model,
                                                    std::string_view request, int protocol) const {
  Statement statement(*connection_,
                      "SELECT log_likelihood, is_greedy FROM answers "
                      "WHERE model = ? AND request = ? AND protocol = ?");
  statement.Bind(model).Bind(request).Bind(protocol);
  if (!statement.Step()) return std::nullopt;
  return StoredAnswer{statement.Real(0), statement.Bool(1)};
}

void ResultStore::PutAnswer(std::string_view model, std::string_view request, int protocol,
                            const StoredAnswer& answer) {
  Statement(*connection_, "INSERT OR IGNORE INTO answers VALUES(?, ?, ?, ?, ?)")
      .Bind(model)
      .Bind(request)
      .Bind(protocol)
      .BindReal(answer.log_likelihood)
      .Bind(answer.is_greedy ? 1 : 0)
      .Run();
}

std::optional<StoredText> ResultStore::FindText(std::string_view model, std::string_view request,
                                                int protocol) const {
  Statement statement(*connection_,
                      "SELECT text, tokens, reason FROM texts "
                      "WHERE model = ? AND request = ? AND protocol = ?");
  statement.Bind(model).Bind(request).Bind(protocol);
  if (!statement.Step()) return std::nullopt;
  return StoredText{statement.Text(0), statement.Unsigned(1), statement.Text(2)};
}

void ResultStore::PutText(std::string_view model, std::string_view request, int protocol,
                          const StoredText& text) {
  Statement(*connection_, "INSERT OR IGNORE INTO texts VALUES(?, ?, ?, ?, ?, ?)")
      .Bind(model)
      .Bind(request)
      .Bind(protocol)
      .Bind(text.text)
      .Bind(static_cast<int64_t>(text.tokens))
      .Bind(text.reason)
      .Run();
}

int64_t ResultStore::PutEvaluation(const EvaluationKey& key) {
  const auto bind = [&](Statement& statement) -> Statement& {
    return statement.Bind(key.model)
        .Bind(key.task)
        .Bind(key.version)
        .Bind(static_cast<int64_t>(key.shots))
        .Bind(static_cast<int64_t>(key.fewshot_seed))
        .Bind(static_cast<int64_t>(key.limit))
        .Bind(key.prompt_hash);
  };
  Statement insert(*connection_,
                   "INSERT OR IGNORE INTO evaluations(model, task, version, shots, fewshot_seed, "
                   "row_limit, prompt_hash) VALUES(?, ?, ?, ?, ?, ?, ?)");
  bind(insert).Run();
  Statement find(*connection_,
                 "SELECT id FROM evaluations WHERE model = ? AND task = ? AND version = ? AND "
                 "shots = ? AND fewshot_seed = ? AND row_limit = ? AND prompt_hash = ?");
  QUALM_CHECK(bind(find).Step());
  return find.Int(0);
}

void ResultStore::PutItem(int64_t evaluation, const StoredItem& item) {
  Statement(*connection_, "INSERT OR REPLACE INTO items VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Bind(evaluation)
      .Bind(static_cast<int64_t>(item.item))
      .Bind(item.subset)
      .Bind(static_cast<int64_t>(item.row))
      .Bind(item.gold)
      .Bind(item.picked)
      .Bind(item.is_correct ? 1 : 0)
      .Bind(item.is_near_tie ? 1 : 0)
      .BindReal(item.value)
      .Bind(item.prediction)
      .Run();
}

// Items of one subset share their prompt: the last one is remembered.
int64_t ResultStore::PutPrompt(const std::string& text) {
  if (text == connection_->last_prompt && connection_->last_prompt_id != 0) {
    return connection_->last_prompt_id;
  }
  Statement(*connection_, "INSERT OR IGNORE INTO prompts(text) VALUES(?)").Bind(text).Run();
  Statement find(*connection_, "SELECT id FROM prompts WHERE text = ?");
  QUALM_CHECK(find.Bind(text).Step());
  connection_->last_prompt = text;
  return connection_->last_prompt_id = find.Int(0);
}

void ResultStore::PutRequest(int64_t evaluation, const StoredRequest& request) {
  const int64_t prompt = PutPrompt(request.prompt);
  Statement(*connection_, "INSERT OR REPLACE INTO requests VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Bind(evaluation)
      .Bind(static_cast<int64_t>(request.item))
      .Bind(static_cast<int64_t>(request.choice))
      .Bind(request.request)
      .Bind(prompt)
      .Bind(request.context)
      .Bind(request.continuation)
      .Bind(static_cast<int64_t>(request.tokens))
      .Bind(static_cast<int64_t>(request.continuation_tokens))
      .Bind(request.head)
      .Bind(request.tail)
      .Run();
}

void ResultStore::FinishEvaluation(int64_t evaluation) {
  Statement(*connection_, "UPDATE evaluations SET is_finished = 1 WHERE id = ?")
      .Bind(evaluation)
      .Run();
}

std::vector<StoredEvaluation> ResultStore::Evaluations(std::string_view model) const {
  Statement statement(*connection_,
                      "SELECT id, model, task, version, shots, fewshot_seed, row_limit, "
                      "prompt_hash, is_finished FROM evaluations WHERE ?1 = '' OR model = ?1 "
                      "ORDER BY id");
  statement.Bind(model);
  std::vector<StoredEvaluation> all;
  while (statement.Step()) {
    StoredEvaluation one;
    one.id = statement.Int(0);
    one.key = {statement.Text(1),     statement.Text(2),     static_cast<int>(statement.Int(3)),
               statement.Unsigned(4), statement.Unsigned(5), statement.Unsigned(6),
               statement.Text(7)};
    one.is_finished = statement.Bool(8);
    all.push_back(std::move(one));
  }
  return all;
}

std::vector<StoredItem> ResultStore::Items(int64_t evaluation) const {
  Statement statement(*connection_,
                      "SELECT item, subset, row, gold, picked, is_correct, is_near_tie, value, "
                      "prediction FROM items "
                      "WHERE evaluation = ? ORDER BY item");
  statement.Bind(evaluation);
  std::vector<StoredItem> items;
  while (statement.Step()) {
    items.push_back({statement.Unsigned(0), statement.Text(1), statement.Unsigned(2),
                     statement.Int(3), statement.Int(4), statement.Bool(5), statement.Bool(6),
                     statement.Real(7), statement.Text(8)});
  }
  return items;
}

std::vector<std::pair<uint64_t, double>> ResultStore::LogLikelihoods(int64_t evaluation,
                                                                     std::string_view model,
                                                                     int protocol) const {
  Statement statement(*connection_,
                      "SELECT r.item, a.log_likelihood FROM requests r JOIN answers a "
                      "ON a.model = ? AND a.request = r.request AND a.protocol = ? "
                      "WHERE r.evaluation = ? ORDER BY r.item, r.choice");
  statement.Bind(model).Bind(protocol).Bind(evaluation);
  std::vector<std::pair<uint64_t, double>> all;
  while (statement.Step()) all.emplace_back(statement.Unsigned(0), statement.Real(1));
  return all;
}

std::vector<StoredRequest> ResultStore::Requests(int64_t evaluation, uint64_t item,
                                                 std::string_view model, int protocol) const {
  Statement statement(
      *connection_,
      "SELECT r.choice, r.request, r.context, r.continuation, r.tokens, "
      "r.continuation_tokens, r.head, r.tail, a.log_likelihood, a.is_greedy, p.text "
      "FROM requests r JOIN prompts p ON p.id = r.prompt LEFT JOIN answers a ON a.model = ? AND "
      "a.request = "
      "r.request AND a.protocol = ? WHERE r.evaluation = ? AND r.item = ? "
      "ORDER BY r.choice");
  statement.Bind(model).Bind(protocol).Bind(evaluation).Bind(static_cast<int64_t>(item));
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
    request.answer = {statement.Real(8), statement.Bool(9)};
    request.prompt = statement.Text(10);
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace qualm
