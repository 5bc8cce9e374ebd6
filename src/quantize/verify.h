// Proves that a quantized folder is what its manifest says: the work of `qualm verify`.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/model_source.h"

namespace qualm {

struct Context;

// What was compared, and what was wrong.
struct VerifyReport {
  size_t files = 0;                   // hashes that were compared
  size_t layers = 0;                  // quantized layers
  uint64_t weights = 0;               // codes unpacked, packed again and compared byte for byte
  uint64_t products = 0;              // outputs of the real kernels compared bit for bit
  size_t tensors_against = 0;         // unquantized tensors compared with the source, byte for byte
  size_t errors_against = 0;          // layers whose weight error was measured again on the source
  std::vector<std::string> problems;  // empty: everything is right

  bool passed() const { return problems.empty(); }
};

// Checks, for every file, that bytes and hash are those in the manifest. For every quantized layer
// it checks that codes, scales and zeros, unpacked and packed again, give the file's bytes; that
// the kernel which runs it gives, on random inputs of one and of several tokens, the bits of the
// slow reference product with the dequantized weights; and that stored bytes and bits per weight
// are as recorded. With `against` it also checks the source's hash, the weight error of every layer
// that no transform changed, and every unquantized tensor.
VerifyReport VerifyArtefact(const std::filesystem::path& folder,
                            const std::optional<ModelSource>& against, const Context& context);

// Of another tool's quantized file: reads every layer, and checks that the product that runs it
// gives, on random inputs of one and of several tokens, the bits of the dense product with its
// dequantized weights. `weights` counts those that were read; nothing is packed again, as the
// formats are only read. A layer that cannot be read is a problem, and the others are looked at.
// Throws bad input for a model without quantized layers.
VerifyReport VerifyForeign(const ModelSource& source, const Context& context);

}  // namespace qualm
