// Joules, by the energy counters of the processor packages (Linux powercap, RAPL).
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

namespace qualm {

// Call Start(), do the work, call Joules(); as often as needed.
class EnergyMeter {
 public:
  explicit EnergyMeter(const std::filesystem::path& folder = "/sys/class/powercap");
  bool is_there() const { return !zones_.empty(); }
  void Start();
  // Joules of all packages since Start(); empty if there is no counter or one cannot be read,
  // because a missing measurement is not a zero. Correct as long as no counter has wrapped around
  // twice.
  std::optional<double> Joules() const;

 private:
  struct Zone {
    std::filesystem::path counter;
    double largest = 0, start = 0;  // microjoules
  };
  std::vector<Zone> zones_;
};

}  // namespace qualm
