#include "efficiency/energy.h"

#include <gtest/gtest.h>

#include "support/temporary_folder.h"

namespace qualm {
namespace {

using testing::TemporaryFolder;

class FakePowercap : public ::testing::Test {
 protected:
  void Zone(const std::string& zone, const std::string& name, const std::string& microjoules) {
    std::filesystem::create_directories(folder_ / zone);
    folder_.Write(zone + "/name", name + "\n");
    folder_.Write(zone + "/max_energy_range_uj", "1000000\n");
    SetCounter(zone, microjoules);
  }
  void SetCounter(const std::string& zone, const std::string& microjoules) {
    folder_.Write(zone + "/energy_uj", microjoules + "\n");
  }
  TemporaryFolder folder_;
};

TEST_F(FakePowercap, MicrojoulesBecomeJoules) {
  Zone("intel-rapl:0", "package-0", "100000");
  EnergyMeter meter(folder_.path());
  meter.Start();
  SetCounter("intel-rapl:0", "350000");
  ASSERT_TRUE(meter.is_there());
  EXPECT_DOUBLE_EQ(meter.Joules().value(), 0.25);
}

// From 900000 up to the range of 1000000, and 200000 behind it: 300000 microjoules.
TEST_F(FakePowercap, ACounterThatWrappedAroundGoesOnBehindItsRange) {
  Zone("intel-rapl:0", "package-0", "900000");
  EnergyMeter meter(folder_.path());
  meter.Start();
  SetCounter("intel-rapl:0", "200000");
  EXPECT_DOUBLE_EQ(meter.Joules().value(), 0.3);
}

TEST_F(FakePowercap, PackagesAreAddedTheirPartsAndTheWholeAreNot) {
  for (const auto& [zone, name] :
       {std::pair("intel-rapl:0", "package-0"), std::pair("intel-rapl:1", "package-1"),
        std::pair("intel-rapl:0:0", "core"), std::pair("intel-rapl:2", "psys"),
        std::pair("intel-rapl-mmio:0", "package-0")}) {
    Zone(zone, name, "0");
  }
  EnergyMeter meter(folder_.path());
  meter.Start();
  SetCounter("intel-rapl:0", "10000");
  SetCounter("intel-rapl:1", "20000");
  for (const char* zone : {"intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"}) {
    SetCounter(zone, "500000");
  }
  EXPECT_DOUBLE_EQ(meter.Joules().value(), 0.03);
}

TEST_F(FakePowercap, NothingIsToldWhereThereIsNoCounterOrItCannotBeRead) {
  EnergyMeter absent(folder_ / "absent"), empty(folder_.path());
  for (EnergyMeter* meter : {&absent, &empty}) {
    meter->Start();
    EXPECT_FALSE(meter->is_there());
    EXPECT_FALSE(meter->Joules().has_value());
  }
  Zone("intel-rapl:0", "package-0", "5");
  EnergyMeter meter(folder_.path());
  meter.Start();
  SetCounter("intel-rapl:0", "");
  EXPECT_TRUE(meter.is_there());
  EXPECT_FALSE(meter.Joules().has_value());
}

}  // namespace
}  // namespace qualm
