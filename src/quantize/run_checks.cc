// Everything about recipe, calibration and checkpoint that can be refused before a run begins:
// group sizes, patterns, tensor names, tokens. A mistake must not show up after an hour of work.
#include "quantize/run_checks.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error_place.h"
#include "base/strings.h"
#include "quantize/model_rotation.h"
#include "quantize/output_folder.h"

namespace qualm {
namespace {

// What recipes call the head, whatever its tensor's name is.
constexpr const char* kHeadOfAnyFamily = "lm_head";

// What goes in and out of a layer can be grouped no wider than it is.
void CheckActivations(const std::string& place, const LayerPlan& plan, size_t in) {
  if (!plan.activations || plan.activations->scheme.granularity != Granularity::kGroup) return;
  if (static_cast<size_t>(plan.activations->scheme.group_size) <= in) return;
  ThrowBadInput(place, StrCat("activations with group_size of at most in_features ", in),
                StrCat(plan.activations->scheme.group_size),
                "use a smaller group or granularity: token");
}

// Group sizes must fit each layer before anything is written.
void CheckLayer(const QuantizeOptions& options, const Checkpoint& checkpoint, size_t block,
                const LinearSite& site) {
  const std::string name = checkpoint.plan().NameIn(block, site.name);
  const LayerPlan plan = options.recipe.PlanFor(name);
  const RotationOptions* rotation = options.recipe.rotation();

  // A skipped layer has no online transforms, so nothing would rotate its input.
  const bool is_rotated_online =
      rotation != nullptr && rotation->online && site.role == SiteRole::kDown;
  if (plan.skip && is_rotated_online) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name, ": ", name),
                  "a quantized layer: its input is rotated online", "a skipped one",
                  "use {quarot: {online: false}}");
  }

  if (plan.skip) return;
  At([&] { return StrCat("layer ", name); }, [&] { plan.rounder->RequireScheme(plan.scheme); });
  CheckActivations(StrCat("recipe ", options.recipe.name, ": ", name), plan, site.in);

  if (plan.scheme.granularity != Granularity::kGroup) return;
  if (static_cast<size_t>(plan.scheme.group_size) <= site.in) return;
  ThrowBadInput(StrCat("recipe ", options.recipe.name, ": ", name),
                StrCat("group_size of at most in_features ", site.in),
                StrCat(plan.scheme.group_size), "use a smaller group or granularity: channel");
}

// A pattern that matches nothing is a spelling mistake that would change the result silently.
void CheckPatterns(const Recipe& recipe, const std::vector<std::string>& names) {
  const auto check = [&](const std::string& key, const std::string& pattern) {
    const auto matches = [&](const std::string& name) { return MatchesGlob(name, pattern); };
    if (std::ranges::any_of(names, matches)) return;
    const std::string nearest = NearestName(pattern, names);
    ThrowBadInput(StrCat("recipe ", recipe.name, ": ", key), "a pattern that matches some layer",
                  StrCat("'", pattern, "'"),
                  StrCat("names are like ", nearest.empty() ? names.front() : nearest));
  };
  for (const std::string& pattern : recipe.skip) check("skip", pattern);

  for (const std::string& pattern : recipe.activation_skip) check("activations: skip", pattern);
  for (const Recipe::Override& override : recipe.overrides) check("overrides", override.match);
}

// Token ids must be in the model's vocabulary.
void CheckTokens(const QuantizeOptions& options, const Checkpoint& checkpoint) {
  const auto vocab = checkpoint.plan().vocab_size();
  for (const auto* sequences : {&options.calibration->sequences, &options.calibration->held_out}) {
    for (const auto& sequence : *sequences) {
      for (TokenId id : sequence) {
        if (id >= 0 && static_cast<size_t>(id) < vocab) continue;
        ThrowBadInput("--calibration", StrCat("token ids in 0..", vocab - 1), StrCat(id),
                      "do the tokenizer and the model belong together?");
      }
    }
  }
}

// The head of a rotated model is another matrix than the embedding, and config.json must be able to
// say so in the family's words.
void RequireUntying(const Checkpoint& checkpoint) {
  if (!checkpoint.plan().tied_embeddings) return;
  const std::filesystem::path path = checkpoint.folder() / "config.json";
  const Json config = RotatedConfig(ReadModelConfig(checkpoint.source()), checkpoint.plan());
  if (!ParseModelPlan(config, path.string()).tied_embeddings) return;
  ThrowBadInput("quarot", "a family whose head is untied by tie_word_embeddings: false",
                checkpoint.plan().model_type, "use {quarot: {residual: false}}");
}

}  // namespace

void RefuseWhatCannotBeDone(const QuantizeOptions& options, const Checkpoint& checkpoint) {
  // First the calibration data.
  if (options.recipe.NeedsCalibration() && !options.calibration) {
    ThrowBadInput("--calibration", StrCat("a corpus: recipe ", options.recipe.name, " reads data"),
                  "none");
  }
  const std::string& head = checkpoint.plan().head.name;
  if (!options.recipe.PlanFor(head).skip && !options.recipe.PlanFor(kHeadOfAnyFamily).skip) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name),
                  StrCat("'", head, "' among the skipped layers"), "a recipe that quantizes it",
                  "the head stays in its stored type");
  }

  // Longer sequences would have positions that the model was not made for.
  if (options.calibration && options.calibration->length > checkpoint.plan().context) {
    ThrowBadInput("--length",
                  StrCat("at most ", checkpoint.plan().context, " (the model's context)"),
                  StrCat(options.calibration->length));
  }
  if (options.calibration) CheckTokens(options, checkpoint);

  if (const RotationOptions* rotation = options.recipe.rotation()) {
    RequireRotatable(checkpoint.plan(), *rotation);
    if (rotation->residual) RequireUntying(checkpoint);
  }

  // Then every linear layer, and the patterns against their names.
  std::vector<std::string> names;
  for (size_t b = 0; b < checkpoint.plan().blocks.size(); ++b) {
    for (const LinearSite& site : SitesOf(checkpoint.plan().blocks[b])) {
      CheckLayer(options, checkpoint, b, site);
      names.push_back(checkpoint.plan().NameIn(b, site.name));
    }
  }

  // A recipe that skips every layer is a mistake.
  if (std::ranges::all_of(
          names, [&](const std::string& name) { return options.recipe.PlanFor(name).skip; })) {
    ThrowBadInput(StrCat("recipe ", options.recipe.name), "a layer to quantize",
                  "skip patterns that match all of them");
  }
  names.push_back(head);
  if (head != kHeadOfAnyFamily) names.emplace_back(kHeadOfAnyFamily);
  CheckPatterns(options.recipe, names);
}

}  // namespace qualm
