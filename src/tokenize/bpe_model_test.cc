#include "tokenize/bpe_model.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/rng.h"

namespace qualm {
namespace {

// Pieces of a small alphabet by random merges; symbol i of the first ones is its i-th character.
struct RandomModel {
  std::vector<std::string> pieces = {"a", "b", "c", "é", "我", "▁"};
  BpeModel model{BpeModel::Units::kCharacters};
  BpeModel uncut{BpeModel::Units::kCharacters};

  explicit RandomModel(Rng& rng) {
    const uint32_t units[] = {'a', 'b', 'c', 0xe9, 0x6211, 0x2581};
    for (TokenId id = 0; id < 6; ++id) {
      model.SetSymbol(units[id], id);
      uncut.SetSymbol(units[id], id);
    }
    std::map<std::string, TokenId> ids;
    for (uint32_t rank = 0; rank < 12; ++rank) {
      auto left = static_cast<TokenId>(rng.Below(pieces.size()));
      auto right = static_cast<TokenId>(rng.Below(pieces.size()));
      std::string left_text = pieces[static_cast<size_t>(left)];
      std::string right_text = pieces[static_cast<size_t>(right)];
      auto [at, is_new] =
          ids.try_emplace(left_text + right_text, static_cast<TokenId>(pieces.size()));
      if (is_new) pieces.push_back(left_text + right_text);
      model.AddMerge(left, right, rank, at->second, left_text, right_text);
      uncut.AddMerge(left, right, rank, at->second, left_text, right_text);
    }
    uncut.ForbidCutting();
  }
};

std::vector<TokenId> Encode(const BpeModel& model, std::string_view text,
                            WordCache* cache = nullptr) {
  std::vector<TokenId> ids;
  model.Encode(text, cache, ids);
  return ids;
}

std::string RandomText(Rng& rng, size_t length) {
  const char* characters[] = {"a", "b", "c", "é", "我", "▁", "x", "想"};  // two are unknown
  std::string text;
  for (size_t i = 0; i < length; ++i) text += characters[rng.Below(8)];
  return text;
}

TEST(BpeModel, CuttingTheTextChangesNothing) {
  Rng rng(3);
  for (int round = 0; round < 200; ++round) {
    RandomModel random(rng);
    // Nothing, one unknown each, one for a run, bytes: every way of treating unknown characters.
    for (int unknown = 0; unknown < 4; ++unknown) {
      for (BpeModel* model : {&random.model, &random.uncut}) {
        if (unknown == 1 || unknown == 2) model->SetUnknown(99, /*fuse=*/unknown == 2);
        std::array<TokenId, 256> bytes{};
        bytes.fill(77);
        if (unknown == 3) model->SetByteFallback(bytes);
      }
      std::string text = RandomText(rng, 60);
      ASSERT_EQ(Encode(random.model, text), Encode(random.uncut, text)) << text;
    }
  }
}

TEST(BpeModel, TheCacheChangesNothing) {
  Rng rng(4);
  RandomModel random(rng);
  WordCache cache;
  for (int i = 0; i < 200; ++i) {
    std::string text = RandomText(rng, 1 + rng.Below(40));
    ASSERT_EQ(Encode(random.model, text, &cache), Encode(random.model, text)) << text;
  }
}

TEST(BpeModel, UnknownCharactersAreDroppedMarkedOrFused) {
  BpeModel dropping(BpeModel::Units::kCharacters);
  dropping.SetSymbol('a', 1);
  dropping.SetSymbol('b', 2);
  dropping.AddMerge(1, 2, 0, 3, "a", "b");
  EXPECT_EQ(Encode(dropping, "axxb"), (std::vector<TokenId>{3}));  // neighbours when x is gone
  BpeModel marking = dropping;
  marking.SetUnknown(0, /*fuse=*/false);
  EXPECT_EQ(Encode(marking, "axxb"), (std::vector<TokenId>{1, 0, 0, 2}));
  BpeModel fusing = dropping;
  fusing.SetUnknown(0, /*fuse=*/true);
  EXPECT_EQ(Encode(fusing, "axxbx"), (std::vector<TokenId>{1, 0, 2, 0}));
}

TEST(BpeModel, BytesAreUnitsWhereTheModelSaysSo) {
  BpeModel model(BpeModel::Units::kBytes);
  for (unsigned byte = 0; byte < 256; ++byte) model.SetSymbol(byte, static_cast<TokenId>(byte));
  model.AddMerge(0xc3, 0xa9, 0, 300, "\xc3", "\xa9");
  EXPECT_EQ(Encode(model, "aé\xff"), (std::vector<TokenId>{'a', 300, 0xff}));
}

TEST(BpeModel, AWholeWordThatIsAPieceNeedsNoMerges) {
  BpeModel model(BpeModel::Units::kCharacters);
  model.SetSymbol('a', 1);
  model.SetSymbol('b', 2);
  Vocabulary words;
  words.Add("ab", 5, "test");
  model.SetWholeWords(std::move(words));
  EXPECT_EQ(Encode(model, "ab"), (std::vector<TokenId>{5}));
  EXPECT_EQ(Encode(model, "abb"), (std::vector<TokenId>{1, 2, 2}));
}

TEST(WordCache, RemembersUntilItIsFullAndNeverLies) {
  WordCache cache;
  std::vector<TokenId> out;
  EXPECT_FALSE(cache.AppendIds("word", out));
  for (int i = 0; i < 100'000; ++i) {
    std::string word = "w" + std::to_string(i);
    TokenId ids[] = {i, i + 1};
    cache.Remember(word, ids);
  }
  size_t found = 0;
  for (int i = 0; i < 100'000; ++i) {
    out.clear();
    if (!cache.AppendIds("w" + std::to_string(i), out)) continue;
    ++found;
    ASSERT_EQ(out, (std::vector<TokenId>{i, i + 1}));
  }
  EXPECT_EQ(found, size_t{1} << 16);
  cache.Remember(std::string(65, 'x'), out);
  EXPECT_FALSE(cache.AppendIds(std::string(65, 'x'), out));
}

}  // namespace
}  // namespace qualm
