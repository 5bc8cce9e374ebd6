// qualm quantize: turns a float checkpoint, a recipe and perhaps calibration text into a quantized
// folder. With --plan it only estimates the cost.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "calibrate/sampler.h"
#include "cli.h"
#include "data/named_corpora.h"
#include "model/model.h"
#include "model_flags.h"
#include "quantize/plan.h"
#include "quantize/run.h"

namespace qualm::cli {
namespace {

struct Flags {
  Flags() { sampler.length = 0; }  // until the model's context is known

  ModelFlags model;
  std::string out, calibration, text_field = "text", data, order;
  std::vector<std::string> recipes;
  SamplerOptions sampler;
  size_t blocks = 0;
  bool plan = false, overwrite = false, spill = false;
};

// The calibration sequences of the text, cut by the model's tokenizer.
CalibrationSet Sample(const Flags& flags, const ModelSource& model, Progress& progress) {
  const size_t context = ReadModelPlan(model).context;
  SamplerOptions sampler = flags.sampler;
  if (sampler.length == 0) sampler.length = std::min<size_t>(2048, context);

  CorpusOptions corpus_options;
  corpus_options.text_field = flags.text_field;
  Corpus corpus = FindCorpus(flags.calibration, CorpusUse::kCalibration, DataFolder(flags.data),
                             corpus_options);
  WarnOfBytes(corpus, progress);

  // Said here with a hint, before the tokenizer is loaded.
  if (!HasTokenizer(model.folder)) {
    ThrowBadInput(model.name, "a tokenizer in the model's folder", "none",
                  "calibration text needs one");
  }
  return SampleCalibration(corpus, *LoadTokenizer(model.folder), sampler);
}

// The options of each recipe. One recipe writes to --out, several write to folders of their names
// in it.
std::vector<QuantizeOptions> MakeOptions(const Flags& flags, Progress& progress) {
  // What all recipes share; the calibration set is sampled once.
  QuantizeOptions options;
  options.model = SourceOf(flags.model);
  options.seed = flags.sampler.seed;
  options.overwrite = flags.overwrite;
  options.spill = flags.spill;
  if (flags.blocks > 0) options.stop_after_blocks = flags.blocks;
  options.qualm_version = QUALM_VERSION;
  if (!flags.calibration.empty()) {
    options.calibration = Sample(flags, options.model, progress);
  }

  std::vector<QuantizeOptions> all;

  // Then a copy for each recipe.
  for (const std::string& name : flags.recipes) {
    options.recipe = FindRecipe(name);
    if (!flags.order.empty()) {
      options.recipe.block_order = options.recipe.layer_order =
          flags.order == "parallel" ? Order::kParallel : Order::kSequential;
    }

    if (options.recipe.NeedsCalibration() && !options.calibration) {
      ThrowBadInput("--calibration",
                    StrCat("a text file: recipe ", options.recipe.name, " reads data"), "none",
                    "for example --calibration train.txt --samples 128 --length 2048");
    }

    // Recipes of the same name would write into the same folder.
    options.out = flags.out;
    if (flags.recipes.size() > 1) options.out /= options.recipe.name;
    for (const QuantizeOptions& other : all) {
      if (other.out != options.out) continue;
      ThrowBadInput("--recipe", "recipes with different names", options.recipe.name,
                    "each names a folder in --out");
    }
    all.push_back(options);
  }
  return all;
}

// The estimate as it is printed by --plan --json.
Json PlanJson(const Plan& plan, const QuantizeOptions& options) {
  // Stages in the order in which they run.
  Json stages = Json::array();
  for (const PlanStage& stage : plan.stages) {
    stages.push_back(Json{
        {"stage", stage.name}, {"seconds", stage.seconds}, {"memory_bytes", stage.memory_bytes}});
  }

  return Json{{"model", options.model.name},
              {"recipe", options.recipe.name},
              {"blocks", plan.blocks},
              {"calibration_tokens", plan.calibration_tokens},
              {"held_out_tokens", plan.held_out_tokens},
              {"measured_gflops", plan.gflops},
              {"stages", stages},
              // Totals: memory that is held throughout, the peak, disk and time.
              {"resident_bytes", plan.resident_bytes},
              {"peak_memory_bytes", plan.peak_memory_bytes},
              {"disk_bytes", plan.disk_bytes},
              {"seconds", plan.seconds}};
}

void PrintPlan(const Plan& plan, const QuantizeOptions& options) {
  // Stages first, then totals.
  std::vector<std::vector<std::string>> rows = {{"stage", "time", "memory"}};
  for (const PlanStage& stage : plan.stages) {
    rows.push_back({stage.name, HumanSeconds(stage.seconds), HumanBytes(stage.memory_bytes)});
  }
  rows.push_back({"resident", "", HumanBytes(plan.resident_bytes)});
  rows.push_back({"total", HumanSeconds(plan.seconds), HumanBytes(plan.peak_memory_bytes)});

  Print(FormatTable(rows, {false, true, true}));
  Print(StrCat(
      plan.blocks, " blocks, ", plan.calibration_tokens, " calibration and ", plan.held_out_tokens,
      " held-out tokens; ", HumanBytes(plan.disk_bytes), " on disk at ", options.out.string(),
      "\nEstimated from shapes and ", Fixed(plan.gflops, 0),
      " GFLOP/s measured now; on an idle machine times are right within a factor of two for "
      "layers of a thousand inputs and more, too short for small ones.\n"));
}

// "-" for layers on which nothing was measured.
std::string ErrorText(const std::optional<MeasuredError>& error) {
  return error ? Fixed(error->relative_output_error, 4) : "-";
}

// Short remarks for the table's last column; "!" refers to the layer's notes.
std::string FlagText(const LayerQuality& quality) {
  std::string text;
  if (quality.fell_back_to_rtn) text += " fell back to rtn";
  if (quality.damping_attempts > 1) text += StrCat(" damped ", quality.damping_attempts, "x");
  if (quality.gram_tokens > 0 && !quality.notes.empty()) text += " !";
  return text.empty() ? text : text.substr(1);
}

// A table of the layers, with totals after it; a run that was stopped has no manifest to show.
void PrintResult(const QuantizeResult& result, const QuantizeOptions& options) {
  if (!result.finished) {
    Print(StrCat(options.recipe.name, ": stopped after ",
                 result.blocks_resumed + result.blocks_written,
                 " blocks, as requested; the same command without --blocks continues\n"));
    return;
  }

  // The number of rows that errors are measured on is the same for all layers.
  const Manifest& manifest = result.manifest;
  std::vector<std::vector<std::string>> rows = {
      {"layer", "shape", "bits/w", "mse", "err calib", "err held-out", "damping", "notes"}};
  uint64_t calibration_rows = 0, held_out_rows = 0;
  for (const LayerRecord& layer : manifest.layers) {
    const LayerQuality& quality = layer.quality;
    if (quality.calibration) calibration_rows = quality.calibration->tokens;
    if (quality.held_out) held_out_rows = quality.held_out->tokens;
    rows.push_back({layer.name, StrCat(layer.out_features, "x", layer.in_features),
                    Fixed(layer.bits_per_weight, 3), Scientific(quality.weight_mse, 3),
                    ErrorText(quality.calibration), ErrorText(quality.held_out),
                    quality.damping ? StrCat(*quality.damping) : "-", FlagText(quality)});
  }

  Print(FormatTable(rows, {false, true, true, true, true, true, true, false}));
  Print(StrCat("\nerr: |X(W-Q)'| / |XW'| on ", calibration_rows, " calibration and ", held_out_rows,
               " held-out tokens\n"));
  Print(StrCat(manifest.recipe_name, ": ", Fixed(manifest.bits_per_weight_layers, 3),
               " bits per weight in the quantized layers, ",
               Fixed(manifest.bits_per_weight_model, 3), " in the whole model\n",
               options.out.string(), "\n"));
}

// What a run did; an unfinished one has neither hash nor layers.
Json ResultJson(const QuantizeResult& result, const QuantizeOptions& options) {
  // Layers and totals are known only when the run is finished.
  Json layers = Json::array();
  for (const LayerRecord& layer : result.manifest.layers) layers.push_back(ToJson(layer));
  Json json{{"model", options.model.name},
            {"out", options.out.string()},
            {"recipe", options.recipe.name},
            {"finished", result.finished},
            {"blocks_resumed", result.blocks_resumed},
            {"blocks_written", result.blocks_written}};

  if (!result.finished) return json;
  json["artefact_hash"] = result.manifest.ArtefactHash();
  json["bits_per_weight_layers"] = result.manifest.bits_per_weight_layers;
  json["bits_per_weight_model"] = result.manifest.bits_per_weight_model;
  if (result.manifest.calibration) json["calibration"] = ToJson(*result.manifest.calibration);
  json["layers"] = layers;
  return json;
}

// Prints the object of a single run as it is, several of them as a list.
void PrintJsonOf(std::vector<Json> runs) {
  if (runs.size() == 1) {
    PrintJson(runs.front());
  } else {
    PrintJson(Json{{"runs", runs}});
  }
}

// --plan: estimates for every recipe, and nothing is written.
int RunPlan(const std::vector<QuantizeOptions>& all, const Context& context,
            const Globals& globals) {
  // All recipes are checked before the first estimate, which takes a moment.
  std::vector<Json> plans;
  for (const QuantizeOptions& options : all) CheckQuantizeOptions(options);

  for (const QuantizeOptions& options : all) {
    // A heading tells the tables of several recipes apart.
    const Plan plan = MakePlan(options, context);
    if (all.size() > 1 && !globals.json) Print(StrCat(options.recipe.name, "\n"));
    if (globals.json) {
      plans.push_back(PlanJson(plan, options));
    } else {
      PrintPlan(plan, options);
    }
  }
  if (globals.json) PrintJsonOf(std::move(plans));
  return kOk;
}

int Run(const Flags& flags, const Globals& globals) {
  // Options of all recipes, checked as far as flags allow.
  std::unique_ptr<Progress> progress = MakeProgress(globals);
  const std::vector<QuantizeOptions> all = MakeOptions(flags, *progress);
  ThreadPool pool(globals.threads);
  const Context context{pool, *progress};
  if (flags.plan) return RunPlan(all, context, globals);

  // All recipes have the same calibration set.
  const std::optional<CalibrationSet>& calibration = all.front().calibration;
  if (calibration && calibration->held_out.empty()) {
    progress->Warn("the corpus has no text left for held-out sequences: no held-out errors");
  }

  // One call for all recipes, so that they can share passes over the calibration tokens.
  const std::vector<QuantizeResult> results = QuantizeModels(all, context);

  std::vector<Json> runs;
  for (size_t i = 0; i < all.size(); ++i) {
    if (globals.json) {
      runs.push_back(ResultJson(results[i], all[i]));
    } else {
      PrintResult(results[i], all[i]);
    }
  }
  if (globals.json) PrintJsonOf(std::move(runs));
  return kOk;
}

}  // namespace

Command AddQuantize(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<Flags>();
  // What is quantized, how, and where to.
  AddModelFlags(arguments, flags->model, "model", "Float checkpoint");
  arguments
      .Add("--recipe", flags->recipes,
           "Name (see 'qualm list recipes') or YAML file; may be given several times")
      .OnePerFlag()
      .Required();
  arguments
      .Add("-o,--out", flags->out,
           "Output folder (with several recipes: one in it for each); an unfinished one is resumed")
      .Required();
  arguments
      .Add("--order", flags->order,
           "Whether blocks and layers see what was quantized before them (sequential) or the float "
           "model (parallel: several recipes share one pass); default: the recipe's")
      .OneOf({"sequential", "parallel"});

  // Calibration text and how it is sampled.
  arguments.Add("--calibration", flags->calibration,
                "Text: .txt, .jsonl, a folder of them, or a name ('qualm list corpora')");
  AddDataFlag(arguments, flags->data);
  arguments.Add("--text-field", flags->text_field, "Key of the text in .jsonl lines").ShowDefault();
  arguments.Add("--samples", flags->sampler.samples, "Calibration sequences").ShowDefault();
  arguments
      .Add("--length", flags->sampler.length,
           "Tokens of each; default: 2048, at most the model's context")
      .Positive();
  arguments.Add("--seed", flags->sampler.seed, "Seed of the sampling and of the rounders")
      .ShowDefault();
  arguments.Add("--sampler", flags->sampler.sampler, "See 'qualm list samplers'")
      .ShowDefault()
      .Checked([](const std::string& text) {
        const std::vector<std::string> known = SamplerNames();
        if (std::ranges::find(known, text) != known.end()) return;
        ThrowUnknownName("--sampler", "sampler", text, known);
      });
  arguments
      .Add("--held-out", flags->sampler.held_out,
           "Held-out sequences for the error table (fewer if the corpus is short)")
      .ShowDefault();

  // How the run behaves.
  arguments.Add("--blocks", flags->blocks, "Stop after writing this many blocks").Positive();
  arguments.Flag("--plan", flags->plan, "Print memory, disk and time, and do nothing");
  arguments.Flag("--overwrite", flags->overwrite,
                 "Start over in a folder with an earlier artefact");
  arguments.Flag("--spill", flags->spill, "Keep hidden states in a file instead of memory");

  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm quantize MODEL --recipe rtn-w4-g128 -o OUT\n"
      "  qualm quantize MODEL --recipe gptq-w4-g128-act --calibration train.txt \\\n"
      "      --samples 128 --length 2048 -o OUT\n"
      "  qualm quantize MODEL --recipe mine.yaml --calibration c4.jsonl -o OUT --plan\n"
      "  qualm quantize MODEL --recipe gptq-w4-g128 --recipe spqr-w3-g16 --order parallel \\\n"
      "      --calibration train.txt -o OUTS");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
