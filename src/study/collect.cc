// Copies the records of stages into the tables of one SQLite file, for people and other programs to
// query. The records stay the truth: the file can be removed and made again.
#include "study/collect.h"

#include "base/error.h"
#include "base/strings.h"
#include "io/json_text.h"
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

// Windows and rows share a table; columns that one of them lacks are NULL.
constexpr const char* kPutItem = "INSERT INTO items VALUES(?,?,?,?,?,?,?,?,?,?)";

// Copies what is new: the study with its cells each time, and stages that are not there yet with
// their items, samples and layers. Run() is called once and is one transaction, so a reader sees a
// whole collection or the one before it.
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
  // A new file gets the tables and our mark. A file that holds something else is refused.
  void Prepare() {
    const int64_t application = database_.Number("PRAGMA application_id");
    const int64_t version = database_.Number("PRAGMA user_version");
    const bool is_new = database_.Number("SELECT count(*) FROM sqlite_master") == 0;
    if (!is_new && (application != kApplicationId || version != kStudyResultsVersion)) {
      ThrowBadInput(
          database_.file(), StrCat("results of studies, version ", kStudyResultsVersion),
          application == kApplicationId ? StrCat("version ", version) : "another database",
          application == kApplicationId ? "remove the file: it is made again from the records"
                                        : "");
    }
    database_.Execute(kSchema);
    database_.Execute(StrCat("PRAGMA application_id=", kApplicationId));
    database_.Execute(StrCat("PRAGMA user_version=", kStudyResultsVersion));
  }

  // Cells are written anew: a study that was changed may have lost some.
  void PutStudy() {
    const StudySpec& spec = plan_.spec;
    Statement(database_, "INSERT OR REPLACE INTO studies VALUES(?,?,?,?,?,?,?,?)")
        .Run(spec.name, spec.version, spec.title.en, spec.question.en, spec.text, plan_.version,
             plan_.instruction_set, UtcNow());

    Statement(database_, "DELETE FROM cells WHERE study=?").Run(spec.name);
    Statement cells(database_, "INSERT INTO cells VALUES(?,?,?,?,?,?,?,?,?,?,?)");
    for (const CellRun& cell : plan_.cells) {
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
    // The head of a record is small. The columns of its result are only read if they are new.
    const std::optional<StageRecord> head = work_.ReadRecord(key, false);
    if (!head || IsThere(*head)) return;
    const std::optional<StageRecord> record = work_.ReadRecord(key);
    if (!record) return;

    // The stage may be there with another result, from a run that was repeated.
    for (const char* table : {"items", "samples", "layers"}) {
      Statement(database_, StrCat("DELETE FROM ", table, " WHERE stage=?")).Run(key);
    }

    // What has its own tables is not kept twice.
    Json rest = ToJson(record->outcome);
    for (const char* name : {"items", "samples", "layers"}) {
      if (rest.is_object()) rest.erase(name);
    }
    Statement(database_, "INSERT OR REPLACE INTO stages VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)")
        .Run(record->key, StageKindName(KindOf(record->inputs)), record->label, record->status,
             record->error, record->host, record->processor, record->version, record->finished_at,
             record->seconds, record->peak_memory_bytes, record->threads,
             JsonText(ToJson(record->inputs)), JsonText(rest));
    ++counts_.stages;

    // The columns of tests and the layers of artefacts go into separate tables.
    if (const auto* text = std::get_if<TextOutcome>(&record->outcome)) PutWindows(key, text->items);
    if (const auto* task = std::get_if<RowsOutcome>(&record->outcome)) {
      PutRows(key, task->items);
      PutSamples(key, task->samples);
    }
    if (const auto* quantized = std::get_if<QuantizeOutcome>(&record->outcome)) {
      PutLayers(key, quantized->layers);
    }
  }

  // Windows weigh what their protocol says; rows all weigh the same.
  void PutWindows(const std::string& key, const WindowColumns& items) {
    constexpr std::optional<int64_t> kNone;  // only rows of tasks have these
    Statement rows(database_, kPutItem);
    for (size_t i = 0; i < items.cluster.size(); ++i) {
      rows.Run(key, i, items.cluster[i], items.weight[i], items.loss[i], kNone, kNone, kNone, kNone,
               kNone);
    }
    counts_.items += items.cluster.size();
  }

  void PutRows(const std::string& key, const RowColumns& items) {
    Statement rows(database_, kPutItem);
    for (size_t i = 0; i < items.cluster.size(); ++i) {
      const double loss = 1 - items.value[i];
      rows.Run(key, i, items.cluster[i], /*weight=*/1.0, loss, items.value[i], items.right[i],
               items.near_tie[i], items.picked[i], items.gold[i]);
    }
    counts_.items += items.cluster.size();
  }

  void PutSamples(const std::string& key, const std::vector<SampleOutcome>& samples) {
    Statement rows(database_, "INSERT OR REPLACE INTO samples VALUES(?,?,?,?,?,?)");
    for (const SampleOutcome& sample : samples) {
      rows.Run(key, sample.item, sample.row, sample.prompt, sample.right, sample.answer);
    }
  }

  void PutLayers(const std::string& key, const std::vector<LayerOutcome>& layers) {
    Statement rows(database_, "INSERT OR REPLACE INTO layers VALUES(?,?,?,?,?,?)");
    for (const LayerOutcome& layer : layers) {
      rows.Run(key, layer.name, layer.bits, layer.mse, layer.calibration, layer.held_out);
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
