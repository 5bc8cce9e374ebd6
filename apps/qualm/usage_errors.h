// What is wrong with a command line, in the words of all messages.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class ParseError;
}

namespace qualm::cli {

// "[--limit] expected a whole number from 1 to 2^64-1; got x"; where CLI11 does not name an option
// "[COMMAND] ..." with its text.
std::string UsageText(const CLI::ParseError& error, std::string_view command);

}  // namespace qualm::cli
