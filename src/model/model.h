// A model folder ready to run: float or quantized, with its tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "artefact/manifest.h"
#include "model/checkpoint.h"
#include "model/decoder.h"
#include "model/generation_config.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct Context;

struct LoadOptions {
  // Run a quantized model on its dequantized float32 weights instead of the packed ones: slower,
  // more memory, the same bits.
  bool dequantize = false;
  // Round float weights and the inputs of every linear layer to bfloat16 (the bf16-against-f32
  // noise floor; also of checkpoints whose weights are bfloat16 already).
  bool compute_in_bf16 = false;
  // Leave out the blocks: enough to turn final hidden states into logits, and to know everything
  // about a model without its weights.
  bool without_blocks = false;
};

struct Model {
  std::filesystem::path folder;
  ModelSource source;                      // of that folder
  std::unique_ptr<Checkpoint> checkpoint;  // keeps the mapped files that the decoder looks at
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Tokenizer> tokenizer;  // null if the folder has none
  std::optional<Manifest> manifest;      // of a quantized folder
  GenerationConfig generation;           // what the folder says about the model's texts
  InputSet inputs;                       // the files that LoadModel read

  // Whether layers are quantized, by qualm or by another tool.
  bool is_quantized() const {
    return manifest.has_value() || checkpoint->quantized().layers() != nullptr;
  }
  // Throws bad input naming the folder if there is no tokenizer.
  const Tokenizer& RequireTokenizer() const;
  // See generation_config.h.
  std::vector<TokenId> EndsOfText() const { return qualm::EndsOfText(generation, tokenizer.get()); }
  std::vector<TokenId> OtherEnds() const { return qualm::OtherEnds(generation, tokenizer.get()); }
  // What results are keyed by: a hash over the names and contents of all files that loading opened,
  // or the artefact's hash. Reads those files. Throws bad input if one of a quantized folder is not
  // what the manifest says.
  std::string Hash() const;

  // Rounded copies of tables, where an option asked for them; the decoder looks at these too.
  std::vector<std::unique_ptr<std::vector<uint16_t>>> rounded;
};

// Throws bad input for anything that is not a complete model folder; an unfinished quantization
// says so.
Model LoadModel(const ModelSource& source, const LoadOptions& options, const Context& context);

// The files that LoadModel opens, found without making any weights.
InputSet ModelFiles(const ModelSource& source);

// Makes the weights of a quantized layer's or a float layer's product, as the folder holds it.
std::unique_ptr<LinearWeight> LoadLinear(const Checkpoint& checkpoint, const Manifest* manifest,
                                         const std::string& name, const LoadOptions& options,
                                         const Context& context);

// The records of a quantized folder against its configuration: every linear layer of every block
// has a record of its shape or a float weight, and no record is of another layer. Throws bad input
// naming the layer.
void CheckLayerRecords(const Checkpoint& checkpoint, const Manifest& manifest);

}  // namespace qualm
