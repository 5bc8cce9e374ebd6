// A model folder ready to run: float or quantized, with its tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/decoder.h"
#include "tokenize/tokenizer.h"

namespace qualm {

struct LoadOptions {
  // How a quantized model runs: packed low-bit kernels, or its dequantized float32 weights (the
  // slow twin; same bits).
  bool dequantize = false;
  // Rounds float weights to this type first ("the bf16 noise floor"); kF32 keeps them as stored.
  bool round_to_bf16 = false;
};

struct Model {
  std::filesystem::path folder;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Tokenizer> tokenizer;  // null if the folder has none
  bool is_quantized = false;
  std::string source_hash;  // of config and weights, or the artefact's own hash

  // The tokenizer; throws bad input naming the folder if there is none.
  const Tokenizer& RequireTokenizer() const;
};

Model LoadModel(const std::filesystem::path& folder, const LoadOptions& options, ThreadPool& pool);

}  // namespace qualm
