#include "study/stage_run.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "data/named_corpora.h"
#include "io/hash.h"
#include "model/model.h"
#include "quantize/run.h"
#include "results/store.h"
#include "study/calibration_source.h"
#include "study/evaluate_stage.h"
#include "study/machine.h"
#include "study/measure_stage.h"
#include "study/stage_inputs.h"
#include "tasks/items.h"

namespace qualm {
namespace {

Json NumberOrNull(const std::optional<MeasuredError>& error) {
  return error ? Json(error->relative_output_error) : Json();
}

// What a report shows of the layers; the rest stands in the artefact's manifest.
Json LayersOf(const Manifest& manifest) {
  Json layers = Json::array();
  for (const LayerRecord& layer : manifest.layers) {
    layers.push_back({{"name", layer.name},
                      {"bits", layer.bits_per_weight},
                      {"mse", layer.quality.weight_mse},
                      {"calibration", NumberOrNull(layer.quality.calibration)},
                      {"held_out", NumberOrNull(layer.quality.held_out)},
                      {"fell_back", layer.quality.fell_back_to_rtn}});
  }
  return layers;
}

class GroupRunner {
 public:
  GroupRunner(const StudyPlan& plan, const WorkFolder& work, const StageRunOptions& options,
              ThreadPool& pool, Progress& progress)
      : plan_(plan), work_(work), options_(options), pool_(pool), progress_(progress) {}

  StageOutcome Run(const Stage& stage) {
    const std::unique_ptr<StageLock> lock = work_.TryLock(stage.key);
    if (!lock) return End(stage, StageOutcome::kHeldByOther, "");
    if (work_.IsDone(stage.key)) return End(stage, StageOutcome::kFoundDone, "");
    const auto start = std::chrono::steady_clock::now();
    StageRecord record = NewRecord(stage);
    try {
      RequireNeeds(stage);
      RunningFile running(work_, stage.key, progress_);
      record.result = Make(stage, running);
      record.status = "done";
    } catch (const Error& error) {
      record.error = error.what();
    } catch (const std::bad_alloc&) {
      record.error = "[memory] not enough memory for this stage";
    } catch (const std::exception& error) {
      record.error = StrCat("[internal] ", error.what());
    }
    record.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    record.peak_memory_bytes = PeakMemoryBytes();
    record.finished_at = UtcNow();
    work_.WriteRecord(record);
    return End(stage, record.is_done() ? StageOutcome::kDone : StageOutcome::kFailed, record.error);
  }

 private:
  StageOutcome End(const Stage& stage, StageOutcome outcome, const std::string& error) const {
    if (options_.on_end) options_.on_end(stage, outcome, error);
    return outcome;
  }

  StageRecord NewRecord(const Stage& stage) const {
    StageRecord record;
    record.key = stage.key;
    record.kind = StageKindName(stage.kind);
    record.label = stage.label;
    record.status = "failed";
    record.host = HostName();
    record.processor = ProcessorName();
    record.version = options_.version;
    record.threads = pool_.threads();
    record.inputs = stage.inputs;
    return record;
  }

  void RequireNeeds(const Stage& stage) const {
    for (const std::string& need : stage.needs) {
      if (work_.IsDone(need)) continue;
      ThrowFailed(stage.label, StrCat("its input is not done: ", plan_.Find(need).label));
    }
  }

  Json Make(const Stage& stage, Progress& progress) {
    switch (stage.kind) {
      case StageKind::kCalibrate:
        return Calibrate(stage, progress);
      case StageKind::kQuantize:
        return Quantize(stage, progress);
      case StageKind::kEvaluate:
        return Evaluate(stage, progress);
      case StageKind::kMeasure:
        return MeasureArtefact(ArtefactOf(stage), stage, pool_, progress);
    }
    return {};
  }

  // --- calibrate

  Json Calibrate(const Stage& stage, Progress& progress) {
    const CalibrationSpec spec = CalibrationFromInputs(stage.inputs, stage.label);
    Json result;
    const CalibrationSet set = MakeSet(stage, spec, result, progress);
    WriteFileAtomically(work_.Calibration(stage.key), ToJson(set).dump());
    result["hash"] = set.hash;
    result["corpus"] = set.corpus;
    result["sampler"] = set.sampler;
    result["sequences"] = set.sequences.size();
    result["length"] = set.length;
    result["tokens"] = set.tokens();
    result["documents"] = set.documents;
    result["held_out"] = set.held_out.size();
    return result;
  }

