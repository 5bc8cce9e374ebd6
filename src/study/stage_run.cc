// Runs stages by their kinds and writes their records. What several stages of a group need (a
// model, a tokenizer, a pass over the calibration tokens) is loaded or done once.
#include "study/stage_run.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/context.h"
#include "base/error.h"
#include "base/file.h"
#include "base/opened_files.h"
#include "base/strings.h"
#include "data/named_corpora.h"
#include "io/hash.h"
#include "io/json_text.h"
#include "model/model.h"
#include "quantize/run.h"
#include "results/store.h"
#include "study/calibration_source.h"
#include "study/evaluate_stage.h"
#include "study/machine.h"
#include "study/measure_stage.h"
#include "study/planning_steps.h"
#include "study/stage_death.h"
#include "tasks/items.h"

namespace qualm {
namespace {

double NumberOrNone(const std::optional<MeasuredError>& error) {
  return error ? error->relative_output_error : kNoNumber;
}

// What a report shows of the layers; everything else stays in the artefact's manifest.
std::vector<LayerOutcome> LayersOf(const Manifest& manifest) {
  std::vector<LayerOutcome> layers;
  for (const LayerRecord& layer : manifest.layers) {
    layers.push_back({.name = layer.name,
                      .bits = layer.bits_per_weight,
                      .mse = layer.quality.weight_mse,
                      .calibration = NumberOrNone(layer.quality.calibration),
                      .held_out = NumberOrNone(layer.quality.held_out),
                      .fell_back = layer.quality.fell_back_to_rtn});
  }
  return layers;
}

// Runs the stages of one process, one after the other: construct, QuantizeTogether where several
// quantizations share their data, then Run for each stage. Models and tokenizers stay loaded,
// because the next stage of a group usually needs them again.
class GroupRunner {
 public:
  GroupRunner(const StudyPlan& plan, const WorkFolder& work, const StageRunOptions& options,
              const Context& context)
      : plan_(plan), work_(work), options_(options), context_(context) {}

  StageEnd Run(const Stage& stage) {
    // Another process may run the stage or have finished it since the plan was made.
    const std::unique_ptr<StageLock> lock = work_.TryLock(stage.key);
    if (!lock) return End(stage, StageEnd::kHeldByOther, "");
    if (work_.IsDone(stage.key)) return End(stage, StageEnd::kFoundDone, "");

    // Whatever goes wrong with the stage is recorded, so that its dependents learn of it and the
    // next stage can run.
    const Clock::time_point start = Clock::now();
    StageRecord record = NewRecord(stage);
    try {
      RequireNeeds(stage);
      const OpenedFiles opened;
      {
        RunningFile running(work_, stage.key, context_.progress);
        record.outcome = Make(stage, Context{context_.pool, running});
      }
      RequireKnownFiles(stage, opened.paths());
      record.status = "done";
      Keep(record, start);
      return End(stage, StageEnd::kDone, "");
    } catch (const Error& error) {
      record.error = error.what();
    } catch (const std::bad_alloc&) {
      record.error = "[memory] not enough memory for this stage";
    } catch (const std::exception& error) {
      record.error = StrCat("[internal] ", error.what());
    }

    // Also a result that could not be kept is a failure.
    record.status = "failed";
    record.outcome = {};
    Keep(record, start);
    return End(stage, StageEnd::kFailed, record.error);
  }

 private:
  using Clock = std::chrono::steady_clock;

  void Keep(StageRecord& record, Clock::time_point start) const {
    record.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    record.peak_memory_bytes = PeakMemoryBytes();
    record.finished_at = UtcNow();
    work_.WriteRecord(record);
  }

  StageEnd End(const Stage& stage, StageEnd end, const std::string& error) const {
    if (options_.on_end) options_.on_end(stage, end, error);
    return end;
  }

  // Failed until proven otherwise.
  StageRecord NewRecord(const Stage& stage) const {
    StageRecord record;
    record.key = stage.key;
    record.label = stage.label;
    record.status = "failed";
    record.host = HostName();
    record.processor = ProcessorName();
    record.version = options_.version;
    record.threads = context_.pool.threads();
    record.inputs = stage.inputs;
    record.files = stage.files;
    return record;
  }

  // Executors start a stage after its needs, but a person or Slurm may start it in any case.
  void RequireNeeds(const Stage& stage) const {
    for (const std::string& need : stage.needs) {
      const std::optional<StageRecord> record = work_.ReadRecord(need, false);
      if (record && record->is_done()) continue;
      ThrowFailed(stage.label, StrCat("its input is not done: ", plan_.Find(need).label,
                                      record ? StrCat(": ", record->error) : ""));
    }
  }

