// Devices by their data sheets: hardware/*.yaml, compiled in, or a file that the user gives.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/embedded_datasets.h"

namespace qualm {

// Dense operations per second (a multiply-add is two) by number type; 0 if the device does not have
// the type.
struct PeakOps {
  double fp32 = 0, fp16 = 0, fp8 = 0, int8 = 0, int4 = 0;
};

// What a prediction needs to know about a device.
struct Hardware {
  std::string name, title, source;
  double bytes_per_second = 0;  // of its main memory
  double memory_bytes = 0;
  PeakOps ops;
};

// Strict: an unknown key is bad input with its line. Numbers must be positive, and fp32 is
// required.
Hardware ParseHardware(std::string_view yaml_text, std::string_view place);
std::vector<std::string> HardwareNames();
// The device of a built-in name, or of a .yaml file at a path.
Hardware FindHardware(const std::string& name_or_path);

std::span<const EmbeddedFile> EmbeddedHardware();  // by name

}  // namespace qualm
