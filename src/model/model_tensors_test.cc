// The tensors of a small checkpoint under the names of a plan: layers cut out of tensors in every
// layout, groups put together, and what makes the two not belong together.
#include "model/model_tensors.h"

#include <gmock/gmock.h>

#include <cstring>
#include <deque>
#include <numeric>
#include <thread>

#include "io/safetensors.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kHeads = 4, kKvHeads = 2, kHeadDim = 2, kIn = 3;
constexpr size_t kQuery = kHeads * kHeadDim, kKey = kKvHeads * kHeadDim;
constexpr size_t kRows = kQuery + 2 * kKey;  // 16

// One block with an attention whose queries, keys and values are stored in these rows.
ModelPlan PlanOf(std::optional<StoredRows> query, std::optional<StoredRows> key,
                 std::optional<StoredRows> value) {
  AttentionPlan attention;
  attention.heads = kHeads;
  attention.kv_heads = kKvHeads;
  attention.head_dim = kHeadDim;
  attention.query = {"q", SiteRole::kQuery, kQuery, kIn, false, std::move(query)};
  attention.key = {"k", SiteRole::kKey, kKey, kIn, false, std::move(key)};
  attention.value = {"v", SiteRole::kValue, kKey, kIn, false, std::move(value)};
  attention.output = {"o", SiteRole::kAttentionOutput, kIn, kQuery};
  ModelPlan plan;
  plan.block_prefix = "h.";
  plan.blocks.resize(1);
  plan.blocks[0].branches.resize(1);
  plan.blocks[0].branches[0].part = attention;
  return plan;
}

// Queries, then keys, then values; and for each key head its two queries, itself and its values.
ModelPlan Together() {
  return PlanOf(StoredRows{"qkv", 0}, StoredRows{"qkv", 8}, StoredRows{"qkv", 12});
}
ModelPlan ByHead(bool transposed) {
  return PlanOf(StoredRows{"qkv", 0, 4, 8, transposed}, StoredRows{"qkv", 4, 2, 8, transposed},
                StoredRows{"qkv", 6, 2, 8, transposed});
}

// The stored rows that ByHead gives each layer.
const std::vector<size_t> kQueryRows = {0, 1, 2, 3, 8, 9, 10, 11};
const std::vector<size_t> kKeyRows = {4, 5, 12, 13}, kValueRows = {6, 7, 14, 15};

class ModelTensorsTest : public ::testing::Test {
 protected:
  // A tensor of the values `first`, first + 1, ... in the order of the file.
  void Add(std::string name, std::vector<size_t> shape, float first = 0) {
    size_t count = 1;
    for (const size_t extent : shape) count *= extent;
    std::vector<float>& values = values_.emplace_back(count);
    std::iota(values.begin(), values.end(), first);
    tensors_.push_back({std::move(name), DType::kF32, std::move(shape),
                        std::as_bytes(std::span<const float>(values))});
  }

  ModelTensors Open(const ModelPlan& plan) {
    WriteSafetensors(folder_ / "model.safetensors", tensors_);
    return ModelTensors(TensorFile::Open(folder_.path()), plan);
  }

  static std::vector<float> ValuesOf(const TensorView& tensor) {
    std::vector<float> values(tensor.bytes.size() / sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

  // Of a matrix of three columns whose values count its places, these rows; of one that is stored
  // transposed, these columns.
  static std::vector<float> Rows(const std::vector<size_t>& rows, bool transposed = false) {
    std::vector<float> values;
    for (const size_t r : rows) {
      for (size_t c = 0; c < kIn; ++c) {
        values.push_back(static_cast<float>(transposed ? c * kRows + r : r * kIn + c));
      }
    }
    return values;
  }

  testing::TemporaryFolder folder_;
  std::deque<std::vector<float>> values_;
  std::vector<TensorToWrite> tensors_;
};

TEST_F(ModelTensorsTest, NeighbouringRowsAreReadWhereTheyLie) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(Together());
  const TensorView& key = tensors.Get("h.0.k.weight");
  EXPECT_EQ(key.shape, (std::vector<size_t>{kKey, kIn}));
  EXPECT_EQ(key.name, "h.0.k.weight");
  EXPECT_EQ(ValuesOf(key), Rows({8, 9, 10, 11}));
  EXPECT_EQ(key.bytes.data(), tensors.file().Get("h.0.qkv.weight").bytes.data() + 8 * kIn * 4);
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.v.weight")), Rows({12, 13, 14, 15}));
}

TEST_F(ModelTensorsTest, RunsOfRowsAreGathered) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(ByHead(/*transposed=*/false));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.q.weight")), Rows(kQueryRows));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")), Rows(kKeyRows));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.v.weight")), Rows(kValueRows));
}

