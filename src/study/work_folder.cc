// Files of the work folder: records that appear whole or not at all, locks by which processes share
// the folder, and files that say what a stage is doing.
#include "study/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/error_place.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/hash.h"
#include "io/json_fields.h"
#include "io/json_text.h"
#include "study/machine.h"

namespace qualm {
// Inputs and outcome depend on the kind of stage, so they are read after the plain fields.
StageRecord StageRecordFromJson(const Json& json, std::string_view place, bool with_outcome) {
  StageRecord record;
  std::vector<std::string> keys = KeysOf(record);
  keys.insert(keys.end(), {"kind", "inputs", "result"});
  RequireObject(json, keys, place);
  At(place, [&] {
    fields::JsonReader reader(json);
    StageRecord::Fields(reader, record);
  });

  // The outcome is read on demand: its columns can have a value for every row of a test.
  const StageKind kind = StageKindFromName(GetString(json, "kind", place), place);
  record.inputs =
      StageInputsFromJson(kind, GetChild(json, "inputs", place), StrCat(place, ": inputs"));
  const Json& result = GetChild(json, "result", place);
  if (with_outcome && record.is_done()) {
    record.outcome = StageOutcomeFromJson(record.inputs, result, StrCat(place, ": result"));
  }
  return record;
}

Json ToJson(const StageRecord& record) {
  Json json = FieldsJson(record);
  json["kind"] = StageKindName(KindOf(record.inputs));
  json["inputs"] = ToJson(record.inputs);
  json["result"] = ToJson(record.outcome);
  return json;
}

// One subfolder for each kind of file; work_folder.h lists them.
WorkFolder::WorkFolder(std::filesystem::path folder) : folder_(std::move(folder)) {
  for (const char* name :
       {"stages", "calibration", "artefacts", "answers", "logs", "studies", "plans", "slurm"}) {
    std::error_code error;
    std::filesystem::create_directories(folder_ / name, error);
    if (error) ThrowFailed((folder_ / name).string(), StrCat("cannot make it: ", error.message()));
  }
  folder_ = std::filesystem::absolute(folder_).lexically_normal();
}

std::filesystem::path WorkFolder::InStages(std::string_view key, std::string_view ending) const {
  return folder_ / "stages" / StrCat(key, ending);
}
std::filesystem::path WorkFolder::Calibration(std::string_view key) const {
  return folder_ / "calibration" / StrCat(key, ".json");
}
std::filesystem::path WorkFolder::Artefact(std::string_view key) const {
  return folder_ / "artefacts" / key;
}
std::filesystem::path WorkFolder::Answers(std::string_view key) const {
  return folder_ / "answers" / StrCat(key, ".db");
}
std::filesystem::path WorkFolder::Windows(std::string_view key) const {
  return folder_ / "answers" / StrCat(key, ".windows");
}
std::filesystem::path WorkFolder::Log(std::string_view key) const {
  return folder_ / "logs" / StrCat(key, ".log");
}
std::filesystem::path WorkFolder::Plan(std::string_view study) const {
  return folder_ / "studies" / StrCat(study, ".json");
}
std::filesystem::path WorkFolder::Slurm(std::string_view study) const {
  return folder_ / "slurm" / StrCat(study, ".json");
}
std::filesystem::path WorkFolder::Running(std::string_view key) const {
  return InStages(key, ".running");
}

// A file with this name and another content was damaged: it is made anew.
std::filesystem::path WorkFolder::WriteOnce(std::string_view folder, std::string_view ending,
                                            std::string_view text) const {
  const std::string hash = HashBytes(text);
  const std::filesystem::path file = folder_ / folder / StrCat(hash, ending);
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored) || HashFile(file) != hash) {
    WriteFileAtomically(file, text);
  }
  return file;
}

// A damaged record, or one of another stage, counts as missing: the stage runs again.
std::optional<StageRecord> WorkFolder::ReadRecord(std::string_view key, bool with_outcome) const {
  const std::filesystem::path file = InStages(key, ".json");
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  try {
    StageRecord record = StageRecordFromJson(ReadJsonFile(file), file.string(), with_outcome);
    if (record.key != key) return std::nullopt;
    return record;
    // The caller only wants to know whether there is a usable record.
  } catch (const Error&) {
    return std::nullopt;
  }
}

void WorkFolder::WriteRecord(const StageRecord& record) const {
  WriteFileAtomically(InStages(record.key, ".json"), StrCat(JsonText(ToJson(record)), "\n"));
}

void WorkFolder::RemoveRecord(std::string_view key) const {
  std::error_code ignored;
  std::filesystem::remove(InStages(key, ".json"), ignored);
}

