// Data sheets of devices: YAML in the units of data sheets comes in, bytes and operations per
// second go out.
#include "efficiency/hardware.h"

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/fields.h"
#include "io/yaml.h"

namespace qualm {
namespace {

constexpr FieldRange kPositive = InRange(1e-6, 1e9);

// Dense operations, 10^12 per second; a device need not have the types that can be left out.
struct PeakTops {
  double fp32 = 0, fp16 = 0, fp8 = 0, int8 = 0, int4 = 0;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("fp32", self.fp32, {.range = kPositive, .required = true});
    visit("fp16", self.fp16, {.range = kPositive});
    visit("fp8", self.fp8, {.range = kPositive});
    visit("int8", self.int8, {.range = kPositive});
    visit("int4", self.int4, {.range = kPositive});
  }
};

struct DataSheet {
  std::string name, title, source;
  double memory_gb = 0, bandwidth_gb_s = 0;
  PeakTops peak_tops;

  template <class Visitor, class Self>
  static void Fields(Visitor& visit, Self& self) {
    visit("name", self.name, {.required = true});
    visit("title", self.title, {.required = true});
    visit("source", self.source, {.required = true});
    visit("memory_gb", self.memory_gb, {.range = kPositive, .required = true});
    visit("bandwidth_gb_s", self.bandwidth_gb_s, {.range = kPositive, .required = true});
    visit("peak_tops", self.peak_tops, {.required = true});
  }
};

}  // namespace

Hardware ParseHardware(std::string_view yaml_text, std::string_view place) {
  const Yaml yaml = Yaml::Parse(yaml_text, place);
  const auto sheet = OptionsFrom<DataSheet>(&yaml);

  Hardware hardware{
      sheet.name, sheet.title, sheet.source, 1e9 * sheet.bandwidth_gb_s, 1e9 * sheet.memory_gb, {}};
  const PeakTops& peaks = sheet.peak_tops;
  hardware.ops = {1e12 * peaks.fp32, 1e12 * peaks.fp16, 1e12 * peaks.fp8, 1e12 * peaks.int8,
                  1e12 * peaks.int4};
  return hardware;
}

std::vector<std::string> HardwareNames() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedHardware()) {
    names.emplace_back(file.name.substr(0, file.name.size() - 5));
  }
  return names;
}

Hardware FindHardware(const std::string& name_or_path) {
  for (const EmbeddedFile& file : EmbeddedHardware()) {
    if (file.name == StrCat(name_or_path, ".yaml")) {
      return ParseHardware(file.text, StrCat("hardware/", file.name));
    }
  }
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
