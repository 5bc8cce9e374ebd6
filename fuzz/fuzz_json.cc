// Arbitrary bytes as JSON: bad input is refused, what is accepted survives writing and reading, and
// is the same value where NaN and Infinity are allowed, too.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "io/json.h"
#include "io/python_json.h"

namespace {

template <typename Body>
void Try(const Body& body) {
  try {
    body();
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  Try([&] { (void)qualm::ParsePythonJson(bytes, "fuzz.json"); });
  Try([&] {
    const qualm::Json json = qualm::ParseJson(bytes, "fuzz.json");
    const std::string text = json.dump();
    QUALM_CHECK(qualm::ParseJson(text, "again") == json);
    QUALM_CHECK(qualm::ParsePythonJson(bytes, "python") == json);
  });
  return 0;
}
