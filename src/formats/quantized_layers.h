// The quantized layers of a checkpoint that another tool has written, whatever its format: which
// there are, and each one's weight exactly as the tool's own library has it. Names are those of the
// file (Hugging Face's modules), not of a plan.
//
// A format is a file next to this one and a line in formats.cc.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/row_blocks.h"
#include "io/json.h"
#include "io/tensor_file.h"

namespace qualm {

// How stored zero points of GPTQ's first form are read (docs/formats/foreign.md): the field plus
// one as a number (kUnmasked) or in the field's width (kMasked), or one added to every field of a
// word at once with carries (kWord).
enum class GptqZeros : uint8_t { kAuto, kWord, kMasked, kUnmasked };
EnumNames NamesOfEnum(GptqZeros);

struct ReadOptions {
  GptqZeros gptq_zeros = GptqZeros::kAuto;
  // Leave out the rounding of each weight to the library's type (`--weights float32`).
  bool float32_weights = false;
  // Leave out the rounding of activations and caches (`--weights-only`). Online transforms stay:
  // without them the weights mean nothing.
  bool weights_only = false;

  bool operator==(const ReadOptions&) const = default;
};

// A quantized layer of a file, before it is read.
struct StoredLayer {
  std::string name;                  // of the module: "model.layers.0.self_attn.q_proj"
  size_t out = 0, in = 0;            // of W
  std::string type;                  // "int4-g128-sym", "q4_k": for people and tables
  uint64_t bytes = 0;                // of its tensors in the files
  std::vector<std::string> tensors;  // its tensors, in full
  DType value_type = DType::kF32;    // what the library rounds each weight to
  bool is_in_blocks = false;         // on no grid: products decode it tile by tile
  std::vector<std::string> notes;    // what is wrong with it: lost zero points, in a sentence each
};

// What is known about the file as a whole.
struct FormatDescription {
  std::string name;                   // as the format table has it: "gptq"
  std::string variant;                // "v1, 4 bits, groups of 128, desc_act"
  std::string tool;                   // "gptqmodel 7.7.0"; empty: the file does not say
  std::vector<std::string> notes;     // decisions and readings, in a sentence each
  std::vector<std::string> warnings;  // what may be wrong, in a sentence each
  bool is_ambiguous = false;          // another reading of the file gives other weights
  bool rounds_activations = false;    // configures what ReadOptions::weights_only leaves out
};

// What a file configures inside an attention, beyond the weights.
struct ConfiguredAttention {
  std::vector<float> rotation;                 // of queries and keys, [side, side]
  size_t rotation_side = 0;                    // 0: none
  std::optional<ActivationGrid> keys, values;  // how the cache rounds them
};

class QuantizedLayers {
 public:
  virtual ~QuantizedLayers() = default;

  const FormatDescription& description() const { return description_; }
  const std::vector<StoredLayer>& layers() const { return layers_; }  // sorted by name
  const StoredLayer* Find(std::string_view name) const;               // null: not quantized
  // Tensors of the file that belong to the format without being of one layer: they are not
  // weights of the model.
  const std::vector<std::string>& other_tensors() const { return other_tensors_; }

  // Throws bad input naming the tensor.
  QuantizedWeight Read(const StoredLayer& layer) const;

  // Of the module ("model.layers.0.self_attn"); the options leave out what Read leaves out.
  ConfiguredAttention Attention(const std::string& module) const;

 protected:
  explicit QuantizedLayers(const ReadOptions& options) : options_(options) {}
  // For the constructors of the formats, which call Sort at their end.
  void Sort();
  // The layer with everything that the file configures; Read leaves out what the options do.
  // Blocks are decoded as the options say.
  virtual QuantizedWeight ReadWhole(const StoredLayer& layer) const = 0;
  // Everything that the file configures; most formats configure nothing.
  virtual ConfiguredAttention WholeAttention(const std::string&) const { return {}; }

  ReadOptions options_;

  FormatDescription description_;
  std::vector<StoredLayer> layers_;
  std::vector<std::string> other_tensors_;
};

// What a format reads from.
struct FormatInput {
  const TensorFile* tensors = nullptr;  // outlives the layers
  std::filesystem::path folder;
  const Json* config = nullptr;        // config.json
  const Json* quantization = nullptr;  // its quantization_config, or the file next to it
  DType dtype = DType::kF32;           // the model's: config.json's torch_dtype or dtype
  ReadOptions options;
};

// Null: the checkpoint is a float one. Throws bad input for a format that is not read, and for one
// whose description and tensors disagree.
std::unique_ptr<QuantizedLayers> OpenQuantizedLayers(const TensorFile& tensors,
                                                     const std::filesystem::path& folder,
                                                     const Json& config,
                                                     const ReadOptions& options);

// The quantization_config of a folder: config.json's or the file next to it (quantize_config.json,
// quant_config.json, quantization_config.json, hf_quant_config.json); null JSON if there is none.
Json QuantizationConfigOf(const std::filesystem::path& folder, const Json& config);

// The file next to config.json that it is in; empty if config.json has it or there is none.
std::filesystem::path QuantizationFileOf(const std::filesystem::path& folder, const Json& config);

// One line of the table of formats.
struct Format {
  std::string_view name;     // "gptq"
  std::string_view summary;  // for `qualm list formats`
  bool (*recognises)(const FormatInput& input);
  std::unique_ptr<QuantizedLayers> (*open)(const FormatInput& input);
};
const std::vector<Format>& Formats();

}  // namespace qualm
