// Joules by the processor packages' energy counters (Linux powercap, RAPL).
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace qualm {

class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& folder = "/sys/class/powercap");
  bool is_there() const { return !zones_.empty(); }
  void Start();
  // Joules of all packages since Start(); nothing where there is no counter or one cannot be read:
  // a missing measurement is no zero. Right as long as no counter has wrapped around twice.
  std::optional<double> Joules() const;

 private:
  struct Zone {
    std::filesystem::path counter;
    double largest = 0, start = 0;  // microjoules
  };
  std::vector<Zone> zones_;
};

}  // namespace qualm
