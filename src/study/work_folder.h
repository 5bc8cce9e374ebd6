// The folder that studies share: what their stages made, and a record of each. Several processes
// and machines may work in it at once.
//
//   stages/KEY.json       the record of a stage that ended: done with its result, or failed and why
//   stages/KEY.lock       held (flock) while a process runs the stage
//   stages/KEY.running    what it is doing, rewritten about once a second
//   calibration/KEY.json  token sequences      artefacts/KEY/  quantized models
//   answers/KEY.db        requests and answers of a task (the results store)
//   logs/KEY.log          standard error of the process
//   studies/NAME.json     the newest plan      results.db      what was collected (collect.h)
//   plans/HASH.json       what processes that run stages read: never written again
//   slurm/NAME.json       tasks by stage       slurm/HASH.*    scripts and lists of job arrays
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/progress.h"
#include "study/stage_outcome.h"

namespace qualm {

struct StageRecord {
  std::string key, label;
  std::string status;  // "done" or "failed"
  std::string error;
  std::string host, processor, version, finished_at;  // UTC
  double seconds = 0;
  uint64_t peak_memory_bytes = 0;  // of the process; of a group of stages the largest so far
  int threads = 0;
  StageInputs inputs;
  std::string files;     // the hash of the files that it read
  StageOutcome outcome;  // of a stage that is done, if it was read

  bool is_done() const { return status == "done"; }

  // All but inputs and outcome, whose structs depend on the kind of stage.
  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("key", self.key);
    visit("label", self.label);
    visit("status", self.status);
    visit("error", self.error);
    visit("host", self.host);
    visit("processor", self.processor);
    visit("version", self.version);
    visit("finished_at", self.finished_at);
    visit("seconds", self.seconds);
    visit("peak_memory_bytes", self.peak_memory_bytes);
    visit("threads", self.threads);
    visit("files", self.files);
  }
};

struct RunningStage {
  std::string host, stage, detail, started_at;
  int64_t pid = 0;
  uint64_t done = 0, total = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("host", self.host);
    visit("pid", self.pid);
    visit("started_at", self.started_at);
    visit("stage", self.stage);
    visit("done", self.done);
    visit("total", self.total);
    visit("detail", self.detail);
  }
};

// Throws bad input, with the place, for what is not a whole record.
StageRecord StageRecordFromJson(const Json& json, std::string_view place, bool with_outcome = true);
Json ToJson(const StageRecord& record);

class StageLock;

class WorkFolder {
 public:
  // Makes the folders. Throws kFailed where that is not possible.
  explicit WorkFolder(std::filesystem::path folder);

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path Calibration(std::string_view key) const;
  std::filesystem::path Artefact(std::string_view key) const;
  std::filesystem::path Answers(std::string_view key) const;
  std::filesystem::path Windows(std::string_view key) const;  // unfinished perplexity
  std::filesystem::path Log(std::string_view key) const;
  std::filesystem::path Plan(std::string_view study) const;
  std::filesystem::path Results() const { return folder_ / "results.db"; }
  std::filesystem::path Slurm(std::string_view study) const;

  // For what a process will read later, when this one has gone on: keeps the text below `folder`
  // under the hash of its content, and returns the file. What is there is not written again.
  std::filesystem::path WriteOnce(std::string_view folder, std::string_view ending,
                                  std::string_view text) const;

  // Nothing where the stage has not ended. A record that cannot be read counts as none: the stage
  // runs again.
  std::optional<StageRecord> ReadRecord(std::string_view key, bool with_outcome = true) const;
  void WriteRecord(const StageRecord& record) const;
  void RemoveRecord(std::string_view key) const;  // the stage may run again
  bool IsDone(std::string_view key) const;

  // The process on this host that runs the study; nothing where there is none. Says so while the
  // returned lock lives.
  std::optional<int64_t> LocalRunner(std::string_view study) const;
  std::unique_ptr<StageLock> BeLocalRunner(std::string_view study) const;
  // Throws kFailed while another process submits the study's stages to Slurm.
  std::unique_ptr<StageLock> BeSubmitter(std::string_view study) const;

  // Null if another process holds it.
  std::unique_ptr<StageLock> TryLock(std::string_view key) const;
  std::optional<RunningStage> ReadRunning(std::string_view key) const;
  std::filesystem::path Running(std::string_view key) const;

 private:
  std::filesystem::path InStages(std::string_view key, std::string_view ending) const;
  std::filesystem::path folder_;
};

class StageLock {
 public:
  explicit StageLock(int fd) : fd_(fd) {}
  ~StageLock();
  StageLock(const StageLock&) = delete;
  StageLock& operator=(const StageLock&) = delete;

 private:
  int fd_;
};

// Keeps KEY.running up to date and passes everything on; the file is gone when this is.
class RunningFile final : public Progress {
 public:
  RunningFile(const WorkFolder& work, std::string_view key, Progress& next);
  ~RunningFile() override;
  void Begin(std::string_view stage, uint64_t total) override;
  void Advance(uint64_t done, std::string_view detail) override;
  void End() override;
  void Warn(std::string_view message) override;
  void Info(std::string_view message) override;

 private:
  void Write(bool always);

  std::filesystem::path file_;
  Progress& next_;
  RunningStage now_;
  double written_ = -1e9;  // steady seconds
};

}  // namespace qualm
