// Reads data sheets of devices: YAML in, peak rates and memory in plain units out (bytes and
// operations per second, not giga or tera).
#include "efficiency/hardware.h"

#include <array>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/yaml.h"

namespace qualm {

Hardware ParseHardware(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  yaml.RequireKnownKeys(std::array<std::string, 6>{"name", "title", "source", "memory_gb",
                                                   "bandwidth_gb_s", "peak_tops"});
  Hardware hardware;
  hardware.name = yaml.Get("name").AsString();
  hardware.title = yaml.Get("title").AsString();
  hardware.source = yaml.Get("source").AsString();

  // Memory and bandwidth must be known. An absent number of operations means that the device does
  // not have that type.
  const auto positive = [](const Yaml& map, std::string_view key) {
    (void)map.Get(key);
    return NumberOption(&map, key, 0, 1e-6, 1e9);
  };
  hardware.memory_bytes = 1e9 * positive(yaml, "memory_gb");
  hardware.bytes_per_second = 1e9 * positive(yaml, "bandwidth_gb_s");

  const Yaml& peaks = yaml.Get("peak_tops");
  peaks.RequireKnownKeys(std::array<std::string, 5>{"fp32", "fp16", "fp8", "int8", "int4"});
  hardware.ops.fp32 = 1e12 * positive(peaks, "fp32");
  // 0 means that the device does not have the type.
  const auto optional = [&](std::string_view key) {
    return 1e12 * NumberOption(&peaks, key, 0, 1e-6, 1e9);
  };
  hardware.ops.fp16 = optional("fp16");
  hardware.ops.fp8 = optional("fp8");
  hardware.ops.int8 = optional("int8");
  hardware.ops.int4 = optional("int4");
  return hardware;
}

// A file's name without ".yaml" is the device's name.
std::vector<std::string> HardwareNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedHardware()) {
    names.emplace_back(file.name.substr(0, file.name.size() - 5));
  }
  return names;
}

Hardware FindHardware(const std::string& name_or_path) {
  // Built-in devices first, so that a file in the current folder cannot hide them.
  for (const EmbeddedFile& file : EmbeddedHardware()) {
    if (file.name == StrCat(name_or_path, ".yaml")) {
      return ParseHardware(file.text, StrCat("hardware/", file.name));
    }
  }

  // Any other name must be the path of a .yaml file; "this" is known to the commands that measure.
  if (name_or_path == "this") {
    ThrowBadInput("--hardware", "a device with a data sheet", "'this'",
                  "what this machine can do has to be measured");
  }
  if (!name_or_path.ends_with(".yaml")) {
    std::vector<std::string> names = HardwareNames();
    names.emplace_back("this");
    ThrowUnknownName("--hardware", "device", name_or_path, names);
  }
  return ParseHardware(ReadFile(name_or_path, 1 << 20), name_or_path);
}

}  // namespace qualm
