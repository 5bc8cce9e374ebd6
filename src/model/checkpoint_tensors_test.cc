// Tensors that a plan does not read are an error, those of norms included.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/json.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

// A folder of an MPT of one block, whose tensors are all zero, and some more.
class MptFolder {
 public:
  explicit MptFolder(const std::vector<std::string>& more) {
    WriteJsonFile(folder_.path() / "config.json", {{"model_type", "mpt"},
                                                   {"d_model", 4},
                                                   {"n_heads", 1},
                                                   {"n_layers", 1},
                                                   {"vocab_size", 3},
                                                   {"no_bias", false}});
    Add("wte.weight", {3, 4});
    Add("norm_f.weight", {4});
    Add("blocks.0.norm_1.weight", {4});
    Add("blocks.0.norm_2.weight", {4});
    Add("blocks.0.attn.Wqkv.weight", {12, 4});
    Add("blocks.0.attn.out_proj.weight", {4, 4});
    Add("blocks.0.ffn.up_proj.weight", {16, 4});
    Add("blocks.0.ffn.down_proj.weight", {4, 16});
    for (const std::string& name : more) Add(name, {4});
    WriteSafetensors(folder_.path() / "model.safetensors", tensors_, {});
  }

  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  void Add(const std::string& name, const std::vector<size_t>& shape) {
    tensors_.push_back(
        {"transformer." + name, DType::kF32, shape, std::as_bytes(std::span(zeros_))});
    size_t bytes = sizeof(float);
    for (const size_t extent : shape) bytes *= extent;
    tensors_.back().bytes = tensors_.back().bytes.first(bytes);
  }

  testing::TemporaryFolder folder_;
  std::vector<float> zeros_ = std::vector<float>(64);
  std::vector<TensorToWrite> tensors_;
};

TEST(CheckpointTensors, ABiasThatTheNormLacksIsRefused) {
  (void)Checkpoint::Open(MptFolder({}).path());
  // A linear layer uses the bias that the file has.
  (void)Checkpoint::Open(MptFolder({"blocks.0.attn.out_proj.bias"}).path());
  for (const char* name : {"blocks.0.norm_1.bias", "norm_f.bias"}) {
    const MptFolder folder({name});
    EXPECT_THAT(ErrorOf([&] { (void)Checkpoint::Open(folder.path()); }), HasSubstr(name));
  }
}

}  // namespace
}  // namespace qualm
