// qualm inspect: shows what a model folder holds, float or quantized, without running it. The plain
// output is made from the same object as the JSON.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "cli.h"
#include "foreign_layers.h"
#include "formats/gguf_model.h"
#include "model/model.h"
#include "model/model_sizes.h"
#include "model_flags.h"
#include "text_flags.h"

namespace qualm::cli {

namespace {

// In the words of config.json; null without scaling.
Json RopeScalingAsJson(const RopeScaling& scaling) {
  using Kind = RopeScaling::Kind;
  constexpr std::pair<Kind, const char*> kNames[] = {
      {Kind::kLinear, "linear"}, {Kind::kDynamic, "dynamic"},   {Kind::kLlama3, "llama3"},
      {Kind::kYarn, "yarn"},     {Kind::kLongRope, "longrope"},
  };
  Json json = nullptr;
  for (const auto& [kind, name] : kNames) {
    if (scaling.kind == kind) json = {{"rope_type", name}, {"factor", scaling.factor}};
  }

  // Only the keys that this kind of scaling has.
  if (scaling.kind == Kind::kNone || scaling.kind == Kind::kLinear) return json;
  if (scaling.kind == Kind::kLlama3) {
    json["low_freq_factor"] = scaling.low_freq_factor;
    json["high_freq_factor"] = scaling.high_freq_factor;
  }
  if (scaling.kind == Kind::kYarn) {
    json["ramp"] = {scaling.ramp_first, scaling.ramp_last};
  }
  json["original_max_position_embeddings"] = scaling.original_context;
  if (scaling.attention_factor != 1) json["attention_factor"] = scaling.attention_factor;
  return json;
}

// The size of the window and the first block that has one; if later blocks see everything again,
// the blocks that have it are listed.
void AddWindow(const ModelPlan& plan, Json& json) {
  std::vector<size_t> windowed;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    const AttentionPlan* attention = AttentionOf(plan.blocks[b]);
    if (attention != nullptr && attention->window > 0) windowed.push_back(b);
  }

  json["sliding_window"] = nullptr;
  if (windowed.empty()) return;
  json["sliding_window"] = AttentionOf(plan.blocks[windowed.front()])->window;
  json["first_window_layer"] = windowed.front();
  const bool is_without_gap = windowed.size() == plan.blocks.size() - windowed.front();
  if (!is_without_gap) json["window_layers"] = windowed;
}

// The attention of the first block, in the words of config.json.
void AddAttention(const AttentionPlan& attention, Json& json) {
  json["heads"] = attention.heads;
  json["kv_heads"] = attention.kv_heads;
  json["head_dim"] = attention.head_dim;
  if (attention.rotary && attention.rotary->dims != attention.head_dim) {
    json["rotary_dims"] = attention.rotary->dims;
  }
  if (attention.norms)
    json["query_key_norms"] =
        attention.norms->query.groups > 1 || attention.norms->query.width == attention.head_dim
            ? "each head"
            : "all heads";
}

// How tokens know their place: in the words of the papers.
Json PositionsAsJson(const ModelPlan& plan) {
  Json kinds = Json::array();
  size_t rotated = 0, biased = 0;
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    if (attention == nullptr) continue;
    rotated += attention->rotary.has_value();
    biased += !attention->alibi_slopes.empty();
  }
  const auto add = [&](size_t blocks, const char* name) {
    if (blocks == 0) return;
    kinds.push_back(blocks == plan.blocks.size()
                        ? std::string(name)
                        : StrCat(name, " in ", blocks, " of ", plan.blocks.size(), " blocks"));
  };
  add(rotated, "rotary");
  add(biased, "ALiBi");
  if (plan.positions) kinds.push_back("learned");
  return kinds;
}

