// The quantization_config of compressed-tensors: groups of modules with the schemes of their
// weights and activations, and what is configured beyond weights. Source: compressed-tensors'
// quant_config.py, quant_scheme.py and quant_args.py, for facts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "io/json.h"
#include "tensor/dtype.h"

namespace qualm {

// QuantizationArgs: how a tensor is quantized.
struct TensorArgs {
  int bits = 8;
  bool is_float = false;
  bool is_symmetric = true;
  std::string strategy;          // tensor, channel, group, block, token, tensor_group, attn_head
  int64_t group_size = 0;        // of group and tensor_group; 0: none
  std::vector<size_t> block;     // block_structure, [rows, columns]
  std::string dynamic;           // "true", "false" or "local"
  bool has_byte_scales = false;  // scale_dtype is uint8: exponents of powers of two
};

struct TensorGroup {
  std::string name;                  // "group_0"
  std::vector<std::string> targets;  // class, name of a module or "re:" and a pattern
  std::optional<TensorArgs> weights, inputs, outputs;
  std::string format;  // "pack-quantized"; the whole file's unless the group has its own
};

// A place where a matrix is applied at run time; what is folded into weights is not among them.
struct TransformPlace {
  enum class Where : uint8_t { kInput, kOutput, kHeads };  // kHeads: queries and keys
  Where where = Where::kInput;
  bool is_inverse = false;                   // the matrix is transposed
  std::vector<std::string> targets, ignore;  // as those of groups
};

// A transform by name ("R4"), and where it is applied.
struct TransformGroup {
  std::string name;
  size_t head_dim = 0;  // side of the matrix; 0: the layer's width
  // A matrix that is stored as it is applied, the inverse where a place asks for it; else one of
  // ±1, to be divided by √side, and inverted by transposing it.
  bool is_any_matrix = false;
  std::vector<TransformPlace> places;
};

struct CompressedTensorsConfig {
  std::vector<TensorGroup> groups;
  std::vector<std::string> ignore;  // as targets
  std::string format, version, status;
  std::optional<TensorArgs> kv_cache;
  std::vector<TransformGroup> transforms;
  // What AutoRound's layers compute weights in, whatever the files and the model have: FP8 with
  // scales and weights in bfloat16, the others in float32; empty: the scale's type, or the model's.
  std::optional<DType> weight_type;

  // Throws bad input, at the key, for what is missing, of another type, or not known.
  static CompressedTensorsConfig From(const Json& quantization);

  // The group of a linear layer by its name, as the library finds it: names first, then patterns,
  // then the class. Null: none, or ignored.
  const TensorGroup* GroupOf(const std::string& module) const;
  bool Ignores(const std::string& module) const;
  // Whether a place is at the module; "Linear" is every layer.
  static bool IsAt(const TransformPlace& place, const std::string& module);
};

}  // namespace qualm
