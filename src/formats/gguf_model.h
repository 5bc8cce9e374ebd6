// The model in a GGUF file as Hugging Face has it: config.json, and every tensor under its name
// there, with what llama.cpp's converter did to it undone.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/quantized_layers.h"
#include "io/gguf.h"
#include "io/json.h"

namespace qualm {

// A tensor, or one expert's part of a tensor.
struct GgufModelTensor {
  std::string name;                    // "model.layers.0.self_attn.q_proj.weight"
  const GgufTensor* stored = nullptr;  // in the file
  size_t first_row = 0, rows = 0;      // of the stored rows, flattened
  size_t heads = 0;                    // rows of each head are in another order; 0: they are not
  bool has_one_added = false;          // a norm stored as w + 1

  // The stored row, counted from first_row, of the tensor's row.
  size_t StoredRow(size_t row) const;
};

class GgufModel {
 public:
  // Throws bad input for a file that is not GGUF, an architecture that is not known, and a tensor
  // that the architecture does not have.
  static std::shared_ptr<const GgufModel> Open(const std::filesystem::path& path);
  static std::shared_ptr<const GgufModel> Of(GgufFile file);

  const GgufFile& file() const { return file_; }
  // Of the model in the form of Hugging Face's config.json.
  const Json& config() const { return *config_; }
  const std::vector<GgufModelTensor>& tensors() const { return tensors_; }
  // Tensors of the file that hold nothing of the model (rotary factors, which are in config()).
  const std::vector<std::string>& unread() const { return unread_; }

 private:
  explicit GgufModel(GgufFile file) : file_(std::move(file)) {}
  void AddTensors();
  void MakeConfig();

  GgufFile file_;
  std::shared_ptr<Json> config_;
  std::vector<GgufModelTensor> tensors_;
  std::vector<std::string> unread_;
};

// The float tensors of the model: they look into the file, or are copies where something had to be
// undone.
TensorFile GgufFloatTensors(const std::shared_ptr<const GgufModel>& model);
// The quantized ones, which keep the model.
std::unique_ptr<QuantizedLayers> OpenGgufLayers(std::shared_ptr<const GgufModel> model,
                                                const ReadOptions& options);

}  // namespace qualm