  CalibrationSet MakeSet(const Stage& stage, const CalibrationSpec& spec, Json& result,
                         Progress& progress) {
    const std::string folder = GetString(stage.inputs, "model", stage.label);
    switch (spec.kind) {
      case CalibrationKind::kCorpus: {
        const Corpus corpus = FindCorpus(spec.corpus, CorpusUse::kCalibration, plan_.data_folder,
                                         {.text_field = spec.text_field});
        RequireUnchanged(stage, "corpus_hash", corpus.hash, spec.corpus);
        return SampleCalibration(corpus, TokenizerOf(folder), spec.sampler);
      }
      case CalibrationKind::kRows:
        return RowSetOf(stage, spec, TokenizerOf(folder), result);
      case CalibrationKind::kRandomTokens:
        return RandomTokenSet(TokenizerOf(folder), spec.sampler);
      case CalibrationKind::kSelfGenerated: {
        const Model& model = ModelOf(folder);
        ResultStore store(work_.Answers(stage.key));
        return SelfGeneratedSet(model, model.Hash(), spec.temperature, spec.sampler, store, pool_,
                                progress);
      }
      case CalibrationKind::kMixed: {
        std::vector<CalibrationSet> members;
        for (const std::string& need : stage.needs) members.push_back(ReadSet(need));
        return MixedSet(members, spec.sampler);
      }
    }
    QUALM_CHECK(false);
    return {};
  }

  CalibrationSet RowSetOf(const Stage& stage, const CalibrationSpec& spec,
                          const Tokenizer& tokenizer, Json& result) const {
    Task task = FindTask(spec.task);
    SelectCategory(task, spec.category, stage.label);
    task.split = GetString(stage.inputs, "split", stage.label);
    ItemOptions options;
    options.shots = 0;
    options.pool = static_cast<RowPool>(GetIntIn(stage.inputs, "pool", stage.label, 0, 2));
    options.pool_seed = static_cast<uint64_t>(GetInt(stage.inputs, "pool_seed", stage.label));
    options.calibration_share = GetDouble(stage.inputs, "calibration_share", stage.label);
    std::vector<SubjectDocuments> subjects;
    Hasher hasher;
    for (const TaskItem& item : MakeItems(task, options, plan_.data_folder).items) {
      if (subjects.empty() || subjects.back().subject != item.subset) {
        subjects.push_back({item.subset, {}});
      }
      const size_t right = item.continuations.size() == 1 ? 0 : item.gold;
      subjects.back().documents.push_back(
          StrCat(item.shots->header, item.ContextOf(right), item.continuations[right], "\n\n"));
      hasher.Add(subjects.back().documents.back());
    }
    std::vector<size_t> drawn;
    const std::string name =
        StrCat(task.name, task.variant, ":", task.split,
               options.pool == RowPool::kCalibration ? " (calibration pool)" : "");
    CalibrationSet set =
        PerSubjectSet(subjects, name, hasher.Hex(), tokenizer, spec.sampler, &drawn);
    Json table = Json::array();
    for (size_t i = 0; i < subjects.size(); ++i) {
      table.push_back({{"subject", subjects[i].subject},
                       {"rows", subjects[i].documents.size()},
                       {"drawn", drawn[i]}});
    }
    result["subjects"] = std::move(table);
    return set;
  }

  static void RequireUnchanged(const Stage& stage, std::string_view key, const std::string& hash,
                               const std::string& what) {
    if (GetString(stage.inputs, key, stage.label) == hash) return;
    ThrowFailed(stage.label, StrCat(what, " has changed since the study was planned"));
  }

  CalibrationSet ReadSet(const std::string& key) const {
    const std::filesystem::path file = work_.Calibration(key);
    return CalibrationSetFromJson(ReadJsonFile(file), file.string());
  }

  // --- quantize

  QuantizeOptions OptionsOf(const Stage& stage) const {
    QuantizeOptions options;
    options.model = GetString(stage.inputs, "model", stage.label);
    options.out = work_.Artefact(stage.key);
    options.recipe = OrderedRecipe(GetString(stage.inputs, "recipe", stage.label),
                                   GetString(stage.inputs, "order", stage.label));
    RequireUnchanged(stage, "recipe_hash", HashBytes(options.recipe.CanonicalJson()),
                     StrCat("recipe ", options.recipe.name));
    options.seed = static_cast<uint64_t>(GetInt(stage.inputs, "seed", stage.label));
    options.qualm_version = options_.version;
    if (!stage.needs.empty()) options.calibration = ReadSet(stage.needs[0]);
    return options;
  }

