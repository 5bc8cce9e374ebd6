// SHA-256 of texts whose hashes are published (FIPS 180-2, appendix B).
#include "data/sha256.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace qualm {
namespace {

constexpr const char* kHashOfAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

TEST(Sha256, OfKnownTexts) {
  EXPECT_EQ(Sha256OfText("abc"), kHashOfAbc);
  EXPECT_EQ(Sha256OfText(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Sha256, OfPiecesIsThatOfTheWhole) {
  Sha256 hash;
  hash.Add("a");
  hash.Add("");
  hash.Add("bc");
  EXPECT_EQ(hash.Hex(), kHashOfAbc);
}

TEST(Sha256, OfAFileIsThatOfItsBytes) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(Sha256OfFile(folder.Write("abc", "abc")), kHashOfAbc);
}

}  // namespace
}  // namespace qualm
