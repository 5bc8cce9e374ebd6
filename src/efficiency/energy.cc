// Reads the energy counters that Linux offers under /sys/class/powercap. Counters rise in
// microjoules and start again at 0 when they reach their range. Most machines refuse access to
// ordinary users, so everything here can end without a number.
#include "efficiency/energy.h"

#include <fstream>
#include <string>

namespace qualm {
namespace {

// The number in a file of one line; -1 if it cannot be read.
double NumberIn(const std::filesystem::path& file) {
  std::ifstream in(file);
  double value = -1;
  in >> value;
  return in.fail() ? -1 : value;
}

// Whether the zone is a whole package. Cores and memory ("intel-rapl:0:0") are parts of their
// package, and "psys" is the whole machine with its packages; adding them would count energy twice.
bool IsPackage(const std::filesystem::path& zone) {
  std::ifstream in(zone / "name");
  std::string name;
  in >> name;
  return zone.filename().string().starts_with("intel-rapl:") && name.starts_with("package");
}

}  // namespace

EnergyMeter::EnergyMeter(const std::filesystem::path& folder) {
  std::error_code error;
  // Errors while listing the folder end the loop: a machine without counters is not an error.
  for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end;
       at.increment(error)) {
    if (!IsPackage(at->path())) continue;
    Zone zone{at->path() / "energy_uj", NumberIn(at->path() / "max_energy_range_uj"), 0};
    if (NumberIn(zone.counter) >= 0 && zone.largest > 0) zones_.push_back(std::move(zone));
  }
}

void EnergyMeter::Start() {
  for (Zone& zone : zones_) zone.start = NumberIn(zone.counter);
}

std::optional<double> EnergyMeter::Joules() const {
  if (zones_.empty()) return std::nullopt;
  // A counter that is smaller than at the start has wrapped around once.
  double sum = 0;
  for (const Zone& zone : zones_) {
    const double now = NumberIn(zone.counter);
    if (now < 0 || zone.start < 0) return std::nullopt;
    sum += now >= zone.start ? now - zone.start : now + zone.largest - zone.start;
  }
  return sum * 1e-6;
}

}  // namespace qualm