TEST_F(ModelTensorsTest, ColumnsOfATransposedTensorBecomeRows) {
  Add("h.0.qkv.weight", {kIn, kRows});
  const ModelTensors tensors = Open(ByHead(/*transposed=*/true));
  EXPECT_EQ(tensors.Get("h.0.q.weight").shape, (std::vector<size_t>{kQuery, kIn}));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.q.weight")), Rows(kQueryRows, true));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")), Rows(kKeyRows, true));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.v.weight")), Rows(kValueRows, true));
}

TEST_F(ModelTensorsTest, BiasesAreCutAsTheRowsAreInEitherDirection) {
  Add("h.0.qkv.bias", {kRows});
  for (const bool transposed : {false, true}) {
    const ModelTensors tensors = Open(ByHead(transposed));
    EXPECT_EQ(tensors.Get("h.0.q.bias").shape, std::vector<size_t>{kQuery});
    EXPECT_EQ(tensors.Get("h.0.q.bias").AsFloats(), (std::vector<float>{0, 1, 2, 3, 8, 9, 10, 11}));
    EXPECT_EQ(tensors.Get("h.0.k.bias").AsFloats(), (std::vector<float>{4, 5, 12, 13}));
    EXPECT_EQ(tensors.Get("h.0.v.bias").AsFloats(), (std::vector<float>{6, 7, 14, 15}));
  }
}

TEST_F(ModelTensorsTest, WhoWalksOverThemSeesEachLayerOnce) {
  Add("h.0.qkv.weight", {kRows, kIn});
  Add("h.0.o.weight", {kIn, kQuery});
  Add("extra", {2});
  const ModelTensors tensors = Open(Together());
  EXPECT_THAT(tensors.names(),
              ElementsAre("extra", "h.0.k.weight", "h.0.o.weight", "h.0.q.weight", "h.0.v.weight"));
  EXPECT_EQ(tensors.all_names(), tensors.names());
  EXPECT_EQ(tensors.Find("h.0.qkv.weight"), nullptr);
  EXPECT_EQ(tensors.Header("h.0.qkv.weight"), nullptr);
  EXPECT_EQ(tensors.Find("h.0.q.bias"), nullptr);
}

TEST_F(ModelTensorsTest, ALayerUnderItsOwnNameWins) {
  Add("h.0.qkv.weight", {kRows, kIn});
  Add("h.0.k.weight", {kKey, kIn}, 100);
  const ModelTensors tensors = Open(Together());
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")).front(), 100);
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.v.weight")), Rows({12, 13, 14, 15}));
}

// Where no layer needs it, the whole tensor is one like any other: somebody may refuse it.
TEST_F(ModelTensorsTest, AWholeThatNobodyNeedsIsSeen) {
  Add("h.0.qkv.weight", {kRows, kIn});
  Add("h.0.q.weight", {kQuery, kIn});
  Add("h.0.k.weight", {kKey, kIn});
  Add("h.0.v.weight", {kKey, kIn});
  EXPECT_THAT(Open(Together()).names(), ::testing::Contains("h.0.qkv.weight"));
}

TEST_F(ModelTensorsTest, HeadersAndSizesCostNoCopy) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(ByHead(/*transposed=*/false));
  EXPECT_EQ(tensors.ElementsOf("h.0.k.weight"), kKey * kIn);
  EXPECT_EQ(tensors.BytesOf("h.0.k.weight"), kKey * kIn * 4);
  const TensorView* header = tensors.Header("h.0.k.weight");
  EXPECT_EQ(header->shape, (std::vector<size_t>{kKey, kIn}));
  EXPECT_TRUE(header->bytes.empty());
  (void)tensors.Get("h.0.k.weight");
  EXPECT_FALSE(header->bytes.empty());
}

TEST_F(ModelTensorsTest, WhatWasReleasedIsReadAgain) {
  Add("h.0.qkv.weight", {kRows, kIn});
  Add("h.0.o.weight", {kIn, kQuery}, 50);
  const ModelTensors tensors = Open(ByHead(/*transposed=*/false));
  (void)tensors.Get("h.0.k.weight");
  tensors.Release("h.1.");
  EXPECT_FALSE(tensors.Header("h.0.k.weight")->bytes.empty());
  tensors.Release("h.0.");
  EXPECT_TRUE(tensors.Header("h.0.k.weight")->bytes.empty());
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")), Rows(kKeyRows));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.o.weight")).front(), 50);
}

