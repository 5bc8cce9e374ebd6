#include "io/hash.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using testing::TemporaryFolder;

// XXH128 of both texts, as xxhsum -H2 prints it.
TEST(Hash, KnownAnswers) {
  EXPECT_EQ(HashBytes(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(HashBytes("abc"), "06b05ab6733a618578af5f94892f3950");
}

TEST(Hash, PiecesAndTheWholeAgree) {
  const std::string text(100000, 'q');
  Hasher hasher;
  for (size_t at = 0; at < text.size(); at += 333) {
    hasher.Add(text.data() + at, std::min<size_t>(333, text.size() - at));
  }
  EXPECT_EQ(hasher.Hex(), HashBytes(text));
  EXPECT_EQ(hasher.Hex(), hasher.Hex());  // reading does not change it
}

TEST(Hash, TextsKnowWhereTheyEnd) {
  Hasher first, second;
  first.Add("ab");
  first.Add("c");
  second.Add("a");
  second.Add("bc");
  EXPECT_NE(first.Hex(), second.Hex());
}

TEST(Hash, FileIsHashedByContent) {
  TemporaryFolder folder;
  const std::string text((size_t{1} << 20) + 5, 'z');  // more than one buffer
  EXPECT_EQ(HashFile(folder.Write("f", text)), HashBytes(text));
  EXPECT_EQ(HashFile(folder.Write("g", "")), HashBytes(""));
}

TEST(Hash, OnlyRegularFiles) {
  TemporaryFolder folder;
  EXPECT_NE(ErrorOf([&] { HashFile(folder / "absent"); }), "no error");
  EXPECT_NE(ErrorOf([&] { HashFile(folder.path()); }), "no error");
}

}  // namespace
}  // namespace qualm
