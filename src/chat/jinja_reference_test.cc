// Against jinja2 itself: tests/support/jinja_reference.py renders templates with it, among them
// every filter, test, method and operator with every sample value, and random ones.
#include <gmock/gmock.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/strings.h"
#include "chat/jinja.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

// Templates that are refused here although jinja2 renders them, by what the message says.
const std::map<std::string, std::string>& Refusals() {
  static const std::map<std::string, std::string> all = {
      {"expected a value that has a text", "the text of an object would be an address"},
      {"result is the same each time", "random"},
      {"expected a list or a text to slice", "jinja2 slices constants while it compiles"},
      {"expected a value to go through", "a generator that nobody goes through never begins"},
      {"expected a power that is a real number", "complex numbers"},
      {"got dict_items and dict_items", "the order of views"},
      {"fits into 80 characters", "how pprint breaks lines"},
  };
  return all;
}

std::string OutputOf(const std::string& command, int* status) {
  std::string output;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[1 << 16];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) {
    output.append(buffer, count);
  }
  *status = ::pclose(pipe);
  return output;
}

bool IsKnownRefusal(const std::string& message) {
  for (const auto& [part, reason] : Refusals()) {
    if (message.find(part) != std::string::npos) return true;
  }
  return false;
}

// The difference between the row and what is rendered here; empty: none.
std::string Difference(const Json& row, const Json& variables) {
  JinjaOptions options;
  options.date = "2024-07-26";
  const auto text = row["template"].get<std::string>();
  std::string got, message;
  try {
    got = JinjaTemplate(text, "t", options).Render(variables);
  } catch (const Error& error) {
    message = error.what();
  }
  if (row.contains("error")) {
    return message.empty() ? StrCat("expected ", row["error"].get<std::string>(), "; got ", got)
                           : "";
  }
  const auto expected = row["text"].get<std::string>();
  if (!message.empty()) {
    return IsKnownRefusal(message) ? ""
                                   : StrCat("expected ", Json(expected).dump(), "; got ", message);
  }
  return got == expected ? ""
                         : StrCat("expected ", Json(expected).dump(), "; got ", Json(got).dump());
}

TEST(JinjaReference, RendersAsJinja2) {
  // A Python that has jinja2: of QUALM_PYTHON, else of the system.
  const char* python = std::getenv("QUALM_PYTHON");
  const std::string script = (testing::SourceRoot() / "tests/support/jinja_reference.py").string();
  int status = 0;
  const std::string output = OutputOf(
      StrCat(python != nullptr ? python : "/usr/bin/python3", " '", script, "' 1 2000 2>/dev/null"),
      &status);
  if (status != 0) GTEST_SKIP() << "no Python with jinja2 3.1 (QUALM_PYTHON names one)";

  Json variables;
  size_t rows = 0, differences = 0;
  for (const std::string& line : Split(output, '\n')) {
    if (line.empty()) continue;
    const Json row = Json::parse(line);
    if (row.contains("variables")) {
      variables = row["variables"];
      continue;
    }
    ++rows;
    const std::string difference = Difference(row, variables);
    if (difference.empty()) continue;
    if (++differences <= 400) ADD_FAILURE() << row["template"].dump() << "\n  " << difference;
  }
  EXPECT_GT(rows, 5000U);
  EXPECT_EQ(differences, 0U) << "of " << rows;
}

}  // namespace
}  // namespace qualm
