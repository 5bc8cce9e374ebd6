// One SQLite file that several processes may use at once: statements with typed parameters and
// columns, transactions, and errors that name the file.
#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace qualm {

// What errors say about a file.
struct DatabaseKind {
  const char* name;          // what the file should be: "a results store"
  const char* damaged_hint;  // what to do with a file that SQLite cannot read
  const char* failed_note;   // is added where reading or writing fails: "; what was ... is kept"
};

class Database {
 public:
  // Opens the file or makes it; waits up to a minute for other processes. Throws bad input for a
  // file that is not an SQLite database, kFailed where it cannot be opened, read or written, as all
  // calls below do.
  Database(const std::filesystem::path& file, const DatabaseKind& kind);
  ~Database();  // takes back what was not committed
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void Execute(const std::string& sql) const;
  // The first column of the first row; 0 where there is none.
  int64_t Number(const std::string& sql) const;

  void Begin();
  void Commit();
  // Readers and a writer do not wait for each other then.
  void SwitchToWal() const;

  const std::string& file() const { return file_; }

 private:
  friend class Statement;
  void Check(int code) const;
  [[noreturn]] void Fail(int code) const;

  std::string file_;
  const DatabaseKind& kind_;
  sqlite3* handle_ = nullptr;
  bool in_transaction_ = false;
};

// A value that is bytes, not a text.
struct SqlBytes {
  std::string_view bytes;
};

// One SQL statement. The database must outlive it.
//   Statement find(database, "SELECT text FROM texts WHERE model = ?");
//   for (find.Bind(model); find.Step();) Use(find.Text(0));
class Statement {
 public:
  Statement(const Database& database, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // The parameters from the first one on: integers, numbers, texts, bytes; an empty optional is
  // NULL, and SQLite makes NULL of NaN.
  template <class... Values>
  Statement& Bind(const Values&... values) {
    Reset();
    (BindNext(values), ...);
    return *this;
  }
  bool Step();  // whether there is a row (another one)
  // Binds, runs to the end, and is ready for the next values.
  template <class... Values>
  void Run(const Values&... values) {
    Bind(values...);
    while (Step()) {
    }
    Reset();
  }

  // Columns of the current row, from 0 on.
  std::string Text(int column) const;
  std::string Bytes(int column) const;
  int64_t Int(int column) const;
  uint64_t Unsigned(int column) const { return static_cast<uint64_t>(Int(column)); }
  bool Bool(int column) const { return Int(column) != 0; }
  double Real(int column) const;  // NaN for NULL

 private:
  template <class Value>
  void BindNext(const Value& value) {
    if constexpr (std::same_as<Value, SqlBytes>) {
      BindBytes(value.bytes);
    } else if constexpr (std::integral<Value>) {
      BindInt(static_cast<int64_t>(value));
    } else if constexpr (std::floating_point<Value>) {
      BindReal(static_cast<double>(value));
    } else {
      BindText(value);
    }
  }
  template <class Value>
  void BindNext(const std::optional<Value>& value) {
    value ? BindNext(*value) : BindNull();
  }
  void BindText(std::string_view bytes);
  void BindBytes(std::string_view bytes);
  void BindInt(int64_t value);
  void BindReal(double value);
  void BindNull();
  void Reset();

  const Database& database_;
  sqlite3_stmt* statement_ = nullptr;
  int bound_ = 0;
};

}  // namespace qualm
