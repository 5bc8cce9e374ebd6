// Arbitrary bytes as a chat template: bad input is refused, what is accepted renders or refuses.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "chat/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const qualm::Json variables = {
      {"messages", {{{"role", "system"}, {"content", "s"}}, {{"role", "user"}, {"content", "u"}}}},
      {"bos_token", "<s>"},
      {"eos_token", "</s>"},
      {"add_generation_prompt", true},
      {"n", 3},
      {"items_", {{"a", 1}}}};
  try {
    (void)qualm::JinjaTemplate({reinterpret_cast<const char*>(data), size}, "fuzz")
        .Render(variables);
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
