// Arbitrary bytes as JSON: bad input is refused, what is accepted survives writing and reading.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const qualm::Json json =
        qualm::ParseJson({reinterpret_cast<const char*>(data), size}, "fuzz.json");
    const std::string text = json.dump();
    QUALM_CHECK(qualm::ParseJson(text, "again") == json);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