bool WorkFolder::IsDone(std::string_view key) const {
  const std::optional<StageRecord> record = ReadRecord(key, false);
  return record && record->is_done();
}

// The kernel releases the lock when the process ends, however it ends; the file may stay.
std::unique_ptr<StageLock> WorkFolder::TryLock(std::string_view key) const {
  const std::filesystem::path file = InStages(key, ".lock");
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) ThrowFailed(file.string(), StrCat("cannot open: ", std::strerror(errno)));
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return std::make_unique<StageLock>(fd);
  const int error = errno;
  ::close(fd);
  if (error == EWOULDBLOCK) return nullptr;
  ThrowFailed(file.string(), StrCat("cannot lock: ", std::strerror(error)));
}

StageLock::~StageLock() { ::close(fd_); }

// Two executors of one study on one machine would start every stage twice.
std::unique_ptr<StageLock> WorkFolder::BeLocalRunner(std::string_view study) const {
  const std::filesystem::path file = folder_ / "studies" / StrCat(study, ".", HostName(), ".pid");
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) ThrowFailed(file.string(), StrCat("cannot open: ", std::strerror(errno)));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd);
    ThrowFailed(file.string(), "another process runs this study here; 'qualm cancel' stops it");
  }

  // The process that holds the lock is named in the file, for `qualm cancel`.
  const std::string pid = StrCat(getpid(), "\n");
  const bool is_whole = ::ftruncate(fd, 0) == 0 &&
                        ::write(fd, pid.data(), pid.size()) == static_cast<ssize_t>(pid.size());
  auto lock = std::make_unique<StageLock>(fd);
  if (!is_whole) ThrowFailed(file.string(), StrCat("cannot write: ", std::strerror(errno)));
  return lock;
}

// Two submissions at once would both find a stage open and send it twice.
std::unique_ptr<StageLock> WorkFolder::BeSubmitter(std::string_view study) const {
  const std::filesystem::path file = folder_ / "slurm" / StrCat(study, ".lock");
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) ThrowFailed(file.string(), StrCat("cannot open: ", std::strerror(errno)));
  auto lock = std::make_unique<StageLock>(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  ThrowFailed(file.string(), "another process submits this study now");
}

std::optional<int64_t> WorkFolder::LocalRunner(std::string_view study) const {
  const std::filesystem::path file = folder_ / "studies" / StrCat(study, ".", HostName(), ".pid");
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;

  // A file that can be locked is left over from a run that has ended.
  const StageLock closes(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return std::nullopt;  // nobody holds it
  char text[32] = {};
  if (::read(fd, text, sizeof(text) - 1) <= 0) return std::nullopt;
  const int64_t pid = std::strtoll(text, nullptr, 10);
  return pid > 1 ? std::optional(pid) : std::nullopt;
}

std::optional<RunningStage> WorkFolder::ReadRunning(std::string_view key) const {
  const std::filesystem::path file = Running(key);
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return std::nullopt;
  try {
    return FieldsFrom<RunningStage>(ReadJsonFile(file), file.string());
  } catch (const Error&) {
    return std::nullopt;  // it went away while it was read
  }
}

RunningFile::RunningFile(const WorkFolder& work, std::string_view key, Progress& next)
    : file_(work.Running(key)), next_(next) {
  now_.host = HostName();
  now_.pid = getpid();
  now_.started_at = UtcNow();
  Write(true);
}

RunningFile::~RunningFile() {
  std::error_code ignored;
  std::filesystem::remove(file_, ignored);
}

// Written at once, so that a status query sees the new step.
void RunningFile::Begin(std::string_view stage, uint64_t total) {
  now_.stage = stage;
  now_.total = total;
  now_.done = 0;
  now_.detail.clear();
  next_.Begin(stage, total);
  Write(true);
}

void RunningFile::Advance(uint64_t done, std::string_view detail) {
  now_.done = done;
  now_.detail = detail;
  next_.Advance(done, detail);
  Write(false);
}

void RunningFile::End() { next_.End(); }
void RunningFile::Warn(std::string_view message) { next_.Warn(message); }
void RunningFile::Info(std::string_view message) { next_.Info(message); }

// At most twice a second, unless the stage has just changed.
void RunningFile::Write(bool always) {
  const double now = SteadySeconds();
  if (!always && now - written_ < 0.5) return;
  written_ = now;

  // Renamed into place, but not synced: only people and the progress display read it, and a file
  // that is torn by a crash is read as none.
  const std::string text = JsonText(FieldsJson(now_));
  const std::string temporary = StrCat(file_.string(), ".new");
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  const bool is_whole = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ::close(fd);
  if (is_whole) ::rename(temporary.c_str(), file_.c_str());
}

}  // namespace qualm
