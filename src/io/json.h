// Strict JSON for untrusted files: bounded depth, duplicate keys are an error, positions in
// messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace qualm {

using Json = nlohmann::ordered_json;

// Throws bad input "[place] expected JSON; got ... at line 3, column 7". Rejects duplicate keys,
// nesting beyond 128 and trailing text.
Json ParseJson(std::string_view text, std::string_view place);
Json ReadJsonFile(const std::filesystem::path& path);
// Two-space indentation and a final newline.
void WriteJsonFile(const std::filesystem::path& path, const Json& value);

// JSON has no number for what is not finite.
Json NumberOrNull(double value);

// Typed access; errors name the place and the key. The second form returns `fallback` if the key is
// absent or null. A value of the wrong type is always an error.
int64_t GetInt(const Json& object, std::string_view key, std::string_view place);
int64_t GetInt(const Json& object, std::string_view key, std::string_view place, int64_t fallback);
double GetDouble(const Json& object, std::string_view key, std::string_view place);
double GetDouble(const Json& object, std::string_view key, std::string_view place, double fallback);
bool GetBool(const Json& object, std::string_view key, std::string_view place, bool fallback);
std::string GetString(const Json& object, std::string_view key, std::string_view place);
std::string GetString(const Json& object, std::string_view key, std::string_view place,
                      std::string_view fallback);

// Throws bad input with the nearest allowed key if `object` has any other key.
void RequireKnownKeys(const Json& object, std::span<const std::string> allowed,
                      std::string_view place);
// The same for a value that may not even be an object.
void RequireObject(const Json& json, std::initializer_list<const char*> keys,
                   std::string_view place);
void RequireObject(const Json& json, std::span<const std::string> keys, std::string_view place);
// The value of a key that must be there.
const Json& GetChild(const Json& json, const char* key, std::string_view place);

}  // namespace qualm
