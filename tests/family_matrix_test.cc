// Every family with every method: each golden checkpoint is quantized, verified, taken up again
// after a stop, and decoded token by token as in one piece. What a method refuses, it refuses by
// name. With QUALM_WRITE_TABLE=FILE the outcomes are written as the table of docs/families.md.
#include <gmock/gmock.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "model/family.h"
#include "model/model.h"
#include "quantize/block_tensors.h"
#include "quantize/model_rotation.h"
#include "quantize/run.h"
#include "quantize/verify.h"
#include "support/shared_data.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

struct Method {
  const char* name;
  const char* recipe;  // the checkpoints are too narrow for the built-in recipes' groups
};

constexpr Method kMethods[] = {
    {"rtn", "weights: {type: int4, granularity: channel}\nrounder: rtn\n"},
    {"gptq", "weights: {type: int4, granularity: channel}\nrounder: gptq\n"},
    {"awq", "weights: {type: int4, granularity: channel}\nrounder: rtn\ntransforms: [awq]\n"},
    {"smoothquant",
     "weights: {type: int8, granularity: channel, symmetric: true}\nrounder: rtn\n"
     "transforms: [smoothquant]\nactivations: int8\n"},
    {"os_plus",
     "weights: {type: int8, granularity: channel, symmetric: true}\nrounder: rtn\n"
     "transforms: [os_plus]\nactivations: int8\n"},
    {"quarot", "weights: {type: int4, granularity: channel}\nrounder: rtn\ntransforms: [quarot]\n"},
    {"quarot, online only",
     "weights: {type: int4, granularity: channel}\nrounder: rtn\n"
     "transforms: [{quarot: {residual: false, heads: false}}]\n"},
    {"spqr",
     "weights: {type: int3, group_size: 16, zero_point: float, range_includes_zero: false, "
     "second_level: {bits: 3, group_rows: 16}}\nrounder: spqr\n"},
    {"quip",
     "weights: {type: int3, granularity: tensor, zero_point: float, range_includes_zero: "
     "false}\nrounder: quip\n"},
    {"hqq",
     "weights: {type: int3, group_size: 16, zero_point: float, range_includes_zero: false}\n"
     "rounder: hqq\n"},
    {"slim", "weights: {type: int3, group_size: 16}\nrounder: slim\n"},
    {"w8a8",
     "weights: {type: int8, granularity: channel, symmetric: true, symmetric_convention: "
     "signed}\nrounder: rtn\nactivations: int8\n"},
    {"kv int8", "weights: {type: int4, granularity: channel}\nrounder: rtn\nkv_cache: int8\n"},
};

// Goldens whose family runs.
std::vector<std::string> Cases() {
  std::vector<std::string> names;
  const std::filesystem::path root = testing::SharedRoot() / "golden/families-hf";
  if (!std::filesystem::exists(root)) return {"absent"};
  const std::vector<std::string> families = FamilyNames();
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    const Json config = ReadJsonFile(entry.path() / "config.json");
    const std::string type = config.value("model_type", "");
    if (std::ranges::find(families, type) == families.end()) continue;
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names.empty() ? std::vector<std::string>{"absent"} : names;
}

// By case and method: "runs", or why not.
std::map<std::string, std::map<std::string, std::string>>& Outcomes() {
  static std::map<std::string, std::map<std::string, std::string>> outcomes;
  return outcomes;
}

