// SQLite's C interface in two classes, Database and Statement. Every code that SQLite returns is
// checked, and every handle has one owner.
#include "results/database.h"

#include <sqlite3.h>

#include <chrono>
#include <limits>
#include <thread>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/utf8.h"

namespace qualm {
namespace {

// How long to wait for another process that writes.
constexpr int kLockedMilliseconds = 60000;

}  // namespace

// Creates the file if it does not exist; its tables are the caller's work.
Database::Database(const std::filesystem::path& file, const DatabaseKind& kind)
    : file_(file.string()), kind_(kind) {
  const int code =
      sqlite3_open_v2(file_.c_str(), &handle_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  // A handle exists even if opening failed, and must be closed.
  try {
    Check(code);
  } catch (...) {
    sqlite3_close(handle_);
    throw;
  }
  sqlite3_busy_timeout(handle_, kLockedMilliseconds);
}

// A transaction that was not committed, because of an error, leaves no trace.
Database::~Database() {
  if (in_transaction_) sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
  sqlite3_close(handle_);
}

void Database::Check(int code) const {
  if (code != SQLITE_OK) Fail(code);
}

// A damaged file is the user's to replace; everything else is a failure of this run.
void Database::Fail(int code) const {
  const char* text = handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code);
  if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
    ThrowBadInput(file_, kind_.name, text, kind_.damaged_hint);
  }

  const char* hint = code == SQLITE_FULL                            ? "; the disk is full"
                     : code == SQLITE_BUSY || code == SQLITE_LOCKED ? "; another process holds it"
                                                                    : "";
  ThrowFailed(file_, StrCat(text, hint, kind_.failed_note));
}

void Database::Execute(const std::string& sql) const {
  Check(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr));
}

int64_t Database::Number(const std::string& sql) const {
  Statement statement(*this, sql);
  return statement.Step() ? statement.Int(0) : 0;
}

void Database::Begin() {
  Execute("BEGIN IMMEDIATE");
  in_transaction_ = true;
}

void Database::Commit() {
  Execute("COMMIT");
  in_transaction_ = false;
}

// SQLite returns at once where waiting for the exclusive lock could be a deadlock, which is where
// two processes that make the same file meet. So this waits itself.
void Database::SwitchToWal() const {
  for (int waited = 0;; ++waited) {
    const int code = sqlite3_exec(handle_, "PRAGMA journal_mode = WAL", nullptr, nullptr, nullptr);
    if (code == SQLITE_OK) return;
    if (code != SQLITE_BUSY || waited == kLockedMilliseconds) Fail(code);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

// Compiles the text once; values are bound to its question marks from left to right.
Statement::Statement(const Database& database, const std::string& sql) : database_(database) {
  database_.Check(sqlite3_prepare_v2(database.handle_, sql.c_str(), -1, &statement_, nullptr));
}

Statement::~Statement() { sqlite3_finalize(statement_); }

// True: a row can be read. False: there are no more.
bool Statement::Step() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) database_.Fail(code);
  return code == SQLITE_ROW;
}

// Ready for the next row of values.
void Statement::Reset() {
  database_.Check(sqlite3_reset(statement_));
  bound_ = 0;
}

// Programs that read the file take a text for UTF-8, as SQLite says it is.
void Statement::BindText(std::string_view bytes) {
  const std::string text = RepairUtf8(bytes);
  // A null pointer would be NULL, not the empty text.
  database_.Check(sqlite3_bind_text(statement_, ++bound_, text.empty() ? "" : text.data(),
                                    static_cast<int>(text.size()), SQLITE_TRANSIENT));
}

void Statement::BindBytes(std::string_view bytes) {
  database_.Check(sqlite3_bind_blob64(statement_, ++bound_, bytes.empty() ? "" : bytes.data(),
                                      bytes.size(), SQLITE_TRANSIENT));
}

void Statement::BindInt(int64_t value) {
  database_.Check(sqlite3_bind_int64(statement_, ++bound_, value));
}

void Statement::BindReal(double value) {
  database_.Check(sqlite3_bind_double(statement_, ++bound_, value));
}

void Statement::BindNull() { database_.Check(sqlite3_bind_null(statement_, ++bound_)); }

// NULL reads as the empty text.
std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return "";
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string Statement::Bytes(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return "";
  return {bytes, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

// NaN is stored as NULL, because SQLite has no NaN.
double Statement::Real(int column) const {
  return sqlite3_column_type(statement_, column) == SQLITE_NULL
             ? std::numeric_limits<double>::quiet_NaN()
             : sqlite3_column_double(statement_, column);
}

}  // namespace qualm
