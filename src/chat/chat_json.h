// JSON of conversations: messages, tools, documents and variables of chat templates. Templates show
// numbers to the model, so that none of them may change when it is read.
#pragma once

#include <filesystem>
#include <string_view>

#include "io/json.h"

namespace qualm {

// Throws bad input at `place` if `text`, which is JSON, has an integer that does not fit into 64
// bits. Python's json keeps such integers; here they would become the nearest real number.
void RequireExactIntegers(std::string_view text, std::string_view place);

// A file of JSON with that check.
Json ReadChatJson(const std::filesystem::path& path);

}  // namespace qualm
