#include "artefact/scheme.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

Scheme Group(int size) {
  Scheme scheme;
  scheme.granularity = Granularity::kGroup;
  scheme.group_size = size;
  return scheme;
}

std::string ValidationMessage(const Scheme& scheme) {
  try {
    scheme.Validate();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kBadInput);
    return error.what();
  }
  return "";
}

TEST(Scheme, CountsGroupsWithAShorterLastOne) {
  EXPECT_EQ(Group(128).GroupCount(512), 4u);
  EXPECT_EQ(Group(128).GroupCount(513), 5u);
  EXPECT_EQ(Group(64).GroupCount(172), 3u);
  EXPECT_EQ(Group(64).GroupSize(172), 64u);
  EXPECT_EQ(Group(128).GroupCount(1), 1u);
  EXPECT_EQ(Scheme{}.GroupCount(172), 1u);
  EXPECT_EQ(Scheme{}.GroupSize(172), 172u);
}

TEST(Scheme, AcceptsWhatTheMethodsUse) {
  EXPECT_EQ(ValidationMessage(Scheme{}), "");
  Scheme spqr = Group(16);
  spqr.zero_point = ZeroPointKind::kFloat;
  spqr.second_level = SecondLevel{3, 16};
  EXPECT_EQ(ValidationMessage(spqr), "");
  Scheme nf4 = Group(64);
  nf4.type = NumberType::kNf4;
  nf4.zero_point = ZeroPointKind::kNone;
  EXPECT_EQ(ValidationMessage(nf4), "");
  Scheme fp8;
  fp8.type = NumberType::kFp8E4m3;
  fp8.bits = 8;
  fp8.zero_point = ZeroPointKind::kNone;
  EXPECT_EQ(ValidationMessage(fp8), "");
}

TEST(Scheme, RefusesContradictions) {
  Scheme scheme;
  scheme.bits = 0;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("bits in 1..8; got 0"));
  scheme.bits = 9;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("got 9"));
  EXPECT_THAT(ValidationMessage(Group(0)), HasSubstr("group_size in 1.."));
  EXPECT_THAT(ValidationMessage(Group(-1)), HasSubstr("got -1"));
  EXPECT_THAT(ValidationMessage(Group((1 << 20) + 1)), HasSubstr("group_size"));
  scheme = Scheme{};
  scheme.group_size = 128;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("granularity is channel"));
  scheme = Scheme{};
  scheme.scale_type = DType::kI8;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("scale_type"));
  scheme = Scheme{};
  scheme.type = NumberType::kFp8E5m2;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("bits 8 with type fp8_e5m2; got 4"));
}

TEST(Scheme, RefusesOneBitWhereTheSymmetricScaleDividesByZero) {
  Scheme scheme;
  scheme.bits = 1;
  scheme.zero_point = ZeroPointKind::kNone;
  EXPECT_EQ(ValidationMessage(scheme), "");
  scheme.symmetric_convention = SymmetricConvention::kSigned;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("at least 2 bits"));
  scheme.symmetric_convention = SymmetricConvention::kMiAbsmax;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("at least 2 bits"));
}

TEST(Scheme, RefusesAnImpossibleSecondLevel) {
  Scheme scheme = Group(16);
  scheme.second_level = SecondLevel{9, 16};
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("second_level bits"));
  scheme.second_level = SecondLevel{3, 0};
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("group_rows"));
  scheme = Scheme{};
  scheme.granularity = Granularity::kTensor;
  scheme.second_level = SecondLevel{};
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("granularity channel or group"));
}

TEST(Scheme, ShortNamesTellSchemesApart) {
  EXPECT_EQ(Group(128).ShortName(), "int4-g128-asym");
  Scheme scheme;
  scheme.bits = 8;
  scheme.zero_point = ZeroPointKind::kNone;
  EXPECT_EQ(scheme.ShortName(), "int8-channel-sym");
  scheme = Group(16);
  scheme.zero_point = ZeroPointKind::kFloat;
  scheme.second_level = SecondLevel{3, 16};
  EXPECT_EQ(scheme.ShortName(), "int4-g16-float-zero-second3x16");
}

TEST(Scheme, NamesOfValuesReadBack) {
  for (auto type :
       {NumberType::kInteger, NumberType::kNf4, NumberType::kFp8E4m3, NumberType::kFp8E4m3Ieee,
        NumberType::kFp8E5m2, NumberType::kMxfp4, NumberType::kNvfp4}) {
    EXPECT_EQ(EnumFromName<NumberType>(NameOf(type), "x"), type);
  }
  for (auto granularity :
       {Granularity::kTensor, Granularity::kChannel, Granularity::kGroup, Granularity::kToken}) {
    EXPECT_EQ(EnumFromName<Granularity>(NameOf(granularity), "x"), granularity);
  }
  for (auto kind : {ZeroPointKind::kNone, ZeroPointKind::kInteger, ZeroPointKind::kFloat}) {
    EXPECT_EQ(EnumFromName<ZeroPointKind>(NameOf(kind), "x"), kind);
  }
  for (auto convention :
       {SymmetricConvention::kGptq, SymmetricConvention::kMiAbsmax, SymmetricConvention::kSigned}) {
    EXPECT_EQ(EnumFromName<SymmetricConvention>(NameOf(convention), "x"), convention);
  }
}

TEST(Scheme, UnknownNamesAreAnsweredWithTheNearest) {
  try {
    EnumFromName<Granularity>("chanel", "recipe.yaml:3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("recipe.yaml:3"));
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'channel'"));
  }
}

TEST(Scheme, FormatsHaveNoZeroPointsAndTheirOwnGroups) {
  Scheme scheme = Group(32);
  scheme.type = NumberType::kMxfp4;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("no zero points"));
  scheme.zero_point = ZeroPointKind::kNone;
  EXPECT_EQ(ValidationMessage(scheme), "");
  EXPECT_EQ(scheme.ShortName(), "mxfp4-g32");
  scheme.group_size = 64;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("groups of 32 with type mxfp4; got 64"));
  scheme.type = NumberType::kNvfp4;
  EXPECT_THAT(ValidationMessage(scheme), HasSubstr("groups of 16"));
}

}  // namespace
}  // namespace qualm
