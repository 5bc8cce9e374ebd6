// Values of chat templates: JSON, and "undefined" for what is not there.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace qualm {

Json Undefined();
bool IsUndefined(const Json& value);
bool IsTrue(const Json& value);         // as Python has it
std::string TextOf(const Json& value);  // as Python's str; undefined is empty
std::string TypeName(const Json& value);

// All below throw bad input at `place` for values they are not for.
Json ElementOf(const Json& value, const Json& key);  // undefined: there is none
Json SliceOf(const Json& value, const Json& begin, const Json& end, const Json& step,
             std::string_view place);
Json BinaryOf(std::string_view sign, const Json& left, const Json& right, std::string_view place);
Json FilterOf(std::string_view name, const Json& value, const std::vector<Json>& arguments,
              std::string_view place);
bool TestOf(std::string_view name, const Json& value, std::string_view place);
Json MethodOf(std::string_view name, const Json& value, const std::vector<Json>& arguments,
              std::string_view place);
Json RangeOf(const std::vector<Json>& arguments, std::string_view place);

}  // namespace qualm