// The keys follow config.json and describe the first block; parts that a family does not have are
// left out.
Json PlanAsJson(const ModelPlan& plan) {
  const BlockPlan& block = plan.blocks.front();
  const AttentionPlan* attention = AttentionOf(block);
  // The last MLP of the block, if there are several.
  const MlpPlan* mlp = nullptr;
  for (const Branch& branch : block.branches) {
    if (const auto* found = std::get_if<MlpPlan>(&branch.part)) mlp = found;
  }

  Json json = {{"model_type", plan.model_type},
               {"layers", plan.blocks.size()},
               {"hidden_size", plan.hidden_size}};
  if (mlp != nullptr) json["intermediate_size"] = mlp->up.out;
  if (attention != nullptr) AddAttention(*attention, json);
  json["vocab_size"] = plan.vocab_size();
  json["context"] = plan.context;
  json["positions"] = PositionsAsJson(plan);

  // The key names the kind of norm, as in the families' own files.
  if (plan.final_norm) {
    const NormParameters& norm = plan.final_norm->parameters;
    json[norm.kind == NormKind::kRms ? "rms_norm_eps" : "layer_norm_eps"] = norm.eps;
  }
  if (attention != nullptr && attention->rotary) {
    json["rope_theta"] = attention->rotary->theta;
    json["rope_scaling"] = RopeScalingAsJson(attention->rotary->scaling);
  }

  AddWindow(plan, json);
  json["tied_embeddings"] = plan.tied_embeddings;
  if (attention != nullptr) {
    json["qkv_bias"] = attention->query.requires_bias;
    json["o_bias"] = attention->output.requires_bias;
  }
  if (mlp != nullptr) json["mlp_bias"] = mlp->up.requires_bias;
  // What no key of config.json says.
  if (!plan.assumptions.empty()) json["assumed"] = plan.assumptions;
  return json;
}

// Null if there is no tokenizer.
Json TokenizerAsJson(const Tokenizer* tokenizer) {
  if (tokenizer == nullptr) return nullptr;
  const SpecialTokens& special = tokenizer->special();
  const auto token = [&](std::optional<TokenId> id) -> Json {
    if (!id) return nullptr;
    return {{"id", *id}, {"piece", tokenizer->Piece(*id)}};
  };

  return {{"kind", tokenizer->kind()},  {"vocab_size", tokenizer->vocab_size()},
          {"bos", token(special.bos)},  {"eos", token(special.eos)},
          {"unk", token(special.unk)},  {"pad", token(special.pad)},
          {"add_bos", special.add_bos}, {"add_eos", special.add_eos}};
}

// The keys of generation_config.json that --sampling model refuses.
std::vector<std::string> UnsupportedKeys(const GenerationConfig& config) {
  std::vector<std::string> keys;
  for (const SamplingSetting& setting : config.sampling) {
    if (!setting.is_supported && !setting.is_neutral) keys.push_back(setting.key);
  }
  return keys;
}

// What ends a text, and what generation_config.json says of how texts are drawn.
Json GenerationAsJson(const GenerationConfig& config, const Tokenizer* tokenizer) {
  return {{"end_of_text", TokensAsJson(EndsOfText(config, tokenizer), tokenizer)},
          {"sampling", SettingsAsJson(config)},
          {"unsupported", UnsupportedKeys(config)}};
}

// Every tensor as the file has it, quantized or not.
Json TensorsAsJson(const TensorFile& file) {
  Json json = Json::array();
  for (const TensorView& tensor : file.tensors()) {
    json.push_back({{"name", tensor.name},
                    {"dtype", NameOf(tensor.type)},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes.size()}});
  }
  return json;
}

Json QuantizationAsJson(const Manifest& manifest) {
  // One object per quantized layer.
  Json layers = Json::array();
  for (const LayerRecord& layer : manifest.layers) {
    layers.push_back({{"name", layer.name},
                      {"scheme", layer.scheme.ShortName()},
                      {"rounder", layer.rounder},
                      {"bits_per_weight", layer.bits_per_weight},
                      {"bytes", layer.stored_bytes}});
  }

  Json json = {{"recipe", manifest.recipe_name},
               {"qualm_version", manifest.qualm_version},
               {"source", manifest.source_name},
               {"source_dtype", manifest.source_dtype},
               {"bits_per_weight_layers", manifest.bits_per_weight_layers},
               {"calibration", nullptr},
               {"layers", std::move(layers)}};
  if (manifest.calibration) json["calibration"] = ToJson(*manifest.calibration);
  return json;
}

// "4096x11008".
std::string ShapeText(const TensorView& tensor) {
  std::string text;
  for (const size_t size : tensor.shape) text += StrCat(text.empty() ? "" : "x", size);
  return text;
}