TEST_F(ModelTensorsTest, RowsWhereTheyLieSurviveARelease) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(Together());
  (void)tensors.Get("h.0.k.weight");
  tensors.Release("h.0.");
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")), Rows({8, 9, 10, 11}));
}

TEST_F(ModelTensorsTest, ThreadsMayAskForOneLayerAtOnce) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(ByHead(/*transposed=*/false));
  std::vector<const std::byte*> seen(8);
  std::vector<std::thread> threads;
  for (const std::byte*& place : seen) {
    threads.emplace_back([&] { place = tensors.Get("h.0.q.weight").bytes.data(); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(seen, ::testing::Each(seen[0]));
}

TEST_F(ModelTensorsTest, OtherSizesThanThePlansAreRefused) {
  for (const size_t rows : {kRows - 1, kRows + 1}) {
    tensors_.clear();
    Add("h.0.qkv.weight", {rows, kIn});
    for (const ModelPlan& plan : {Together(), ByHead(/*transposed=*/false)}) {
      const std::string message = ErrorOf([&] { Open(plan); });
      EXPECT_THAT(message, HasSubstr("[h.0.qkv.weight] expected 16 rows"));
      EXPECT_THAT(message, HasSubstr(rows < kRows ? "got 15" : "got 17"));
    }
  }
  tensors_.clear();
  Add("h.0.qkv.weight", {kIn, kRows + 1});
  EXPECT_THAT(ErrorOf([&] { Open(ByHead(/*transposed=*/true)); }), HasSubstr("expected 16 rows"));
  tensors_.clear();
  Add("h.0.qkv.bias", {kRows - 1});
  EXPECT_THAT(ErrorOf([&] { Open(Together()); }), HasSubstr("[h.0.qkv.bias] expected 16 rows"));
}

TEST_F(ModelTensorsTest, LayersThatReachBeyondTheirTensorAreRefused) {
  Add("h.0.qkv.weight", {kRows, kIn});
  EXPECT_THAT(ErrorOf([&] {
                Open(PlanOf(StoredRows{"qkv", 0}, StoredRows{"qkv", 8}, StoredRows{"qkv", 13}));
              }),
              HasSubstr("[h.0.qkv.weight] expected at least 17 rows; got 16"));
}

TEST_F(ModelTensorsTest, OtherDimensionsAreRefused) {
  Add("h.0.qkv.weight", {kRows, kIn, 1});
  EXPECT_THAT(ErrorOf([&] { Open(Together()); }), HasSubstr("a tensor of 3 dimensions"));
  tensors_.clear();
  Add("h.0.qkv.weight", {kRows});
  EXPECT_THAT(ErrorOf([&] { Open(ByHead(/*transposed=*/true)); }),
              HasSubstr("a tensor of 1 dimensions"));
}

// A plan whose queries have a norm with weights for each head.
ModelPlan WithGroups() {
  ModelPlan plan = PlanOf({}, {}, {});
  QueryKeyNorms& norms = std::get<AttentionPlan>(plan.blocks[0].branches[0].part).norms.emplace();
  norms.query = {"q_norm", kHeadDim, {}};
  norms.query.groups = kHeads;
  norms.query.stored_by_group = "norms.";
  norms.key = {"k_norm", kHeadDim, {}};
  return plan;
}

TEST_F(ModelTensorsTest, GroupsOfANormBecomeOneTensor) {
  for (size_t group = 0; group < kHeads; ++group) {
    Add("h.0.norms." + std::to_string(group) + ".weight", {kHeadDim},
        static_cast<float>(10 * group));
  }
  const ModelTensors tensors = Open(WithGroups());
  EXPECT_THAT(tensors.names(), ElementsAre("h.0.q_norm.weight"));
  EXPECT_THAT(tensors.Get("h.0.q_norm.weight").AsFloats(),
              ElementsAre(0, 1, 10, 11, 20, 21, 30, 31));
  tensors.Release("h.0.");
  EXPECT_EQ(tensors.Get("h.0.q_norm.weight").AsFloats().back(), 31);
}

TEST_F(ModelTensorsTest, GroupsThatAreMissingLeaveTheNormAbsentAndTheOthersSeen) {
  Add("h.0.norms.0.weight", {kHeadDim});
  Add("h.0.norms.1.weight", {kHeadDim});
  const ModelTensors tensors = Open(WithGroups());
  EXPECT_EQ(tensors.Find("h.0.q_norm.weight"), nullptr);
  EXPECT_THAT(tensors.names(), ElementsAre("h.0.norms.0.weight", "h.0.norms.1.weight"));
}

TEST_F(ModelTensorsTest, GroupsOfAnotherSizeAreRefused) {
  Add("h.0.norms.0.weight", {kHeadDim});
  Add("h.0.norms.1.weight", {kHeadDim + 1});
  EXPECT_THAT(ErrorOf([&] { Open(WithGroups()); }),
              HasSubstr("[h.0.norms.1.weight] expected 2 values of one type; got 3"));
}

TEST_F(ModelTensorsTest, NamesAreThoseOfThePlanWithAndWithoutThePrefixOfTheFile) {
  ModelPlan plan = ByHead(/*transposed=*/false);
  plan.renamings = {{"transformer.", ""}};
  Add("transformer.h.0.qkv.weight", {kRows, kIn});
  Add("h.0.o.weight", {kIn, kQuery}, 7);
  const ModelTensors tensors = Open(plan);
  EXPECT_THAT(tensors.names(),
              ElementsAre("h.0.k.weight", "h.0.o.weight", "h.0.q.weight", "h.0.v.weight"));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.k.weight")), Rows(kKeyRows));
  EXPECT_EQ(ValuesOf(tensors.Get("h.0.o.weight")).front(), 7);
  EXPECT_EQ(tensors.Find("transformer.h.0.qkv.weight"), nullptr);
}

TEST_F(ModelTensorsTest, TheFirstRenamingThatFitsCounts) {
  ModelPlan plan = PlanOf({}, {}, {});
  plan.renamings = {{"a.b.", "x."}, {"a.", "y."}, {"x.", "z."}};
  Add("a.b.one", {1});
  Add("a.two", {1});
  Add("c.a.three", {1});
  EXPECT_THAT(Open(plan).names(), ElementsAre("c.a.three", "x.one", "y.two"));
}

TEST_F(ModelTensorsTest, TwoTensorsOfOneNameAreRefused) {
  ModelPlan plan = PlanOf({}, {}, {});
  plan.renamings = {{"transformer.", ""}};
  Add("transformer.h.0.o.weight", {kIn, kQuery});
  Add("h.0.o.weight", {kIn, kQuery});
  EXPECT_THAT(ErrorOf([&] { Open(plan); }),
              HasSubstr("two for h.0.o.weight, one stored as transformer.h.0.o.weight"));
}

TEST_F(ModelTensorsTest, WhatIsLeftOutIsAbsent) {
  Add("h.0.qkv.weight", {kRows, kIn});
  Add("extra.one", {1});
  Add("extra.two", {1});
  ModelTensors tensors = Open(Together());
  tensors.LeaveOut({"extra.one"});
  EXPECT_THAT(tensors.left_out(), ElementsAre("extra.one"));
  EXPECT_EQ(tensors.Find("extra.one"), nullptr);
  EXPECT_THAT(tensors.names(), Not(::testing::Contains("extra.one")));
  EXPECT_NE(tensors.Find("extra.two"), nullptr);
}

TEST_F(ModelTensorsTest, AnAbsentNameIsAnErrorWithTheNearestOne) {
  Add("h.0.qkv.weight", {kRows, kIn});
  const ModelTensors tensors = Open(Together());
  const std::string message = ErrorOf([&] { (void)tensors.Get("h.0.q.weigth"); });
  EXPECT_THAT(message, HasSubstr("expected a tensor 'h.0.q.weigth'"));
  EXPECT_THAT(message, HasSubstr("the nearest name is 'h.0.q.weight'"));
}

// A type that is not read stops nobody until the tensor is asked for, by its name in the plan.
TEST_F(ModelTensorsTest, ATensorOfAnotherTypeIsNamedWhenItIsAskedFor) {
  const std::string header =
      R"({"transformer.h.0.o.weight":{"dtype":"F8_E4M3FNUZ","shape":[2],"data_offsets":[0,2]}})";
  const uint64_t size = header.size();
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof size);
  folder_.Write("model.safetensors", bytes + header + std::string(2, '\0'));
  ModelPlan plan = PlanOf({}, {}, {});
  plan.renamings = {{"transformer.", ""}};

  ModelTensors tensors(TensorFile::Open(folder_.path()), plan);
  EXPECT_THAT(tensors.names(), ::testing::IsEmpty());
  EXPECT_THAT(tensors.all_names(), ElementsAre("h.0.o.weight"));
  EXPECT_THAT(ErrorOf([&] { (void)tensors.Find("h.0.o.weight"); }), HasSubstr("F8_E4M3FNUZ"));
  tensors.LeaveOut({"h.0.o.weight"});
  EXPECT_EQ(tensors.Find("h.0.o.weight"), nullptr);
}

}  // namespace
}  // namespace qualm