  Json Quantize(const Stage& stage, Progress& progress) {
    const QuantizeResult result = QuantizeModel(OptionsOf(stage), pool_, progress);
    RequireUnchanged(stage, "model_hash", result.manifest.source_hash, "the model");
    return {{"artefact_hash", result.manifest.ArtefactHash()},
            {"bits_per_weight", result.manifest.bits_per_weight_layers},
            {"bits_per_weight_model", result.manifest.bits_per_weight_model},
            {"blocks_resumed", result.blocks_resumed},
            {"layers", LayersOf(result.manifest)}};
  }

 public:
  // Makes the folders of stages that may share one pass of the calibration tokens, before they are
  // run one by one, which then only reads what they find. What fails here fails there again, by
  // itself.
  void QuantizeTogether(const std::vector<const Stage*>& stages) {
    std::vector<std::unique_ptr<StageLock>> locks;
    std::vector<QuantizeOptions> all;
    try {
      for (const Stage* stage : stages) {
        if (work_.IsDone(stage->key)) continue;
        locks.push_back(work_.TryLock(stage->key));
        if (!locks.back()) continue;
        QuantizeOptions options = OptionsOf(*stage);
        if (options.recipe.block_order == Order::kParallel) all.push_back(std::move(options));
      }
      if (all.size() < 2) return;
      RunningFile running(work_, stages[0]->key, progress_);
      (void)QuantizeModels(all, pool_, running);
    } catch (const Error& error) {
      progress_.Warn(StrCat("quantizing together failed, one by one now: ", error.what()));
    }
  }

 private:
  // --- evaluate

  // The folder of what a stage looks at: the artefact, or the float model.
  std::string ArtefactOf(const Stage& stage) const {
    const std::string quantize = GetString(stage.inputs, "quantize", stage.label);
    return quantize.empty() ? GetString(stage.inputs, "model", stage.label)
                            : work_.Artefact(quantize).string();
  }

  Json Evaluate(const Stage& stage, Progress& progress) {
    const std::string folder = GetString(stage.inputs, "model", stage.label);
    const std::string artefact = ArtefactOf(stage);
    const bool is_float = artefact == folder;
    const bool needs_reference = !is_float && GetString(stage.inputs, "task", stage.label).empty();
    const Model& model = ModelOf(artefact);
    if (is_float && model.Hash() != GetString(stage.inputs, "model_hash", stage.label)) {
      ThrowFailed(stage.label, "the model has changed since the study was planned");
    }
    const Model* reference = needs_reference ? &ModelOf(folder) : nullptr;
    return EvaluateTest(stage, plan_, work_, model, reference, pool_, progress);
  }

  const Tokenizer& TokenizerOf(const std::string& folder) {
    std::unique_ptr<Tokenizer>& tokenizer = tokenizers_[folder];
    if (!tokenizer) tokenizer = LoadTokenizer(folder);
    return *tokenizer;
  }

  const Model& ModelOf(const std::string& folder) {
    std::optional<Model>& model = models_[folder];
    if (!model) model.emplace(LoadModel(folder, {}, pool_));
    return *model;
  }

  const StudyPlan& plan_;
  const WorkFolder& work_;
  const StageRunOptions& options_;
  ThreadPool& pool_;
  Progress& progress_;
  std::map<std::string, std::optional<Model>> models_;
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers_;
};

}  // namespace

std::vector<StageOutcome> RunStages(const StudyPlan& plan, const std::vector<std::string>& keys,
                                    const WorkFolder& work, const StageRunOptions& options,
                                    ThreadPool& pool, Progress& progress) {
  GroupRunner runner(plan, work, options, pool, progress);
  std::map<std::string, std::vector<const Stage*>> quantize;
  for (const std::string& key : keys) {
    const Stage& stage = plan.Find(key);
    if (stage.kind == StageKind::kQuantize) quantize[stage.group].push_back(&stage);
  }
  for (const auto& [group, stages] : quantize) {
    if (stages.size() > 1) runner.QuantizeTogether(stages);
  }
  std::vector<StageOutcome> outcomes;
  for (const std::string& key : keys) outcomes.push_back(runner.Run(plan.Find(key)));
  return outcomes;
}

void RecordFailure(const StudyPlan& plan, const Stage& stage, const WorkFolder& work,
                   const std::string& error) {
  StageRecord record;
  record.key = stage.key;
  record.kind = StageKindName(stage.kind);
  record.label = stage.label;
  record.status = "failed";
  record.error = error;
  record.host = HostName();
  record.processor = ProcessorName();
  record.version = plan.version;
  record.finished_at = UtcNow();
  record.inputs = stage.inputs;
  work.WriteRecord(record);
}

}  // namespace qualm
