// The encodings of Parquet's pages by the examples of its specification, and what does not end.
#include "data/parquet_encodings.h"

#include <gmock/gmock.h>

#include "support/errors.h"

namespace qualm {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

class ParquetEncodings : public ::testing::Test {
 protected:
  Budget budget_{1000, "f"};
};

TEST_F(ParquetEncodings, HybridRunsAndGroups) {
  // Seven fours as a run; 0 to 7 of three bits as the specification packs them.
  EXPECT_THAT(ReadHybrid({"\x0e\x04", 2}, 3, 7, budget_, "f"), ElementsAre(4, 4, 4, 4, 4, 4, 4));
  EXPECT_THAT(ReadHybrid({"\x03\x88\xc6\xfa", 4}, 3, 8, budget_, "f"),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(ReadHybrid({"\x03\x88\xc6\xfa", 4}, 3, 5, budget_, "f"), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(ReadHybrid("", 0, 3, budget_, "f"), ElementsAre(0, 0, 0));
  EXPECT_THAT(ErrorOf([&] { ReadHybrid("", 1, 1, budget_, "f"); }), HasSubstr("[f]"));
  EXPECT_THAT(ErrorOf([&] {
                ReadHybrid({"\0\0", 2}, 1, 1, budget_, "f");
              }),
              HasSubstr("an empty run"));
  EXPECT_THAT(ErrorOf([&] {
                ReadHybrid({"\x02\x01", 2}, 1, size_t{1} << 40, budget_, "f");
              }),
              HasSubstr("budget"));
}

TEST_F(ParquetEncodings, BitPackedLevelsBeginWithTheHighestBit) {
  EXPECT_THAT(ReadBitPacked({"\x05\x39\x77", 3}, 3, 8, budget_, "f"),
              ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST_F(ParquetEncodings, DeltasOfTheSpecification) {
  // 7, 5, 3, 1, 2, 3, 4, 5: block of 128, 4 miniblocks, 8 values, first 7; smallest difference -2,
  // widths 2, 0, 0, 0, then 0, 0, 0, 3, 3, 3, 3 in two bits each.
  std::string bytes("\x80\x01\x04\x08\x0e\x03\x02\x00\x00\x00\xc0\x3f", 12);
  bytes.append(6, '\0');  // the miniblock has 32 values
  bytes += "next";
  std::string_view rest = bytes;
  EXPECT_THAT(ReadDeltas(rest, 8, budget_, "f"), ElementsAre(7, 5, 3, 1, 2, 3, 4, 5));
  EXPECT_EQ(rest, "next");
  std::string_view no_shape("\x81\x01\x04\x08\x0e", 5);
  EXPECT_THAT(ErrorOf([&] { ReadDeltas(no_shape, 8, budget_, "f"); }), HasSubstr("miniblocks"));
}

TEST_F(ParquetEncodings, SplitStreamsOfTheSpecification) {
  EXPECT_EQ(
      ReadSplitStreams("\xaa\x00\xa3\xbb\x11\xb4\xcc\x22\xc5\xdd\x33\xd6", 4, 0, budget_, "f"), "");
  const std::string streams("\xaa\x00\xa3\xbb\x11\xb4\xcc\x22\xc5\xdd\x33\xd6", 12);
  EXPECT_EQ(ReadSplitStreams(streams, 4, 3, budget_, "f"),
            std::string("\xaa\xbb\xcc\xdd\x00\x11\x22\x33\xa3\xb4\xc5\xd6", 12));
}

}  // namespace
}  // namespace qualm