// Turns the objects of the JSON form into "key  value" lines; lists of texts become a line each;
// others have tables instead.
void AddLines(const Json& object, const std::string& prefix,
              std::vector<std::vector<std::string>>& lines) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) {
      AddLines(value, StrCat(prefix, key, "."), lines);
    } else if (value.is_array() && !value.empty() && value[0].is_string()) {
      // A line for each text, as long as that can be read at a glance.
      constexpr size_t kMostLines = 4;
      for (size_t i = 0; i < std::min(kMostLines, value.size()); ++i) {
        lines.push_back({prefix + key, value[i].get<std::string>()});
      }
      if (value.size() > kMostLines) {
        lines.push_back({prefix + key, StrCat("and ", value.size() - kMostLines, " more")});
      }
    } else if (!value.is_array() && !value.is_null()) {
      lines.push_back({prefix + key, value.is_string() ? value.get<std::string>() : value.dump()});
    }
  }
}

// The lists of GenerationAsJson as lines.
void AddGenerationLines(const GenerationConfig& config, const Tokenizer* tokenizer,
                        std::vector<std::vector<std::string>>& lines) {
  lines.push_back({"end of text", TokensText(EndsOfText(config, tokenizer), tokenizer)});
  const std::vector<std::string> unsupported = UnsupportedKeys(config);
  if (!unsupported.empty()) {
    lines.push_back({"not supported by --sampling model", Join(unsupported, ", ")});
  }
}

// What a folder consists of, as far as it is shown.
struct Folder {
  std::optional<Manifest> manifest;
  std::unique_ptr<Tokenizer> tokenizer;  // null if there is none
  GenerationConfig generation;
};

// The summary, then a table of layers, then one of tensors.
void PrintPlain(const Json& summary, const ModelSizes& sizes, const Checkpoint& checkpoint,
                const Folder& folder) {
  const std::optional<Manifest>& manifest = folder.manifest;
  std::vector<std::vector<std::string>> lines;
  AddLines(summary, "", lines);
  AddGenerationLines(folder.generation, folder.tokenizer.get(), lines);
  lines.push_back({"file size", HumanBytes(sizes.file_bytes)});
  Print(FormatTable(lines, {}) + "\n");

  if (const QuantizedLayers* layers = checkpoint.quantized().layers()) {
    PrintForeignLayers(*layers);
  }

  // Only quantized layers have a scheme.
  if (manifest) {
    std::vector<std::vector<std::string>> layers = {{"layer", "scheme", "rounder", "bits"}};
    for (const LayerRecord& layer : manifest->layers) {
      layers.push_back(
          {layer.name, layer.scheme.ShortName(), layer.rounder, Fixed(layer.bits_per_weight, 3)});
    }
    Print(FormatTable(layers, {false, false, false, true}) + "\n");
  }

  std::vector<std::vector<std::string>> tensors = {{"tensor", "type", "shape", "bytes"}};
  for (const TensorView& tensor : checkpoint.tensors().file().tensors()) {
    tensors.push_back({tensor.name, std::string(NameOf(tensor.type)), ShapeText(tensor),
                       StrCat(tensor.bytes.size())});
  }
  Print(FormatTable(tensors, {false, false, true, true}));
}

// What the command line changed, and the tensors that mean nothing; nothing where there is none.
void AddOverridesOf(const Checkpoint& checkpoint, Json& summary) {
  for (const ConfigOverride& changed : checkpoint.source().config) {
    summary["overrides"][changed.key] = Json::parse(changed.value);
  }
  const std::vector<std::string>& left_out = checkpoint.tensors().left_out();
  if (left_out.empty()) return;
  summary["tensors_left_out"] = left_out.size();
  summary["left_out"] = left_out;
}

