// Arbitrary bytes as a task file: bad input is refused; what is accepted renders or refuses a row
// and filters answers.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "io/json.h"
#include "tasks/task.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const qualm::Json row = {{"question", "q_1"}, {"choices", {"a", "b"}}, {"label", 0}};
  try {
    const qualm::Task task =
        qualm::ParseTask({reinterpret_cast<const char*>(data), size}, "fuzz.yaml");
    for (const qualm::Template* text : {&task.header, &task.context, &task.continuation}) {
      (void)text->Uses("choice");
      (void)text->Render(row, "row");
    }
    const std::vector<std::string> texts = {"The answer is (B).", ""};
    for (const qualm::AnswerFilter& filter : task.generation.filters) {
      (void)filter.Apply(texts, {row, "row"});
    }
  } catch (const qualm::Error& error) {
    QUALM_CHECK(error.kind() == qualm::ErrorKind::kBadInput);
  }
  return 0;
}
