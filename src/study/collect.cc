#include "study/collect.h"

#include <sqlite3.h>

#include "base/error.h"
#include "base/strings.h"
#include "study/machine.h"

namespace qualm {
namespace {

constexpr int kApplicationId = 0x71737475;  // "qstu": says that the file is ours
constexpr int kLockedMilliseconds = 60000;

constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS studies(
  name TEXT PRIMARY KEY, version INTEGER NOT NULL, title TEXT NOT NULL, question TEXT NOT NULL,
  yaml TEXT NOT NULL, qualm_version TEXT NOT NULL, instruction_set TEXT NOT NULL,
  collected_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stages(
  key TEXT PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, status TEXT NOT NULL,
  error TEXT NOT NULL, host TEXT NOT NULL, processor TEXT NOT NULL, qualm_version TEXT NOT NULL,
  finished_at TEXT NOT NULL, seconds REAL NOT NULL, peak_memory_bytes INTEGER NOT NULL,
  threads INTEGER NOT NULL, inputs TEXT NOT NULL, result TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells(
  study TEXT NOT NULL, model TEXT NOT NULL, recipe TEXT NOT NULL, calibration TEXT NOT NULL,
  seed INTEGER NOT NULL, test TEXT NOT NULL, relation TEXT NOT NULL, calibrate TEXT NOT NULL,
  quantize TEXT NOT NULL, evaluate TEXT NOT NULL, measure TEXT NOT NULL,
  PRIMARY KEY(study, model, recipe, calibration, seed, test)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items(
  stage TEXT NOT NULL REFERENCES stages(key), item INTEGER NOT NULL, cluster INTEGER NOT NULL,
  weight REAL NOT NULL, loss REAL, value REAL, is_right INTEGER, is_near_tie INTEGER,
  picked INTEGER, gold INTEGER, PRIMARY KEY(stage, item)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples(
  stage TEXT NOT NULL REFERENCES stages(key), item INTEGER NOT NULL, place TEXT, prompt TEXT,
  right_answer TEXT, answer TEXT NOT NULL, PRIMARY KEY(stage, item)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layers(
  stage TEXT NOT NULL REFERENCES stages(key), layer TEXT NOT NULL, bits REAL NOT NULL,
  weight_mse REAL NOT NULL, calibration_error REAL, held_out_error REAL,
  PRIMARY KEY(stage, layer)) WITHOUT ROWID;
)";

class Database {
 public:
  explicit Database(const std::filesystem::path& file) : file_(file.string()) {
    Check(sqlite3_open(file_.c_str(), &db_));
    sqlite3_busy_timeout(db_, kLockedMilliseconds);
  }
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void Run(const char* sql) { Check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr)); }

  int Number(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    Check(sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr));
    const int code = sqlite3_step(statement);
    const int value = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
    sqlite3_finalize(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE) Check(code);
    return value;
  }

  void Check(int code) const {
    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE) return;
    const char* text = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
    if (code == SQLITE_NOTADB || code == SQLITE_CORRUPT) {
      ThrowBadInput(file_, "results of studies", text, "remove it: it is made from the records");
    }
    ThrowFailed(file_, text);
  }

  sqlite3* handle() const { return db_; }
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  sqlite3* db_ = nullptr;
};

// An insertion; Json values go by their own type.
class Insertion {
 public:
  Insertion(Database& database, const char* sql) : database_(database) {
    database.Check(sqlite3_prepare_v2(database.handle(), sql, -1, &statement_, nullptr));
  }
  ~Insertion() { sqlite3_finalize(statement_); }
  Insertion(const Insertion&) = delete;
  Insertion& operator=(const Insertion&) = delete;

  void Put(std::initializer_list<Json> values) {
    int index = 0;
    for (const Json& value : values) {
      ++index;
      if (value.is_null()) {
        database_.Check(sqlite3_bind_null(statement_, index));
      } else if (value.is_number_float()) {
        database_.Check(sqlite3_bind_double(statement_, index, value.get<double>()));
      } else if (value.is_number()) {
        database_.Check(sqlite3_bind_int64(statement_, index, value.get<int64_t>()));
      } else {
        const std::string& text = value.get_ref<const std::string&>();
        database_.Check(sqlite3_bind_text(statement_, index, text.c_str(),
                                          static_cast<int>(text.size()), SQLITE_TRANSIENT));
      }
    }
    database_.Check(sqlite3_step(statement_));
    database_.Check(sqlite3_reset(statement_));
  }

 private:
  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
};

Json At(const Json& columns, const char* column, size_t index) {
  if (!columns.contains(column) || index >= columns[column].size()) return nullptr;
  return columns[column][index];
}

Json ValueOf(const Json& object, const char* key) {
  return object.contains(key) ? object[key] : Json();
}

class Collector {
 public:
  Collector(const StudyPlan& plan, const WorkFolder& work)
      : plan_(plan), work_(work), database_(work.Results()) {}

  CollectCounts Run() {
    database_.Run("BEGIN IMMEDIATE");
    Prepare();
    PutStudy();
    for (const Stage& stage : plan_.stages) PutStage(stage.key);
    database_.Run("COMMIT");
    return counts_;
  }

