// Writes a Hugging Face folder with random bfloat16 weights of any shape, for tests of size and
// speed: config.json, shards of safetensors with their index, and a copy of a given tokenizer. It
// streams, so the memory it needs does not depend on the model's size. The same options give the
// same bytes.
#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/strings.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/model_plan.h"

namespace qualm {
namespace {

// The shape of the model, in the words of config.json; the defaults are a tiny model.
struct Shape {
  std::string model_type = "llama";
  size_t layers = 2, hidden = 64, intermediate = 172, heads = 8, kv_heads = 4;
  size_t vocabulary = 512, context = 512;
  bool tied = false;
};

const std::map<std::string, Shape>& Presets() {
  static const std::map<std::string, Shape> presets = {
      {"tiny", Shape{}},
      {"llama2-7b", Shape{"llama", 32, 4096, 11008, 32, 32, 32000, 4096, false}},
  };
  return presets;
}

struct Options {
  Shape shape;
  std::filesystem::path output, tokenizer;
  uint64_t seed = 1;
  uint64_t shard_mib = 2048;
};

// A tensor to be generated: normal values around `mean`.
struct RandomTensor {
  std::string name;
  std::vector<size_t> shape;
  double mean = 0, deviation = 0;

  uint64_t elements() const {
    uint64_t count = 1;
    for (size_t extent : shape) count *= extent;
    return count;
  }
  uint64_t size_bytes() const { return elements() * SizeOf(DType::kBF16); }
};

// The keys that transformers writes for a model of this shape.
Json ConfigJson(const Shape& shape) {
  return Json{{"model_type", shape.model_type},
              {"hidden_size", shape.hidden},
              {"intermediate_size", shape.intermediate},
              {"num_hidden_layers", shape.layers},
              {"num_attention_heads", shape.heads},
              {"num_key_value_heads", shape.kv_heads},
              {"vocab_size", shape.vocabulary},
              {"max_position_embeddings", shape.context},
              {"rms_norm_eps", 1e-5},
              {"rope_theta", 10000.0},
              {"hidden_act", "silu"},
              {"tie_word_embeddings", shape.tied},
              {"bos_token_id", 1},
              {"eos_token_id", 2},
              {"torch_dtype", "bfloat16"}};
}

// All tensors in the order of the forward pass. Weights have the variance 1/in, so that activations
// keep their size from layer to layer.
std::vector<RandomTensor> TensorsOf(const ModelPlan& plan) {
  std::vector<RandomTensor> tensors;
  const auto add_norm = [&](const std::string& name, const NormPlan& norm) {
    const double mean = 1.0 - norm.parameters.weight_offset;
    tensors.push_back({name + ".weight", {norm.width}, mean, 0.05});
    if (norm.has_bias) tensors.push_back({name + ".bias", {norm.width}, 0, 0.1});
  };
  const auto add_linear = [&](const std::string& name, const LinearSite& site) {
    const double deviation = 1 / std::sqrt(static_cast<double>(site.in));
    tensors.push_back({name + ".weight", {site.out, site.in}, 0, deviation});
    if (site.requires_bias) tensors.push_back({name + ".bias", {site.out}, 0, 0.1});
  };

  // Embedding, blocks, last norm and, unless it is tied, the head.
  const TableSite& embedding = plan.embedding;
  tensors.push_back({embedding.name + ".weight", {embedding.rows, embedding.width}, 0, 1});
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (const NormPlan& norm : NormsOf(plan.blocks[b])) {
      add_norm(plan.NameIn(b, norm.name), norm);
    }
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      add_linear(plan.NameIn(b, site.name), site);
    }
  }
  if (plan.final_norm) add_norm(plan.final_norm->name, *plan.final_norm);
  if (!plan.tied_embeddings) add_linear(plan.head.name, plan.head);
  return tensors;
}

// Writes `tensor` in pieces. Every value is drawn from a table of normal values by 16 random bits,
// so one random number gives four values.
void WriteValues(const RandomTensor& tensor, uint64_t seed, std::span<const double> normals,
                 AtomicFile& file) {
  // The table with this tensor's mean and deviation, rounded once.
  std::vector<uint16_t> table(normals.size());
  for (size_t i = 0; i < table.size(); ++i) {
    const double value = tensor.mean + tensor.deviation * normals[i];
    table[i] = BFloat16FromFloat(static_cast<float>(value)).bits;
  }

  // The stream depends on the name, so tensors can be written in any order.
  Rng rng(seed, tensor.name);
  std::vector<uint16_t> piece(size_t{1} << 19);
  for (uint64_t left = tensor.elements(); left > 0;) {
    const size_t count = std::min<uint64_t>(left, piece.size());
    // Up to three values more than needed are drawn; the piece has room for them.
    for (size_t i = 0; i < count; i += 4) {
      const uint64_t bits = rng.Next();
      for (size_t j = 0; j < 4; ++j) piece[i + j] = table[bits >> (16 * j) & 0xffff];
    }
    file.Write(piece.data(), count * sizeof(uint16_t));
    left -= count;
  }
}

