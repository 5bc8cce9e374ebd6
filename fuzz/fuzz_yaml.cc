// Arbitrary bytes as YAML: bad input is refused, every node of what is accepted answers.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "io/yaml.h"

namespace {

// Calls every conversion; each either answers or refuses.
void Visit(const qualm::Yaml& node) {
  for (int conversion = 0; conversion < 4; ++conversion) {
    try {
      if (conversion == 0) (void)node.AsString();
      if (conversion == 1) (void)node.AsInt();
      if (conversion == 2) (void)node.AsDouble();
      if (conversion == 3) (void)node.AsBool();
    } catch (const qualm::Error& error) {
      QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
    }
  }
  if (node.kind() == qualm::Yaml::Kind::kList) {
    for (const qualm::Yaml& element : node.AsList()) Visit(element);
  }
  if (node.IsMap()) {
    for (const auto& [key, value] : node.AsMap()) Visit(value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    Visit(qualm::Yaml::Parse({reinterpret_cast<const char*>(data), size}, "fuzz.yaml"));
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