 private:
  void Prepare() {
    const int application = database_.Number("PRAGMA application_id");
    const int version = database_.Number("PRAGMA user_version");
    const bool is_new = database_.Number("SELECT count(*) FROM sqlite_master") == 0;
    if (!is_new && (application != kApplicationId || version != kStudyResultsVersion)) {
      ThrowBadInput(
          database_.file(), StrCat("results of studies, version ", kStudyResultsVersion),
          application == kApplicationId ? StrCat("version ", version) : "another database");
    }
    database_.Run(kSchema);
    database_.Run(StrCat("PRAGMA application_id=", kApplicationId).c_str());
    database_.Run(StrCat("PRAGMA user_version=", kStudyResultsVersion).c_str());
  }

  void PutStudy() {
    const StudySpec& spec = plan_.spec;
    Insertion(database_, "INSERT OR REPLACE INTO studies VALUES(?,?,?,?,?,?,?,?)")
        .Put({spec.name, spec.version, spec.title.en, spec.question.en, spec.text, plan_.version,
              plan_.instruction_set, UtcNow()});
    Insertion(database_, "DELETE FROM cells WHERE study=?").Put({spec.name});
    Insertion cells(database_, "INSERT INTO cells VALUES(?,?,?,?,?,?,?,?,?,?,?)");
    for (const StudyCell& cell : plan_.cells) {
      cells.Put({spec.name, cell.model, cell.recipe, cell.calibration, cell.seed, cell.test,
                 std::string(RelationName(cell.relation)), cell.calibrate, cell.quantize,
                 cell.evaluate, cell.measure});
    }
  }

  // A stage is there already if its record is the one that was collected.
  bool IsThere(const StageRecord& record) {
    return database_.Number(StrCat("SELECT count(*) FROM stages WHERE key='", record.key,
                                   "' AND status='", record.is_done() ? "done" : "failed",
                                   "' AND finished_at='", record.finished_at.substr(0, 20), "'")
                                .c_str()) == 1;
  }

  void PutStage(const std::string& key) {
    const std::optional<StageRecord> head = work_.ReadRecord(key, false);
    if (!head || head->finished_at.find('\'') != std::string::npos || IsThere(*head)) return;
    const std::optional<StageRecord> record = work_.ReadRecord(key);
    if (!record) return;
    for (const char* table : {"items", "samples", "layers"}) {
      Insertion(database_, StrCat("DELETE FROM ", table, " WHERE stage=?").c_str()).Put({key});
    }
    Json rest = record->result;
    for (const char* name : {"items", "samples", "layers"}) {
      if (rest.is_object()) rest.erase(name);
    }
    Insertion(database_, "INSERT OR REPLACE INTO stages VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
        .Put({record->key, record->kind, record->label, record->status, record->error, record->host,
              record->processor, record->version, record->finished_at, record->seconds,
              record->peak_memory_bytes, record->threads, record->inputs.dump(), rest.dump()});
    ++counts_.stages;
    if (!record->is_done()) return;
    PutItems(key, record->result);
    PutSamples(key, record->result);
    PutLayers(key, record->result);
  }

  void PutItems(const std::string& key, const Json& result) {
    if (!result.contains("items")) return;
    const Json& items = result["items"];
    const size_t n = ValueOf(items, "cluster").size();
    Insertion rows(database_, "INSERT INTO items VALUES(?,?,?,?,?,?,?,?,?,?)");
    for (size_t i = 0; i < n; ++i) {
      const Json value = At(items, "value", i), weight = At(items, "weight", i);
      Json loss = At(items, "loss", i);
      if (loss.is_null() && value.is_number()) loss = 1 - value.get<double>();
      rows.Put({key, i, At(items, "cluster", i), weight.is_null() ? Json(1.0) : weight, loss, value,
                At(items, "right", i), At(items, "near_tie", i), At(items, "picked", i),
                At(items, "gold", i)});
      ++counts_.items;
    }
  }

  void PutSamples(const std::string& key, const Json& result) {
    if (!result.contains("samples")) return;
    Insertion rows(database_, "INSERT OR REPLACE INTO samples VALUES(?,?,?,?,?,?)");
    for (const Json& sample : result["samples"]) {
      rows.Put({key, GetInt(sample, "item", key), ValueOf(sample, "row"), ValueOf(sample, "prompt"),
                ValueOf(sample, "right"), GetString(sample, "answer", key, "")});
    }
  }

  void PutLayers(const std::string& key, const Json& result) {
    if (!result.contains("layers")) return;
    Insertion rows(database_, "INSERT OR REPLACE INTO layers VALUES(?,?,?,?,?,?)");
    for (const Json& layer : result["layers"]) {
      rows.Put({key, GetString(layer, "name", key), GetDouble(layer, "bits", key),
                GetDouble(layer, "mse", key), ValueOf(layer, "calibration"),
                ValueOf(layer, "held_out")});
    }
  }

  const StudyPlan& plan_;
  const WorkFolder& work_;
  Database database_;
  CollectCounts counts_;
};

}  // namespace

CollectCounts CollectResults(const StudyPlan& plan, const WorkFolder& work) {
  return Collector(plan, work).Run();
}

}  // namespace qualm
