// Copies the records of stages into tables; a record that is there already is left alone.
#include "study/collect.h"

#include "base/error.h"
#include "base/strings.h"
#include "results/database.h"
#include "study/machine.h"

namespace qualm {
namespace {

constexpr int kApplicationId = 0x71737475;  // "qstu": says that the file is ours
constexpr DatabaseKind kResults = {.name = "results of studies",
                                   .damaged_hint = "remove it: it is made from the records",
                                   .failed_note = ""};

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

// A number of a column; NULL where there is none.
std::optional<double> RealAt(const Json& columns, const char* column, size_t index) {
  if (!columns.contains(column) || index >= columns[column].size()) return std::nullopt;
  const Json& value = columns[column][index];
  return value.is_number() ? std::optional(value.get<double>()) : std::nullopt;
}

std::optional<int64_t> IntAt(const Json& columns, const char* column, size_t index) {
  if (!columns.contains(column) || index >= columns[column].size()) return std::nullopt;
  const Json& value = columns[column][index];
  return value.is_number_integer() ? std::optional(value.get<int64_t>()) : std::nullopt;
}

std::optional<double> RealOf(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_number() ? std::optional(object[key].get<double>())
                                                         : std::nullopt;
}

std::optional<std::string> TextOf(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_string()
             ? std::optional(object[key].get<std::string>())
             : std::nullopt;
}

class Collector {
 public:
  Collector(const StudyPlan& plan, const WorkFolder& work)
      : plan_(plan), work_(work), database_(work.Results(), kResults) {}

  CollectCounts Run() {
    database_.Begin();
    Prepare();
    PutStudy();
    for (const Stage& stage : plan_.stages) PutStage(stage.key);
    database_.Commit();
    return counts_;
  }

 private:
  void Prepare() {
    const int64_t application = database_.Number("PRAGMA application_id");
    const int64_t version = database_.Number("PRAGMA user_version");
    const bool is_new = database_.Number("SELECT count(*) FROM sqlite_master") == 0;
    if (!is_new && (application != kApplicationId || version != kStudyResultsVersion)) {
      ThrowBadInput(
          database_.file(), StrCat("results of studies, version ", kStudyResultsVersion),
          application == kApplicationId ? StrCat("version ", version) : "another database");
    }
    database_.Execute(kSchema);
    database_.Execute(StrCat("PRAGMA application_id=", kApplicationId));
    database_.Execute(StrCat("PRAGMA user_version=", kStudyResultsVersion));
  }

  void PutStudy() {
    const StudySpec& spec = plan_.spec;
    Statement(database_, "INSERT OR REPLACE INTO studies VALUES(?,?,?,?,?,?,?,?)")
        .Run(spec.name, spec.version, spec.title.en, spec.question.en, spec.text, plan_.version,
             plan_.instruction_set, UtcNow());
    Statement(database_, "DELETE FROM cells WHERE study=?").Run(spec.name);
    Statement cells(database_, "INSERT INTO cells VALUES(?,?,?,?,?,?,?,?,?,?,?)");
    for (const StudyCell& cell : plan_.cells) {
      cells.Run(spec.name, cell.model, cell.recipe, cell.calibration, cell.seed, cell.test,
                RelationName(cell.relation), cell.calibrate, cell.quantize, cell.evaluate,
                cell.measure);
    }
  }

  // A stage is there already if its record is the one that was collected.
  bool IsThere(const StageRecord& record) {
    Statement find(database_,
                   "SELECT count(*) FROM stages WHERE key=? AND status=? AND finished_at=?");
    find.Bind(record.key, record.status, record.finished_at);
    return find.Step() && find.Int(0) == 1;
  }

  void PutStage(const std::string& key) {
    const std::optional<StageRecord> head = work_.ReadRecord(key, false);
    if (!head || IsThere(*head)) return;
    const std::optional<StageRecord> record = work_.ReadRecord(key);
    if (!record) return;
    for (const char* table : {"items", "samples", "layers"}) {
      Statement(database_, StrCat("DELETE FROM ", table, " WHERE stage=?")).Run(key);
    }
    Json rest = record->result;
    for (const char* name : {"items", "samples", "layers"}) {
      if (rest.is_object()) rest.erase(name);
    }
    Statement(database_, "INSERT OR REPLACE INTO stages VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
        .Run(record->key, record->kind, record->label, record->status, record->error, record->host,
             record->processor, record->version, record->finished_at, record->seconds,
             record->peak_memory_bytes, record->threads, record->inputs.dump(), rest.dump());
    ++counts_.stages;
    if (!record->is_done()) return;
    PutItems(key, record->result);
    PutSamples(key, record->result);
    PutLayers(key, record->result);
  }

  void PutItems(const std::string& key, const Json& result) {
    if (!result.contains("items")) return;
    const Json& items = result["items"];
    const size_t n = items.contains("cluster") ? items["cluster"].size() : 0;
    Statement rows(database_, "INSERT INTO items VALUES(?,?,?,?,?,?,?,?,?,?)");
    for (size_t i = 0; i < n; ++i) {
      const std::optional<double> value = RealAt(items, "value", i);
      std::optional<double> loss = RealAt(items, "loss", i);
      if (!loss && value) loss = 1 - *value;
      rows.Run(key, i, IntAt(items, "cluster", i), RealAt(items, "weight", i).value_or(1), loss,
               value, IntAt(items, "right", i), IntAt(items, "near_tie", i),
               IntAt(items, "picked", i), IntAt(items, "gold", i));
      ++counts_.items;
    }
  }

  void PutSamples(const std::string& key, const Json& result) {
    if (!result.contains("samples")) return;
    Statement rows(database_, "INSERT OR REPLACE INTO samples VALUES(?,?,?,?,?,?)");
    for (const Json& sample : result["samples"]) {
      rows.Run(key, GetInt(sample, "item", key), TextOf(sample, "row"), TextOf(sample, "prompt"),
               TextOf(sample, "right"), GetString(sample, "answer", key, ""));
    }
  }

  void PutLayers(const std::string& key, const Json& result) {
    if (!result.contains("layers")) return;
    Statement rows(database_, "INSERT OR REPLACE INTO layers VALUES(?,?,?,?,?,?)");
    for (const Json& layer : result["layers"]) {
      rows.Run(key, GetString(layer, "name", key), GetDouble(layer, "bits", key),
               GetDouble(layer, "mse", key), RealOf(layer, "calibration"),
               RealOf(layer, "held_out"));
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
