#include "tokenize/bpe.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/rng.h"

namespace qualm {
namespace {

// The definition, taken literally: merge the pair of lowest rank, of equals the leftmost.
std::vector<TokenId> MergeNaively(const MergeTable& table, std::vector<TokenId> symbols,
                                  TokenId forbidden = -1) {
  while (true) {
    uint32_t best_rank = std::numeric_limits<uint32_t>::max();
    size_t best = symbols.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const MergeTable::Merge* merge = table.Find(symbols[i], symbols[i + 1]);
      if (merge == nullptr || merge->result == forbidden || merge->rank >= best_rank) continue;
      best_rank = merge->rank;
      best = i;
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = table.Find(symbols[best], symbols[best + 1])->result;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

std::vector<TokenId> Merge(const MergeTable& table, std::vector<TokenId> symbols,
                           TokenId forbidden = -1) {
  table.Apply(symbols, forbidden);
  return symbols;
}

TEST(MergeTable, LowestRankMergesFirst) {
  MergeTable table;
  table.Add(1, 2, /*rank=*/5, /*result=*/10);
  table.Add(2, 3, /*rank=*/4, /*result=*/11);
  table.Add(10, 3, /*rank=*/1, /*result=*/12);
  table.Add(1, 11, /*rank=*/9, /*result=*/13);
  EXPECT_EQ(Merge(table, {1, 2, 3}), (std::vector<TokenId>{13}));
  EXPECT_EQ(Merge(table, {1, 2, 2, 3}), (std::vector<TokenId>{10, 11}));
}

TEST(MergeTable, LeftmostOfEqualRanksMergesFirst) {
  MergeTable table;
  table.Add(1, 1, /*rank=*/0, /*result=*/2);
  EXPECT_EQ(Merge(table, {1, 1, 1}), (std::vector<TokenId>{2, 1}));
  // The same in a text long enough for the heap.
  std::vector<TokenId> expected(50, 2);
  expected.push_back(1);
  EXPECT_EQ(Merge(table, std::vector<TokenId>(101, 1)), expected);
}

TEST(MergeTable, ShortAndForeignSymbolsStayAsTheyAre) {
  MergeTable table;
  EXPECT_EQ(Merge(table, {}), (std::vector<TokenId>{}));
  EXPECT_EQ(Merge(table, {7}), (std::vector<TokenId>{7}));
  EXPECT_EQ(Merge(table, {7, 8}), (std::vector<TokenId>{7, 8}));
  EXPECT_EQ(table.Find(-1, 3), nullptr);
}

TEST(MergeTable, APairGivenAgainTakesTheNewerRank) {
  MergeTable table;
  table.Add(1, 2, 5, 10);
  table.Add(1, 2, 3, 11);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.Find(1, 2)->rank, 3u);
  EXPECT_EQ(table.Find(1, 2)->result, 11);
}

// Random tables over few symbols, with equal ranks, on lengths around the switch to the heap.
TEST(MergeTable, EqualsTheLiteralDefinitionOnRandomTables) {
  Rng rng(7);
  for (int round = 0; round < 300; ++round) {
    MergeTable table;
    for (int i = 0; i < 40; ++i) {
      auto left = static_cast<TokenId>(rng.Below(12)), right = static_cast<TokenId>(rng.Below(12));
      table.Add(left, right, static_cast<uint32_t>(rng.Below(20)),
                static_cast<TokenId>(4 + rng.Below(8)));
    }
    std::vector<TokenId> symbols(rng.Below(90));
    for (TokenId& symbol : symbols) symbol = static_cast<TokenId>(rng.Below(4));
    TokenId forbidden = static_cast<TokenId>(rng.Below(14)) - 1;
    ASSERT_EQ(Merge(table, symbols), MergeNaively(table, symbols)) << round;
    ASSERT_EQ(Merge(table, symbols, forbidden), MergeNaively(table, symbols, forbidden)) << round;
  }
}

TEST(MergeReach, KnowsOnlyThePairsItWasGiven) {
  MergeReach reach;
  reach.Add('a', 'b');
  reach.Add(0x2581, 't');
  reach.Add(0x6211, 0x60f3);
  EXPECT_TRUE(reach.CanMerge('a', 'b'));
  EXPECT_FALSE(reach.CanMerge('b', 'a'));
  EXPECT_TRUE(reach.CanMerge(0x2581, 't'));
  EXPECT_FALSE(reach.CanMerge('t', 0x2581));
  EXPECT_TRUE(reach.CanMerge(0x6211, 0x60f3));
  EXPECT_FALSE(reach.CanMerge(0x6211, 'b'));
}

}  // namespace
}  // namespace qualm
