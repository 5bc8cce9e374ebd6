#include "io/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace qualm {
namespace {

TEST(JsonText, BytesThatAreNoUtf8AreReplaced) {
  const std::string text = JsonText({{"caf\xe9", "\xff|\xc3\xa9|\xed\xa0\x80"}});
  EXPECT_EQ(text,
            "{\"caf\xef\xbf\xbd\":\"\xef\xbf\xbd|\xc3\xa9|\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}");
  EXPECT_NO_THROW((void)ParseJson(text, "text"));
}

TEST(JsonText, EverythingElseIsAsItIs) {
  const Json value = {{"a", {1, 2.5, nullptr, true}}, {"b", "世界"}};
  EXPECT_EQ(JsonText(value), value.dump());
}

}  // namespace
}  // namespace qualm