  // A stage that opened a file that is not in its key would be found done when that file changes.
  // What other stages made is named by their keys, and a recipe by its canonical text.
  void RequireKnownFiles(const Stage& stage, const std::set<std::string>& opened) const {
    std::set<std::string> known;
    for (const InputFile& file : plan_.files.at(stage.files).files()) {
      if (!file.path.empty()) known.insert(OpenedFiles::Spelled(file.path));
    }
    if (const auto* quantize = std::get_if<QuantizeInputs>(&stage.inputs)) {
      known.insert(OpenedFiles::Spelled(quantize->recipe.path));
    }

    const std::string work = StrCat(OpenedFiles::Spelled(work_.path()), "/");
    for (const std::string& path : opened) {
      if (known.contains(path) || path.starts_with(work)) continue;
      ThrowFailed(stage.label, StrCat("it opened ", path, ", which is not part of its key; ",
                                      "its result is not kept, because it would be found done ",
                                      "when that file changes"));
    }
  }

  // One function for each kind of stage; what it returns becomes the record's result.
  StageOutcome Make(const Stage& stage, const Context& context) {
    switch (stage.kind()) {
      case StageKind::kCalibrate:
        return Calibrate(stage, context);
      case StageKind::kQuantize:
        return Quantize(stage, context);
      case StageKind::kEvaluate:
        return Evaluate(stage, context);
      // Speed is measured from the folder: loading is part of what is measured.
      case StageKind::kMeasure: {
        const auto& inputs = std::get<MeasureInputs>(stage.inputs);
        if (inputs.quantize.empty()) RequirePlannedModel(stage, inputs.model.path);
        return MeasureArtefact(FolderOf(inputs.model, inputs.quantize), inputs, stage.label,
                               context);
      }
    }
    QUALM_CHECK(false);
    return {};
  }

  // --- calibrate

  // The set goes into a file for quantizations and mixtures; the record only describes it.
  CalibrateOutcome Calibrate(const Stage& stage, const Context& context) {
    CalibrateOutcome outcome;
    const CalibrationSet set = MakeSet(stage, outcome, context);
    WriteFileAtomically(work_.Calibration(stage.key), JsonText(ToJson(set)));

    outcome.hash = set.hash;
    outcome.corpus = set.corpus;
    outcome.sampler = set.sampler;
    outcome.sequences = set.sequences.size();
    outcome.length = set.length;
    outcome.tokens = set.tokens();
    outcome.documents = set.documents;
    outcome.held_out = set.held_out.size();
    return outcome;
  }

  // The set of this kind. Rows also fill the outcome's subjects.
  CalibrationSet MakeSet(const Stage& stage, CalibrateOutcome& outcome, const Context& context) {
    const auto& inputs = std::get<CalibrateInputs>(stage.inputs);
    const std::string& folder = inputs.model.path;
    switch (inputs.kind) {
      case CalibrationKind::kCorpus: {
        Corpus corpus = FindCorpus(inputs.corpus.path, CorpusUse::kCalibration, plan_.data_folder,
                                   {.text_field = inputs.text_field});
        plan_.RequireUnchanged(stage, corpus.inputs, inputs.corpus.path);
        return SampleCalibration(corpus, TokenizerOf(stage, folder), inputs.Sampler());
      }
      case CalibrationKind::kRows:
        return RowSetOf(stage, inputs, outcome);
      case CalibrationKind::kRandomTokens:
        return RandomTokenSet(TokenizerOf(stage, folder), inputs.Sampler());
      case CalibrationKind::kSelfGenerated: {
        const Model& model = FloatModelOf(stage, folder);
        // Texts are kept in the stage's own store, so that a killed run does not generate them
        // again.
        ResultStore store(work_.Answers(stage.key));
        return SelfGeneratedSet(model, model.Hash(), inputs.temperature, inputs.Sampler(), store,
                                context);
      }
      case CalibrationKind::kMixed: {
        // The members are stages that have ended: their sets are in files.
        std::vector<CalibrationSet> members;
        for (const std::string& key : inputs.members) members.push_back(ReadSet(key));
        return MixedSet(members, inputs.Sampler());
      }
    }
    QUALM_CHECK(false);
    return {};
  }

