// LoRA adapters of PEFT: low-rank additions to the linear layers of a model that lies elsewhere.
// Source: peft's tuners/lora (config.py, layer.py, model.py), for facts.
//
// An adapted layer's weight is W + s·(B·A) in float32, as merging gives it: B·A summed over rising
// rank, then times s, then added. s = alpha/r, with rsLoRA alpha/√r.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "formats/quantized_layers.h"
#include "io/input_set.h"
#include "io/tensor_file.h"

namespace qualm {

// One adapted module, by its name in the base model ("model.layers.0.self_attn.q_proj").
struct LoraModule {
  size_t out = 0, in = 0, rank = 0;
  float scale = 0;
  const TensorView* a = nullptr;  // [rank, in]
  const TensorView* b = nullptr;  // [out, rank]
};

class PeftAdapter {
 public:
  // Whether the folder holds one: it has adapter_config.json.
  static bool IsOne(const std::filesystem::path& folder);

  // The files that Open reads.
  static InputSet InputsOf(const std::filesystem::path& folder);

  // Throws bad input for what is not LoRA or changes more than linear layers (DoRA, saved modules,
  // biases, embeddings, ...), for keys that are not known, and for tensors that do not fit.
  static PeftAdapter Open(const std::filesystem::path& folder);

  const std::map<std::string, LoraModule, std::less<>>& modules() const { return modules_; }
  const TensorFile& tensors() const { return *tensors_; }
  // base_model_name_or_path; may be empty.
  const std::string& base() const { return base_; }
  std::string Title() const;  // "LoRA of 14 modules, ranks 8"

 private:
  std::shared_ptr<const TensorFile> tensors_;
  std::map<std::string, LoraModule, std::less<>> modules_;
  std::string base_;
};

// The base model's layers with the adapter merged into those that it names, in float32; `layers`
// are the base's quantized ones, null for a float checkpoint. `tensors` outlives the result. Throws
// bad input for a module that the base has not.
std::unique_ptr<QuantizedLayers> MergeAdapter(std::shared_ptr<const PeftAdapter> adapter,
                                              std::unique_ptr<QuantizedLayers> layers,
                                              const TensorFile& tensors,
                                              const ReadOptions& options);

// The folder of the model that an adapter belongs to: `base` if it is given, else the adapter's
// base_model_name_or_path as a folder (absolute, or relative to the adapter's or the working
// folder), else the only checkpoint next to the adapter. Throws bad input where there is none or
// more than one.
std::filesystem::path BaseOfAdapter(const PeftAdapter& adapter, const std::filesystem::path& folder,
                                    const std::filesystem::path& base);

}  // namespace qualm
