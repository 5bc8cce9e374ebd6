// Tiny checkpoints of every family against a float64 forward pass of the family's own definition:
// argmax and norm of the logits at every position, the largest logits of the last one, and the
// whole last row where the golden has it.
#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/thread_pool.h"
#include "io/json.h"
#include "model/model.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

// The tolerance that comes with the goldens: float32 against float64 over 2 or 3 small blocks.
constexpr double kTolerance = 1e-4;

std::vector<std::string> Cases() {
  std::vector<std::string> names;
  std::filesystem::path root = testing::SharedRoot() / "golden/families";
  if (!std::filesystem::exists(root)) return {"absent"};
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (entry.is_directory()) names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

class FamilyGolden : public ::testing::TestWithParam<std::string> {};

void CheckSequence(const Model& model, const Json& golden, ThreadPool& pool) {
  auto ids = golden["ids"].get<std::vector<TokenId>>();
  const Decoder& decoder = *model.decoder;
  KvCache cache = decoder.MakeCache(ids.size());
  Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids}}, pool);
  Matrix logits(ids.size(), decoder.config.vocab_size);
  decoder.Logits(hidden, logits, pool);
  for (size_t t = 0; t < ids.size(); ++t) {
    std::span<const float> row = logits.row(t);
    double squares = 0;
    for (float v : row) squares += static_cast<double>(v) * v;
    // The norm of a vector moves by at most the norm of the change.
    EXPECT_NEAR(std::sqrt(squares), golden["logits_l2"][t].get<double>(),
                kTolerance * std::sqrt(static_cast<double>(row.size())));
    EXPECT_EQ(std::ranges::max_element(row) - row.begin(), golden["argmax"][t].get<long>());
  }
  std::span<const float> last = logits.row(ids.size() - 1);
  const Json& top = golden["last_top10"];
  for (size_t i = 0; i < top["ids"].size(); ++i) {
    EXPECT_NEAR(last[top["ids"][i].get<size_t>()], top["logits"][i].get<double>(), kTolerance);
  }
  if (golden.contains("last_logits")) {
    ASSERT_EQ(golden["last_logits"].size(), last.size());
    for (size_t i = 0; i < last.size(); ++i) {
      EXPECT_NEAR(last[i], golden["last_logits"][i].get<double>(), kTolerance);
    }
  }
}

TEST_P(FamilyGolden, LogitsAgreeWithTheFloat64Reference) {
  QUALM_SHARED_OR_SKIP(folder, std::filesystem::path("golden/families") / GetParam());
  ThreadPool pool(2);
  Model model = LoadModel(folder, {}, pool);
  Json golden = ReadJsonFile(folder / "golden.json");
  ASSERT_GE(golden["sequences"].size(), 3u);
  for (const Json& sequence : golden["sequences"]) CheckSequence(model, sequence, pool);
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyGolden, ::testing::ValuesIn(Cases()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace qualm