  // Rows in the form in which their task asks them, followed by the right answers.
  CalibrationSet RowSetOf(const Stage& stage, const CalibrateInputs& inputs,
                          CalibrateOutcome& outcome) {
    Task task = FindTask(inputs.task.path);
    SelectCategory(task, inputs.category, stage.label);
    task.split = inputs.split;
    ItemOptions options = inputs.rows.Options();
    options.shots = 0;

    TaskItems rows = MakeItems(task, options, plan_.data_folder);
    plan_.RequireUnchanged(stage, rows.inputs, task.name);

    // A document for each row; rows of one subject follow one another.
    std::vector<SubjectDocuments> subjects;
    Hasher hasher;
    for (const TaskItem& item : rows.items) {
      if (subjects.empty() || subjects.back().subject != item.subset) {
        subjects.push_back({item.subset, {}});
      }
      const size_t right = item.continuations.size() == 1 ? 0 : item.gold;
      subjects.back().documents.push_back(
          StrCat(item.shots->header, item.ContextOf(right), item.continuations[right], "\n\n"));
      hasher.Add(subjects.back().documents.back());
    }

    // Rows are drawn by subject, and the record says how many of each.
    std::vector<size_t> drawn;
    const std::string name =
        StrCat(task.name, task.variant, ":", task.split,
               options.pool == RowPool::kCalibration ? " (calibration pool)" : "");
    CalibrationSet set =
        PerSubjectSet(subjects, name, hasher.Hex(), TokenizerOf(stage, inputs.model.path),
                      inputs.Sampler(), &drawn);
    for (size_t i = 0; i < subjects.size(); ++i) {
      outcome.subjects.push_back({.subject = subjects[i].subject,
                                  .rows = subjects[i].documents.size(),
                                  .drawn = drawn[i]});
    }
    return set;
  }

  CalibrationSet ReadSet(const std::string& key) const {
    const std::filesystem::path file = work_.Calibration(key);
    return CalibrationSetFromJson(ReadJsonFile(file), file.string());
  }

  // --- quantize

  // A stage whose inputs are not the planned ones would be stored under the wrong key.
  static void RequireSameHash(const Stage& stage, const std::string& planned,
                              const std::string& hash, const std::string& what) {
    if (planned == hash) return;
    ThrowFailed(stage.label, StrCat(what, " has changed since the study was planned"));
  }

  QuantizeOptions OptionsOf(const Stage& stage) const {
    const auto& inputs = std::get<QuantizeInputs>(stage.inputs);
    QuantizeOptions options;
    options.model = inputs.model.path;
    options.out = work_.Artefact(stage.key);
    options.recipe = OrderedRecipe(inputs.recipe.path, inputs.order);
    RequireSameHash(stage, inputs.recipe_hash, HashBytes(options.recipe.CanonicalJson()),
                    StrCat("recipe ", options.recipe.name));

    options.seed = inputs.seed;
    options.qualm_version = options_.version;
    // A model that is not the planned one is not worth a pass.
    options.on_inputs = [this, &stage](InputSet& opened) {
      plan_.RequireUnchanged(stage, opened, "the model");
    };
    if (!inputs.calibration.empty()) options.calibration = ReadSet(inputs.calibration);
    return options;
  }

  // Continues an artefact that a killed run or QuantizeTogether has begun.
  QuantizeOutcome Quantize(const Stage& stage, const Context& context) {
    const QuantizeResult result = QuantizeModel(OptionsOf(stage), context);
    return {.artefact_hash = result.manifest.ArtefactHash(),
            .bits_per_weight = result.manifest.bits_per_weight_layers,
            .bits_per_weight_model = result.manifest.bits_per_weight_model,
            .blocks_resumed = result.blocks_resumed,
            .layers = LayersOf(result.manifest)};
  }

 public:
  // Quantizes stages that may share one pass of the calibration tokens, into their folders. Run
  // then only reads what it finds there and writes the records. A failure here is only a warning:
  // Run meets it again, for the stage that it belongs to.
  void QuantizeTogether(const std::vector<const Stage*>& stages) {
    std::vector<std::unique_ptr<StageLock>> locks;
    std::vector<QuantizeOptions> all;
    try {
      // Stages that are open, that no other process holds, and whose blocks read the float model's
      // hidden states: with a sequential order the recipes' hidden states would differ.
      for (const Stage* stage : stages) {
        if (work_.IsDone(stage->key)) continue;
        locks.push_back(work_.TryLock(stage->key));
        if (!locks.back()) continue;
        QuantizeOptions options = OptionsOf(*stage);
        if (options.recipe.block_order == Order::kParallel) all.push_back(std::move(options));
      }
      if (all.size() < 2) return;

      RunningFile running(work_, stages[0]->key, context_.progress);
      (void)QuantizeModels(all, Context{context_.pool, running});
    } catch (const Error& error) {
      context_.progress.Warn(StrCat("quantizing together failed, one by one now: ", error.what()));
    }
  }

 private:
  // --- evaluate

  // The folder of the model that a stage evaluates or measures: the artefact, or the float model.
  std::string FolderOf(const Place& model, const std::string& quantize) const {
    return quantize.empty() ? model.path : work_.Artefact(quantize).string();
  }