class FamilyMatrix : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "absent") GTEST_SKIP() << "the shared data is absent";
    model_ = testing::SharedRoot() / "golden/families-hf" / GetParam();
    vocab_ = ReadModelPlan(model_).vocab_size();
  }

  std::vector<TokenId> Text(size_t count, uint64_t seed) const {
    Rng rng(seed);
    std::vector<TokenId> ids(count);
    for (TokenId& id : ids) id = static_cast<TokenId>(rng.Below(vocab_));
    return ids;
  }

  QuantizeOptions Options(const Method& method, const std::string& out) const {
    QuantizeOptions options;
    options.model = model_;
    options.out = folder_ / out;
    options.recipe = ParseRecipe(StrCat("name: matrix\n", method.recipe), "test");
    CalibrationSet set;
    set.corpus = "random tokens";
    set.length = 24;
    for (uint64_t i = 0; i < 4; ++i) set.sequences.push_back(Text(set.length, 100 + i));
    set.held_out.push_back(Text(set.length, 200));
    options.calibration = set;
    options.qualm_version = "test";
    return options;
  }

  Matrix Logits(const Decoder& decoder, size_t step) {
    const std::vector<TokenId> ids = Text(30, 1);
    KvCache cache = decoder.MakeCache(ids.size(), /*rollback=*/0);
    Matrix logits(ids.size(), vocab_);
    for (size_t first = 0; first < ids.size(); first += step) {
      const size_t count = std::min(step, ids.size() - first);
      const std::span<const TokenId> piece(ids.data() + first, count);
      const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, piece}}, context_);
      decoder.Logits(hidden, logits.view().Rows(first, count), context_);
    }
    return logits;
  }

  static double LargestDifference(const Matrix& a, const Matrix& b) {
    double largest = 0;
    for (size_t i = 0; i < a.rows() * a.cols(); ++i) {
      // NaN is a difference as well.
      const double difference = std::abs(double{a.data()[i]} - b.data()[i]);
      if (!(difference <= largest)) largest = difference;
    }
    return largest;
  }

  // Quantizes in one go and in two, and looks at what came of it.
  void CheckMethod(const Method& method) {
    const std::string whole = StrCat(method.name, " whole"),
                      pieces = StrCat(method.name, " pieces");
    QuantizeModel(Options(method, whole), context_);
    const VerifyReport report = VerifyArtefact(folder_ / whole, model_, context_);
    EXPECT_TRUE(report.passed()) << (report.passed() ? "" : report.problems[0]);
    EXPECT_GT(report.layers, 0u);

    QuantizeOptions options = Options(method, pieces);
    options.stop_after_blocks = 1;
    EXPECT_FALSE(QuantizeModel(options, context_).finished);
    options.stop_after_blocks.reset();
    EXPECT_EQ(QuantizeModel(options, context_).blocks_resumed, 1u);
    EXPECT_EQ(ReadManifest(folder_ / whole).ArtefactHash(),
              ReadManifest(folder_ / pieces).ArtefactHash());

    const Model model = LoadModel(folder_ / whole, {}, context_);
    EXPECT_EQ(LargestDifference(Logits(*model.decoder, 30), Logits(*model.decoder, 1)), 0);
  }

  testing::TemporaryFolder folder_;
  testing::TestContext context_{2};
  std::filesystem::path model_;
  size_t vocab_ = 0;
};

TEST_P(FamilyMatrix, EveryMethodRunsOrIsRefusedByName) {
  for (const Method& method : kMethods) {
    SCOPED_TRACE(method.name);
    std::string& outcome = Outcomes()[GetParam()][method.name];
    try {
      CheckMethod(method);
      outcome = "runs";
    } catch (const Error& error) {
      outcome = error.what();
      // Only what cannot keep the float function is refused, and it says so.
      const std::string name = std::string(method.name).substr(0, 6);
      EXPECT_EQ(name, "quarot") << outcome;
      EXPECT_THAT(outcome, ::testing::HasSubstr("quarot"));
    }
  }
}

// A sequence alone on one thread, and in a batch of others on three.
TEST_P(FamilyMatrix, NeighboursAndThreadsChangeNoBit) {
  const Model model = LoadModel(model_, {}, context_);
  const Decoder& decoder = *model.decoder;
  const Matrix alone = Logits(decoder, 30);

  testing::TestContext three(3);
  const std::vector<std::vector<TokenId>> texts = {Text(11, 7), Text(30, 1), Text(2, 8)};
  std::vector<KvCache> caches;
  caches.reserve(texts.size());
  std::vector<SequenceSlice> slices;
  for (const std::vector<TokenId>& ids : texts) {
    caches.push_back(decoder.MakeCache(ids.size()));
    slices.push_back({&caches.back(), ids});
  }
  const Matrix hidden = decoder.Forward(slices, three);
  Matrix logits(30, vocab_);
  decoder.Logits(hidden.view().Rows(11, 30), logits, three);
  EXPECT_EQ(LargestDifference(alone, logits), 0);
}

