// Checkpoints that convert writes, tensor by tensor against the libraries' own weights.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/sha256.h"
#include "formats/hf_export.h"
#include "io/json.h"
#include "io/tensor_file.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// Folders whose modules have hashes; the goldens of GGUF name their tensors in another way.
std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path root = testing::SharedRoot() / "golden/formats";
  if (std::filesystem::exists(root)) {
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
      if (!std::filesystem::exists(entry.path() / "config.json")) continue;
      const Json golden = ReadJsonFile(entry.path() / "golden.json");
      if (golden.contains("modules") && !golden["modules"].empty()) {
        names.push_back(entry.path().filename().string());
      }
    }
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

class ConvertGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(ConvertGolden, TensorsAreTheLibrarysOrTheFiles) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/formats") / GetParam());
  const testing::TemporaryFolder out;
  testing::TestContext context(2);
  HfExportOptions options;
  options.model = folder;
  options.out = out.path() / "float";
  options.shard_bytes = 200'000;
  const HfExportPlan plan = ExportHf(options, context);
  EXPECT_GT(plan.shards.size(), 1u);

  const TensorFile stored = TensorFile::Open(folder), written = TensorFile::Open(options.out);
  const Json golden = ReadJsonFile(folder / "golden.json");
  size_t modules = 0;
  for (const auto& [name, module] : golden["modules"].items()) {
    const TensorView* tensor = written.Find(name + ".weight");
    if (tensor == nullptr) continue;  // an expert inside a fused tensor
    ++modules;
    EXPECT_EQ(tensor->shape, module["shape"].get<std::vector<size_t>>()) << name;
    if (!module.contains("tolerance")) {
      EXPECT_EQ(
          Sha256OfText({reinterpret_cast<const char*>(tensor->bytes.data()), tensor->bytes.size()}),
          module["sha256"].get<std::string>())
          << name;
    }
  }
  if (plan.description.name != "mxfp4") {
    EXPECT_EQ(modules, golden["modules"].size());
  }

  // Everything else is what the file holds.
  for (const TensorView& tensor : written.tensors()) {
    const TensorView* own = stored.Find(tensor.name);
    if (own == nullptr || own->type != tensor.type || own->shape != tensor.shape) continue;
    EXPECT_TRUE(std::ranges::equal(own->bytes, tensor.bytes)) << tensor.name;
  }
  const Json config = ReadJsonFile(options.out / "config.json");
  EXPECT_FALSE(config.contains("quantization_config"));
  EXPECT_FALSE(std::filesystem::exists(options.out / "quantize_config.json"));
}

INSTANTIATE_TEST_SUITE_P(Goldens, ConvertGolden, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param; });

// Fails when the first step is done.
class StopAfterOne final : public Progress {
 public:
  void Begin(std::string_view, uint64_t) override {}
  void Advance(uint64_t, std::string_view) override { ThrowFailed("test", "stopped"); }
  void End() override {}
  void Warn(std::string_view) override {}
  void Info(std::string_view) override {}
};

TEST(Convert, AnInterruptedRunGoesOnWithTheSameBytes) {
  QUALM_SHARED_OR_SKIP(folder, "golden/formats/gptqmodel_w4_g128_sym_v1");
  const testing::TemporaryFolder out;
  testing::TestContext context(2);
  HfExportOptions options;
  options.model = folder;
  options.shard_bytes = 200'000;
  options.out = out.path() / "whole";
  const HfExportPlan plan = ExportHf(options, context);
  ASSERT_GT(plan.shards.size(), 2u);

  // A run that ends after its first shard.
  StopAfterOne stop;
  options.out = out.path() / "part";
  EXPECT_THROW((void)ExportHf(options, Context{context.pool, stop}), Error);
  EXPECT_TRUE(std::filesystem::exists(options.out / plan.shards[0]));
  EXPECT_FALSE(std::filesystem::exists(options.out / plan.shards[1]));
  EXPECT_FALSE(std::filesystem::exists(options.out / "config.json"));
  const auto time = std::filesystem::last_write_time(options.out / plan.shards[0]);

  // The same command keeps what is there; another one may not take up it.
  options.dtype = DType::kF32;
  EXPECT_THAT(testing::ErrorOf([&] { (void)ExportHf(options, context); }),
              HasSubstr("an unfinished run of the same conversion"));
  options.dtype.reset();
  (void)ExportHf(options, context);
  EXPECT_EQ(std::filesystem::last_write_time(options.out / plan.shards[0]), time);
  for (const auto& entry : std::filesystem::directory_iterator(out.path() / "whole")) {
    EXPECT_EQ(ReadFile(entry.path()), ReadFile(options.out / entry.path().filename()));
  }

  // A finished folder is not written over.
  options.out = out.path() / "whole";
  EXPECT_THAT(testing::ErrorOf([&] { (void)ExportHf(options, context); }),
              HasSubstr("a new or empty folder"));
  options.model = testing::SourceRoot() / "demo/model";
  options.out = out.path() / "none";
  EXPECT_THAT(testing::ErrorOf([&] { (void)ExportHf(options, context); }),
              HasSubstr("a quantized model"));
}

}  // namespace
}  // namespace qualm