  StageOutcome Evaluate(const Stage& stage, const Context& context) {
    const auto& inputs = std::get<EvaluateInputs>(stage.inputs);
    // An artefact is identified by the stage that made it.
    const bool is_float = inputs.quantize.empty();
    const Model& model = is_float ? FloatModelOf(stage, inputs.model.path)
                                  : ModelOf(FolderOf(inputs.model, inputs.quantize));
    if (inputs.kind == TestKind::kTask) {
      return EvaluateTask(stage, plan_, work_, model, context);
    }
    const Model* reference = is_float ? nullptr : &FloatModelOf(stage, inputs.model.path);
    return EvaluateText(stage, plan_, work_, model, reference, context);
  }

  // --- what stages load, compared with the plan

  const Tokenizer& TokenizerOf(const Stage& stage, const std::string& folder) {
    LoadedTokenizer& loaded = tokenizers_[folder];
    if (!loaded.tokenizer) {
      loaded.tokenizer = LoadTokenizer(folder);
      loaded.inputs = loaded.tokenizer->inputs();
    }
    plan_.RequireUnchanged(stage, loaded.inputs, "the tokenizer");
    return *loaded.tokenizer;
  }

  const Model& FloatModelOf(const Stage& stage, const std::string& folder) {
    Model& model = ModelOf(folder);
    plan_.RequireUnchanged(stage, model.inputs, "the model");
    return model;
  }

  // For a stage that loads the model's folder by itself.
  void RequirePlannedModel(const Stage& stage, const std::string& folder) const {
    InputSet opened = ModelFiles(folder);
    plan_.RequireUnchanged(stage, opened, "the model");
  }

  Model& ModelOf(const std::string& folder) {
    std::optional<Model>& model = models_[folder];
    if (!model) model.emplace(LoadModel(folder, {}, context_));
    return *model;
  }

  // With the hashes of its files, which are made once.
  struct LoadedTokenizer {
    std::unique_ptr<Tokenizer> tokenizer;
    InputSet inputs;
  };

  const StudyPlan& plan_;
  const WorkFolder& work_;
  const StageRunOptions& options_;
  const Context& context_;
  std::map<std::string, std::optional<Model>> models_;
  std::map<std::string, LoadedTokenizer> tokenizers_;
};

}  // namespace

std::vector<StageEnd> RunStages(const StudyPlan& plan, const std::vector<std::string>& keys,
                                const WorkFolder& work, const StageRunOptions& options,
                                const Context& context) {
  // Quantizations of one group first, together where there are several.
  GroupRunner runner(plan, work, options, context);
  std::map<std::string, std::vector<const Stage*>> quantize;  // by group
  for (const std::string& key : keys) {
    const Stage& stage = plan.Find(key);
    if (stage.kind() == StageKind::kQuantize) quantize[stage.group].push_back(&stage);
  }
  for (const auto& [group, stages] : quantize) {
    if (stages.size() > 1) runner.QuantizeTogether(stages);
  }

  // Then every stage by itself, in the order of the keys.
  std::vector<StageEnd> ends;
  for (const std::string& key : keys) ends.push_back(runner.Run(plan.Find(key)));
  return ends;
}

// For a stage whose process ended without writing a record.
void RecordFailure(const StudyPlan& plan, const Stage& stage, const WorkFolder& work,
                   const std::string& error) {
  StageRecord record;
  record.key = stage.key;
  record.label = stage.label;
  record.status = "failed";
  record.error = error;
  record.host = HostName();
  record.processor = ProcessorName();
  record.version = plan.version;
  record.finished_at = UtcNow();
  record.inputs = stage.inputs;
  record.files = stage.files;
  work.WriteRecord(record);
}

void RecordDeath(const StudyPlan& plan, const Stage& stage, const WorkFolder& work, int code,
                 const std::filesystem::path& log) {
  const std::unique_ptr<StageLock> lock = work.TryLock(stage.key);
  if (!lock || work.ReadRecord(stage.key, false)) return;
  std::error_code ignored;
  std::filesystem::remove(work.Running(stage.key), ignored);
  RecordFailure(plan, stage, work, DeathMessage(code, log));
}

// Estimates are for people: without them, a plan that asks for the same is the same file.
std::filesystem::path KeepPlan(const StudyPlan& plan, const WorkFolder& work) {
  WriteJsonFile(work.Plan(plan.spec.name), ToJson(plan));
  StudyPlan bare = plan;
  for (Stage& stage : bare.stages) {
    stage.seconds = 0;
    stage.memory_bytes = stage.disk_bytes = 0;
  }
  return work.WriteOnce("plans", ".json", StrCat(ToJson(bare).dump(), "\n"));
}

}  // namespace qualm