// A quantized file of a family that cannot run: what it holds can still be said. False if the
// source is not such a file.
bool InspectWithoutPlan(const ModelSource& source, const std::string& reason,
                        const Globals& globals) {
  const bool is_gguf = IsGgufFile(source.folder);
  const auto gguf = is_gguf ? GgufModel::Open(source.folder) : nullptr;
  const TensorFile file = is_gguf ? GgufFloatTensors(gguf) : TensorFile::Open(source.folder);
  const std::unique_ptr<QuantizedLayers> layers =
      is_gguf ? OpenGgufLayers(gguf, source.read)
              : OpenQuantizedLayers(file, source.folder, ReadModelConfig(source), source.read);
  if (layers == nullptr) return false;

  Json summary = {{"model", source.name},
                  {"folder", source.folder.string()},
                  {"container", file.container()},
                  {"files", file.files().size()},
                  {"quantized", true},
                  {"runs", false},
                  {"reason", reason},
                  {"bytes", file.file_bytes()},
                  {"quantization", ForeignAsJson(*layers)}};
  if (globals.json) {
    PrintJson(summary);
    return true;
  }
  std::vector<std::vector<std::string>> lines;
  AddLines(summary, "", lines);
  Print(FormatTable(lines, {}) + "\n");
  PrintForeignLayers(*layers);
  return true;
}

int InspectModel(const ModelSource& source, const Globals& globals);

// A configuration that no family reads is not a reason to say nothing of the file.
int Run(const ModelFlags& flags, const Globals& globals) {
  const ModelSource source = SourceOf(flags);
  if (HasManifest(source.folder)) return InspectModel(source, globals);
  try {
    (void)ReadModelPlan(source);
  } catch (const Error& error) {
    // Where the file says nothing either, the first error is the one that helps.
    try {
      if (InspectWithoutPlan(source, error.what(), globals)) return kOk;
    } catch (const Error&) {
    }
    throw;
  }
  return InspectModel(source, globals);
}

// Only tables of contents are read: no weights, so it is fast on any model.
int InspectModel(const ModelSource& source, const Globals& globals) {
  const std::filesystem::path& path = source.folder;
  // A quantized folder lacks the float weights, so the checkpoint may be incomplete.
  Folder folder;
  if (HasManifest(path)) folder.manifest = ReadManifest(path);
  const std::optional<Manifest>& manifest = folder.manifest;
  const Checkpoint checkpoint =
      Checkpoint::Open(source, /*allow_missing_linears=*/manifest.has_value());
  if (HasTokenizer(path)) folder.tokenizer = LoadTokenizer(path);
  folder.generation = ReadGenerationConfig(source, checkpoint.plan().vocab_size());
  const std::unique_ptr<Progress> progress = MakeProgress(globals);
  for (const std::string& warning : folder.generation.warnings) progress->Warn(warning);

  const ModelSizes sizes = SizesOf(checkpoint, manifest);
  Json summary = {{"model", source.name},
                  {"folder", path.string()},
                  {"container", checkpoint.tensors().file().container()},
                  {"files", checkpoint.tensors().file().files().size()},
                  {"quantized", manifest.has_value() || checkpoint.quantized().layers() != nullptr},
                  {"parameters", sizes.parameters},
                  {"bytes", sizes.file_bytes},
                  {"bits_per_weight", sizes.bits_per_weight},
                  {"config", PlanAsJson(checkpoint.plan())},
                  {"tokenizer", TokenizerAsJson(folder.tokenizer.get())},
                  {"generation", GenerationAsJson(folder.generation, folder.tokenizer.get())}};

  AddOverridesOf(checkpoint, summary);
  if (manifest) summary["quantization"] = QuantizationAsJson(*manifest);
  if (const QuantizedLayers* layers = checkpoint.quantized().layers()) {
    summary["quantization"] = ForeignAsJson(*layers);
  }
  if (globals.json) {
    summary["tensors"] = TensorsAsJson(checkpoint.tensors().file());
    PrintJson(summary);
  } else {
    PrintPlain(summary, sizes, checkpoint, folder);
  }
  return kOk;
}

}  // namespace

Command AddInspect(Arguments& arguments, Globals& globals) {
  auto flags = std::make_shared<ModelFlags>();
  AddModelFlags(arguments, *flags, "MODEL", "A model, float or quantized");
  AddJsonFlag(arguments, globals);
  arguments.Examples(
      "  qualm inspect MODEL\n  qualm inspect MODEL --json\n  qualm inspect model-Q4_K_M.gguf\n"
      "  qualm inspect ORG/NAME@REVISION --config rope_theta=1000000");
  return [flags, &globals] { return Run(*flags, globals); };
}

}  // namespace qualm::cli
