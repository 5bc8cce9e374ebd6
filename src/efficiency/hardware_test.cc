#include "efficiency/hardware.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

namespace qualm {
namespace {

using ::testing::AllOf;
using testing::ErrorOf;
using ::testing::HasSubstr;

constexpr const char* kYaml =
    "name: toy\n"
    "title: A toy\n"
    "source: \"its box\"\n"
    "memory_gb: 2\n"
    "bandwidth_gb_s: 3\n"
    "peak_tops: {fp32: 0.5, int8: 4}\n";

std::string Replaced(std::string_view from, std::string_view to) {
  std::string text = kYaml;
  return text.replace(text.find(from), from.size(), to);
}

TEST(Hardware, UnitsAreBytesAndOperationsPerSecond) {
  const Hardware toy = ParseHardware(kYaml, "toy.yaml");
  EXPECT_EQ(toy.title, "A toy");
  EXPECT_EQ(toy.source, "its box");
  EXPECT_DOUBLE_EQ(toy.memory_bytes, 2e9);
  EXPECT_DOUBLE_EQ(toy.bytes_per_second, 3e9);
  EXPECT_DOUBLE_EQ(toy.ops.fp32, 0.5e12);
  EXPECT_DOUBLE_EQ(toy.ops.int8, 4e12);
}

TEST(Hardware, ATypeThatTheFileDoesNotNameIsNotThere) {
  const Hardware toy = ParseHardware(kYaml, "toy.yaml");
  EXPECT_EQ(toy.ops.fp16, 0);
  EXPECT_EQ(toy.ops.fp8, 0);
  EXPECT_EQ(toy.ops.int4, 0);
}

TEST(Hardware, UnknownKeysAreNamedWithTheirLineAndTheNearestOne) {
  const auto error = [](const std::string& text) {
    return ErrorOf([&] { ParseHardware(text, "toy.yaml"); });
  };
  EXPECT_THAT(error(Replaced("bandwidth_gb_s", "bandwith_gb_s")),
              AllOf(HasSubstr("toy.yaml:5"), HasSubstr("did you mean 'bandwidth_gb_s'")));
  EXPECT_THAT(error(Replaced("int8", "int9")),
              AllOf(HasSubstr("toy.yaml:6"), HasSubstr("did you mean 'int8'")));
}

TEST(Hardware, WhatIsMissingOrNotPositiveIsBadInput) {
  const auto error = [](const std::string& text) {
    return ErrorOf([&] { ParseHardware(text, "toy.yaml"); });
  };
  EXPECT_THAT(error(Replaced("memory_gb: 2\n", "")), HasSubstr("memory_gb"));
  EXPECT_THAT(error(Replaced("source: \"its box\"\n", "")), HasSubstr("source"));
  EXPECT_THAT(error(Replaced("fp32: 0.5, ", "")), HasSubstr("fp32"));
  EXPECT_THAT(error(Replaced("bandwidth_gb_s: 3", "bandwidth_gb_s: 0")), HasSubstr("toy.yaml:5"));
  EXPECT_THAT(error(Replaced("int8: 4", "int8: -4")), HasSubstr("toy.yaml:6"));
  EXPECT_THAT(error(Replaced("int8: 4", "int8: fast")), HasSubstr("toy.yaml:6"));
}

TEST(Hardware, TheBuiltInDevicesAreNamedByTheirFilesAndMakeSense) {
  EXPECT_THAT(HardwareNames(), ::testing::IsSupersetOf(
                                   {"a100-80g", "h100", "h200", "l40s", "rtx4090", "rtx3090", "t4",
                                    "orin-64g", "m2-max", "graviton3", "xeon-8480", "epyc-9654"}));
  for (const std::string& name : HardwareNames()) {
    const Hardware device = FindHardware(name);
    EXPECT_EQ(device.name, name);
    EXPECT_FALSE(device.title.empty()) << name;
    EXPECT_FALSE(device.source.empty()) << name;
    // Narrower numbers are no slower than wider ones.
    double widest = device.ops.fp32;
    for (double ops : {device.ops.fp16, device.ops.int8, device.ops.int4}) {
      if (ops == 0) continue;
      EXPECT_GE(ops, widest) << name;
      widest = ops;
    }
    // Between a phone's and a future card's; a slipped unit falls out.
    EXPECT_GT(device.bytes_per_second, 1e10) << name;
    EXPECT_LT(device.bytes_per_second, 1e14) << name;
    EXPECT_GT(device.memory_bytes, 1e9) << name;
    EXPECT_LT(device.memory_bytes, 1e13) << name;
  }
}

TEST(Hardware, AFileOfTheUsersIsRead) {
  const testing::TemporaryFolder folder;
  EXPECT_EQ(FindHardware(folder.Write("mine.yaml", kYaml)).name, "toy");
}

TEST(Hardware, UnknownNamesAreAnsweredWithTheNearest) {
  EXPECT_THAT(ErrorOf([] { FindHardware("rtx4091"); }),
              AllOf(HasSubstr("rtx4090"), HasSubstr("this")));
}

TEST(Hardware, ThisMachineIsInNoTable) {
  EXPECT_THAT(ErrorOf([] { FindHardware("this"); }), HasSubstr("has to be measured"));
}

}  // namespace
}  // namespace qualm
