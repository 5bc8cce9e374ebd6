// Looks for integers of more than 64 bits in JSON: the parser hands them over as real numbers, but
// with their text.
#include "chat/chat_json.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace qualm {
namespace {

constexpr uint64_t kLargestFile = uint64_t{1} << 30;

// Listens to the parser's events and complains about integers that are not exact. All other events
// are passed over.
class IntegerCheck : public nlohmann::json_sax<Json> {
 public:
  explicit IntegerCheck(std::string_view place) : place_(place) {}

  bool number_float(number_float_t, const string_t& text) override {
    constexpr size_t kLongest = 40;
    if (text.find_first_not_of("-0123456789") != std::string::npos) return true;
    ThrowBadInput(place_, "integers of at most 64 bits",
                  text.size() > kLongest ? text.substr(0, kLongest) + "..." : text,
                  "in quotes it is a text");
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  std::string_view place_;
};

}  // namespace

void RequireExactIntegers(std::string_view text, std::string_view place) {
  IntegerCheck check(place);
  Json::sax_parse(text, &check);
}

Json ReadChatJson(const std::filesystem::path& path) {
  const std::string text = ReadFile(path, kLargestFile);
  Json json = ParseJson(text, path.string());
  RequireExactIntegers(text, path.string());
  return json;
}

}  // namespace qualm
