// What the command line says about a model: keys of config.json and tensors to leave out.
#include "model/model_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/tensor_file.h"
#include "model/checkpoint.h"
#include "support/errors.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

std::string Demo() { return (testing::SourceRoot() / "demo/model").string(); }

ModelPlan PlanWith(const std::vector<std::string>& config) {
  return ReadModelPlan(MakeModelSource(Demo(), config, {}));
}

TEST(ModelSource, OverridesDecideThePlan) {
  EXPECT_EQ(AttentionOf(PlanWith({"rope_theta=5e5"}).blocks[0])->rotary->theta, 5e5);
  EXPECT_EQ(PlanWith({"max_position_embeddings=77"}).context, 77u);
  // Nested keys, in an object that the file lacks; a whole object; a text.
  const auto scaling = [](const std::vector<std::string>& config) {
    return AttentionOf(PlanWith(config).blocks[0])->rotary->scaling;
  };
  const RopeScaling by_keys = scaling({"rope_scaling.factor=4", "rope_scaling.rope_type=linear"});
  EXPECT_EQ(by_keys.kind, RopeScaling::Kind::kLinear);
  EXPECT_EQ(by_keys.factor, 4);
  EXPECT_EQ(scaling({R"(rope_scaling={"type": "linear", "factor": 2})"}).factor, 2);
}

TEST(ModelSource, KeysThatNothingReadsAreNamed) {
  const auto complaint = [](const std::string& text) {
    return ErrorOf([&] { (void)PlanWith({text}); });
  };
  EXPECT_EQ(complaint("eos_token_id=2"), "no error");  // read with the tokenizer
  EXPECT_THAT(complaint("rope_teta=1"), AllOf(HasSubstr("--config"), HasSubstr("got 'rope_teta'")));
  EXPECT_EQ(complaint("rope_teta=null"), "no error");  // takes out what the file may have
  EXPECT_THAT(complaint("rope_scaling.beta=1"), HasSubstr("got 'rope_scaling.beta'"));
  EXPECT_THAT(complaint("hidden_size.a=1"), HasSubstr("'hidden_size' to be an object; got number"));
  EXPECT_THAT(complaint("rope_theta"), HasSubstr("expected KEY=VALUE; got 'rope_theta'"));
  EXPECT_THAT(complaint("=1"), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(complaint("a..b=1"), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(complaint("hidden_size=large"), HasSubstr("hidden_size"));
  EXPECT_THAT(ErrorOf([&] {
                (void)PlanWith({"rope_theta=1", "rope_theta=2"});
              }),
              HasSubstr("'rope_theta' twice"));
}

TEST(ModelSource, OverridesArePartOfTheHash) {
  const auto hash = [](const std::vector<std::string>& config) {
    return Checkpoint::Open(MakeModelSource(Demo(), config, {})).Hash();
  };
  EXPECT_EQ(hash({}), Checkpoint::Open(Demo()).Hash());
  EXPECT_NE(hash({"rope_theta=2e4"}), hash({}));
  EXPECT_NE(hash({"rope_theta=2e4"}), hash({"rope_theta=3e4"}));
  EXPECT_EQ(hash({"rope_theta=2e4", "max_position_embeddings=99"}),
            hash({"max_position_embeddings=99", "rope_theta=20000.0"}));
}

// The demo model with further tensors.
class UnreadTensors : public ::testing::Test {
 protected:
  std::string With(const std::vector<std::string>& names, const std::vector<std::string>& ignored,
                   std::vector<std::string>* left_out = nullptr) {
    fs::remove_all(folder_ / "model");
    fs::copy(Demo(), folder_ / "model");
    const TensorFile file = TensorFile::Open(Demo());
    std::vector<TensorToWrite> tensors;
    for (const TensorView& tensor : file.tensors()) {
      tensors.push_back({tensor.name, tensor.type, tensor.shape, tensor.bytes});
    }
    const std::byte zero{0};
    for (const std::string& name : names) tensors.push_back({name, DType::kU8, {1}, {&zero, 1}});
    fs::remove(folder_ / "model/model.safetensors");
    WriteSafetensors(folder_ / "model/model.safetensors", tensors);
    return ErrorOf([&] {
      const Checkpoint checkpoint =
          Checkpoint::Open(MakeModelSource((folder_ / "model").string(), {}, ignored));
      if (left_out != nullptr) *left_out = checkpoint.tensors().left_out();
    });
  }

  testing::TemporaryFolder folder_;
};

TEST_F(UnreadTensors, AreNamedUnlessTheyAreIgnored) {
  EXPECT_EQ(With({}, {}), "no error");
  EXPECT_THAT(With({"model.layers.0.self_attn.q_norm.weight", "visual.a"}, {}),
              AllOf(HasSubstr("got model.layers.0.self_attn.q_norm.weight, visual.a"),
                    HasSubstr("--ignore-tensors")));
  EXPECT_THAT(With({"visual.a", "visual.b", "c"}, {"^visual\\."}), HasSubstr("has; got c;"));
  std::vector<std::string> left_out;
  EXPECT_EQ(With({"visual.b", "visual.a", "c"}, {"^visual\\.", "^c$"}, &left_out), "no error");
  EXPECT_THAT(left_out, ElementsAre("c", "visual.a", "visual.b"));
  EXPECT_THAT(With({"c"}, {"("}), HasSubstr("--ignore-tensors"));
}

TEST_F(UnreadTensors, KnownOnesAreLeftOut) {
  std::vector<std::string> left_out;
  EXPECT_EQ(With({"model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.999.a.weight"}, {},
                 &left_out),
            "no error");
  EXPECT_EQ(left_out.size(), 2u);
}

}  // namespace
}  // namespace qualm