std::string ShardName(size_t index, size_t count) {
  std::array<char, 64> name;
  std::snprintf(name.data(), name.size(), "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return name.data();
}

// Consecutive tensors, as many as fit into a shard, but at least one.
std::vector<std::vector<RandomTensor>> SplitIntoShards(std::vector<RandomTensor> tensors,
                                                       uint64_t shard_bytes) {
  std::vector<std::vector<RandomTensor>> shards;
  uint64_t used = 0;
  for (RandomTensor& tensor : tensors) {
    if (shards.empty() || used + tensor.size_bytes() > shard_bytes) {
      shards.emplace_back();
      used = 0;
    }
    used += tensor.size_bytes();
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

void WriteCheckpoint(const Options& options) {
  // The config is parsed as it will be, so impossible shapes are refused before anything is
  // written.
  namespace fs = std::filesystem;
  const Json config_json = ConfigJson(options.shape);
  const ModelPlan plan = ParseModelPlan(config_json, "options");
  fs::create_directories(options.output);
  WriteJsonFile(options.output / "config.json", config_json);

  std::vector<double> normals(65536);
  Rng rng(options.seed, "normal values");
  for (double& value : normals) value = rng.Normal();

  // Shard by shard: the header with all shapes, then the values.
  Json weight_map = Json::object();
  uint64_t total_bytes = 0;
  const auto shards = SplitIntoShards(TensorsOf(plan), options.shard_mib << 20);
  for (size_t index = 0; index < shards.size(); ++index) {
    const std::string name = ShardName(index, shards.size());
    std::vector<TensorToWrite> header;
    for (const RandomTensor& tensor : shards[index]) {
      header.push_back({tensor.name, DType::kBF16, tensor.shape, {}});
      weight_map[tensor.name] = name;
      total_bytes += tensor.size_bytes();
    }
    AtomicFile file(options.output / name);
    file.Write(SafetensorsHeader(header, {{"format", "pt"}}));
    for (const RandomTensor& tensor : shards[index])
      WriteValues(tensor, options.seed, normals, file);
    file.Commit();
    std::cerr << name << ": " << HumanBytes(file.size_bytes()) << '\n';
  }

  WriteJsonFile(options.output / "model.safetensors.index.json",
                Json{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}});
  if (!options.tokenizer.empty()) {
    fs::copy_file(options.tokenizer, options.output / options.tokenizer.filename(),
                  fs::copy_options::overwrite_existing);
  }
}

int Main(int argc, char** argv) {
  // A preset sets the whole shape, and later options change parts of it.
  CLI::App app("Writes a Hugging Face folder with random bfloat16 weights.");
  Options options;
  Shape& shape = options.shape;
  app.add_option_function<std::string>(
         "--preset", [&](const std::string& name) { shape = Presets().at(name); },
         "llama2-7b or tiny (the default); options after it change it")
      ->check(CLI::IsMember(Presets()))
      ->trigger_on_parse();
  // Parts of the shape.
  app.add_option("--model-type", shape.model_type, "llama, mistral or qwen2");
  app.add_option("--layers", shape.layers);
  app.add_option("--hidden", shape.hidden);
  app.add_option("--intermediate", shape.intermediate);
  app.add_option("--heads", shape.heads);
  app.add_option("--kv-heads", shape.kv_heads);
  app.add_option("--vocabulary", shape.vocabulary);
  app.add_option("--context", shape.context);
  app.add_flag("--tied", shape.tied, "one tensor for embedding and head");

  // Everything else.
  app.add_option("--seed", options.seed);
  app.add_option("--shard-mib", options.shard_mib)->check(CLI::Range(1, 1 << 20));
  app.add_option("--tokenizer", options.tokenizer, "file copied into the folder")
      ->check(CLI::ExistingFile);
  app.add_option("-o,--output", options.output, "folder")->required();

  CLI11_PARSE(app, argc, argv);
  try {
    WriteCheckpoint(options);
  } catch (const Error& error) {
    std::cerr << error.what() << '\n';
    return error.kind() == ErrorKind::kBadInput ? 3 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace qualm

int main(int argc, char** argv) { return qualm::Main(argc, argv); }
