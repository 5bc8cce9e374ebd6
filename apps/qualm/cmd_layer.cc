// qualm layer: takes one linear layer from .npy files through a recipe, without a model
// (quantize/layer.h).
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/context.h"
#include "base/strings.h"
#include "cli.h"
#include "io/npy.h"
#include "io/yaml.h"
#include "quantize/layer.h"
#include "recipe/recipe_schemes.h"

namespace qualm::cli {

namespace {

// `activations` may be given without a value; ChooseActivations says what that means.
struct Options {
  std::string weight, inputs, recipe, output, aux;
  std::optional<std::string> activations;
  uint64_t seed = 0;
};

// Null for a measure that was not taken, and for one that is not finite.
Json NumberOrNull(const std::optional<double>& value) {
  return value && std::isfinite(*value) ? Json(*value) : Json();
}

// All measures, with null for those that need inputs or data.
Json ReportAsJson(const Recipe& recipe, const LayerReport& report) {
  return {{"recipe", recipe.name},
          {"rounder", report.rounder},
          {"scheme", report.layer.scheme.ShortName()},
          {"activations", report.layer.activations
                              ? Json(ActivationShortName(report.layer.activations->scheme))
                              : Json()},
          {"choices", report.choices},
          {"out", report.layer.out_features},
          {"in", report.layer.in_features},
          {"tokens", report.tokens},
          // Relative errors: of the output, of the output with rounded inputs, of the weight.
          {"rel_output_error", NumberOrNull(report.rel_output_error)},
          {"rel_output_error_with_activations", NumberOrNull(report.rel_product_error)},
          {"rel_weight_error", NumberOrNull(report.rel_weight_error)},
          {"bits_per_weight", report.layer.BitsPerWeight()},
          {"seconds", report.seconds},
          // How the rounder got there, for methods that invert a Gram matrix.
          {"damping", NumberOrNull(report.damping)},
          {"damping_attempts", report.damping_attempts},
          {"fallback", report.fell_back_to_rtn},
          {"notes", report.notes}};
}

// Rows for what was measured; measures that need inputs are absent without them.
std::string ReportAsTable(const Recipe& recipe, const LayerReport& report) {
  const QuantizedLinear& layer = report.layer;
  std::vector<std::vector<std::string>> rows = {
      {"recipe", StrCat(recipe.name, " (", report.rounder, ", ", layer.scheme.ShortName(), ")")},
      {"shape", StrCat(layer.out_features, " x ", layer.in_features)}};

  // Errors on the outputs need inputs.
  if (report.rel_output_error) {
    rows.push_back({"relative output error", StrCat(Fixed(*report.rel_output_error, 6), " over ",
                                                    report.tokens, " tokens")});
  }
  if (report.rel_product_error) {
    rows.push_back(
        {"with rounded inputs", StrCat(Fixed(*report.rel_product_error, 6), " (",
                                       ActivationShortName(layer.activations->scheme), ")")});
  }

  for (const std::string& choice : report.choices) rows.push_back({"chosen", choice});
  rows.push_back({"relative weight error", Fixed(report.rel_weight_error, 6)});
  rows.push_back({"bits per weight", Fixed(layer.BitsPerWeight(), 4)});
  rows.push_back({"seconds", Fixed(report.seconds, 3)});
  if (report.damping) rows.push_back({"damping", StrCat(*report.damping)});
  if (report.fell_back_to_rtn) rows.push_back({"fallback", "rounded to nearest"});
  return FormatTable(rows, {});
}

// The value of --activations.
std::optional<ActivationPlan> ActivationsOf(const std::string& text) {
  return ParseActivations(Yaml::Parse(text, "--activations")).plan;
}

// --activations without a value asks for the recipe's; with a value it replaces them.
void ChooseActivations(const Options& options, Recipe& recipe) {
  if (!options.activations) return;
  if (options.activations->empty()) {
    if (recipe.activations) return;
    ThrowBadInput("--activations", "a scheme, such as int8",
                  StrCat("none, and recipe ", recipe.name, " leaves inputs as they are"));
  }
  recipe.activations = ActivationsOf(*options.activations);
}

int Run(const Options& options, const Globals& globals) {
  // The recipe and the matrices.
  Recipe recipe = FindRecipe(options.recipe);
  ChooseActivations(options, recipe);
  ThreadPool pool(globals.threads);
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  const Context context{pool, *progress};

  const Matrix weight = ReadNpy(options.weight);
  std::optional<Matrix> inputs;
  if (!options.inputs.empty()) inputs = ReadNpy(options.inputs);
  const Matrix* x = inputs ? &*inputs : nullptr;

  // Notes go to stderr, so that they do not disturb the JSON.
  const LayerReport report =
      QuantizeLayer(weight, x, recipe, options.weight, options.inputs, options.seed, context);
  for (const std::string& note : report.notes) progress->Warn(note);

  // The result must not overwrite its own inputs.
  std::error_code ignored;
  for (const std::string& input : {options.weight, options.inputs}) {
    if (!std::filesystem::equivalent(options.output, input, ignored)) continue;
    ThrowBadInput("--output", "another file than the inputs", options.output);
  }

  if (!options.output.empty()) WriteNpy(options.output, report.rounded);
  if (!options.aux.empty()) WriteLayerFiles(options.aux, report, x, context);

  if (globals.json) {
    PrintJson(ReportAsJson(recipe, report));
  } else {
    Print(ReportAsTable(recipe, report));
  }
  return kOk;
}

}  // namespace

Command AddLayer(Arguments& arguments, Globals& globals) {
  auto options = std::make_shared<Options>();
  // What is rounded, and how.
  arguments.Add("--weight", options->weight, "W [out, in], a .npy file of floats").Required();
  arguments.Add("--inputs", options->inputs,
                "X [tokens, in], a .npy file of floats; needed where the recipe reads data");
  arguments.Add("--recipe", options->recipe, "A name of 'qualm list recipes' or a .yaml file")
      .Required();
  arguments
      .Add("--activations", options->activations,
           "Round the inputs, too: a type (int8, fp8_e4m3), 'none', or a map as in recipes "
           "('{type: int8, granularity: tensor}'); alone: as the recipe says")
      .OptionalValue()
      .Checked([](const std::string& text) {
        if (!text.empty()) (void)ActivationsOf(text);
      });

  // What is written.
  arguments.Add("-o,--output", options->output, "Where to write the effective weight, .npy");
  arguments.Add(
      "--aux", options->aux,
      "A folder for scales, zeros, codes, smooth, outlier_mask and, with --inputs, Y (the layer's "
      "output) as .npy files");

  arguments.Add("--seed", options->seed, "For rounders that draw random numbers").ShowDefault();
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm layer --weight W.npy --inputs X.npy --recipe gptq-w4-g128-act -o W_hat.npy\n"
      "  qualm layer --weight W.npy --recipe rtn-w3-g64-sym --json\n"
      "  qualm layer --weight W.npy --inputs X.npy --recipe mine.yaml --aux parts\n"
      "  qualm layer --weight W.npy --inputs X.npy --recipe rtn-w8-channel-sym --activations int8");
  return [options, &globals] { return Run(*options, globals); };
}

}  // namespace qualm::cli