// Whatever a transform chooses, it becomes scales and shifts of inputs.
TEST_P(FamilyMatrix, ScalesAndShiftsKeepTheFloatFunction) {
  const Model model = LoadModel(model_, {}, context_);
  const Matrix expected = Logits(*model.decoder, 30);
  Rng rng(11);
  for (size_t b = 0; b < model.decoder->blocks.size(); ++b) {
    BlockTensors tensors(*model.checkpoint, b, /*rotation=*/nullptr);
    const std::vector<SiteInput> inputs = SiteInputs(model.decoder->plan.blocks[b]);
    for (size_t i = 0; i < inputs.size(); ++i) {
      InputEdit edit;
      for (size_t c = 0; c < inputs[i].width; ++c) {
        edit.scale.push_back(static_cast<float>(std::exp2(2 * rng.Uniform() - 1)));
        edit.shift.push_back(static_cast<float>(0.2 * rng.Normal()));
      }
      tensors.Apply(i, "test", edit, context_);
    }
    tensors.PutInto(*model.decoder->blocks[b], context_);
  }
  const Matrix edited = Logits(*model.decoder, 30);
  EXPECT_GT(LargestDifference(edited, expected), 0);
  EXPECT_LT(LargestDifference(edited, expected), 1e-4);
}

// The rotated model, in float.
TEST_P(FamilyMatrix, ARotationKeepsTheFloatFunction) {
  Model model = LoadModel(model_, {}, context_);
  Decoder& decoder = *model.decoder;
  RotationOptions options;
  try {
    RequireRotatable(decoder.plan, options);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }

  const Matrix expected = Logits(decoder, 30);
  const ModelRotation rotation(*model.checkpoint, options, context_);
  for (size_t b = 0; b < decoder.blocks.size(); ++b) {
    BlockTensors(*model.checkpoint, b, &rotation).PutInto(*decoder.blocks[b], context_);
  }
  const Matrix table = rotation.Embedding(), head = rotation.Head();
  decoder.input.embedding.weight = {table.data(), DType::kF32, table.rows(), table.cols()};
  decoder.head.weight =
      MakeDenseWeight({head.data(), DType::kF32, head.rows(), head.cols()}, context_);
  if (decoder.final_norm) decoder.final_norm->weight = rotation.FinalNorm();
  EXPECT_LT(LargestDifference(Logits(decoder, 30), expected), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyMatrix, ::testing::ValuesIn(Cases()),
                         [](const auto& instance) { return instance.param; });

// The reason of a refusal without its place and hint.
std::string ReasonOf(const std::string& message) {
  const size_t expected = message.find("expected ");
  const size_t hint = message.rfind("; ");
  return expected == std::string::npos ? message : message.substr(expected, hint - expected);
}

class TableWriter : public ::testing::Environment {
 public:
  void TearDown() override {
    const char* path = std::getenv("QUALM_WRITE_TABLE");
    if (path == nullptr) return;
    std::ofstream out(path);
    out << "| family |";
    for (const Method& method : kMethods) out << ' ' << method.name << " |";
    out << "\n|---|";
    for (size_t i = 0; i < std::size(kMethods); ++i) out << "---|";

    std::vector<std::string> reasons;
    for (const auto& [name, outcomes] : Outcomes()) {
      out << "\n| " << name << " |";
      for (const Method& method : kMethods) {
        const std::string& outcome = outcomes.at(method.name);
        if (outcome == "runs") {
          out << " runs |";
          continue;
        }
        const std::string reason = ReasonOf(outcome);
        auto found = std::ranges::find(reasons, reason);
        if (found == reasons.end()) found = reasons.insert(reasons.end(), reason);
        out << " refused " << found - reasons.begin() + 1 << " |";
      }
    }
    out << "\n\n";
    for (size_t i = 0; i < reasons.size(); ++i) out << i + 1 << ". " << reasons[i] << "\n";
  }
};

const ::testing::Environment* const table_writer =
    ::testing::AddGlobalTestEnvironment(new TableWriter);

}  // namespace
}  // namespace qualm
