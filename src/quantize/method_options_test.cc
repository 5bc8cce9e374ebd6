// Every rounder's and transform's options: what is written is read back, and the pages in
// docs/methods/ name exactly the options that there are.
#include "quantize/method_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/strings.h"
#include "io/yaml.h"
#include "quantize/rounders.h"
#include "quantize/transforms.h"
#include "support/shared_data.h"

namespace qualm {
namespace {

using ::testing::HasSubstr;

// A rounder or a transform, whichever: its options from YAML (null: none) as text.
struct Method {
  std::string name;
  std::vector<FieldDescription> options;
  std::function<std::string(const Yaml*)> text;
};

std::vector<Method> AllMethods() {
  std::vector<Method> methods;
  for (const RounderEntry& entry : AllRounders()) {
    methods.push_back({entry.name, entry.make(nullptr)->OptionFields(),
                       [&entry](const Yaml* yaml) { return entry.make(yaml)->OptionsJson(); }});
  }
  for (const TransformEntry& entry : AllTransforms()) {
    methods.push_back({entry.name, entry.make(nullptr)->OptionFields(),
                       [&entry](const Yaml* yaml) { return entry.make(yaml)->OptionsJson(); }});
  }
  return methods;
}

// A value of the option that is allowed and not its default.
std::string OtherValue(const FieldDescription& option) {
  if (option.type == "true or false") return option.default_text == "true" ? "false" : "true";
  const std::vector<std::string> allowed = Split(option.allowed, ',');
  if (option.type == "name") return std::string(Trim(allowed.back()));
  // A bound of "0.1..100, none".
  const size_t dots = option.allowed.find("..");
  const std::string least = option.allowed.substr(0, dots);
  return least != option.default_text ? least : allowed[0].substr(dots + 2);
}

TEST(MethodOptions, TextIsReadBackAsTheSameText) {
  for (const Method& method : AllMethods()) {
    const std::string defaults = method.text(nullptr);
    std::string yaml_text = "{";
    for (const FieldDescription& option : method.options) {
      // gptq refuses these two together.
      if (method.name == "gptq" && option.key == "reference_group_scales") continue;
      const std::string own = StrCat(option.key, ": ", OtherValue(option));
      yaml_text += StrCat(yaml_text.size() > 1 ? ", " : "", own);
    }
    const Yaml yaml = Yaml::Parse(yaml_text + "}", "r.yaml");
    const std::string text = method.text(&yaml);
    const Yaml again = Yaml::Parse(text, "r.yaml");
    EXPECT_EQ(method.text(&again), text) << method.name;
    for (const FieldDescription& option : method.options) {
      if (method.name == "gptq" && option.key == "reference_group_scales") continue;
      EXPECT_THAT(defaults, HasSubstr(StrCat("\"", option.key, "\": ", option.default_text)));
      EXPECT_THAT(text, Not(HasSubstr(StrCat("\"", option.key, "\": ", option.default_text, ","))))
          << method.name;
    }
  }
}

TEST(MethodOptions, UnknownOptionsAreAnsweredWithTheNearest) {
  for (const Method& method : AllMethods()) {
    const std::string key = method.options.front().key;
    const Yaml yaml = Yaml::Parse(StrCat("{", key, "x: 1}"), "r.yaml");
    try {
      (void)method.text(&yaml);
      ADD_FAILURE() << method.name;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(StrCat("[r.yaml:1] unknown key '", key,
                                                 "x'; did you mean '", key, "'? available: ")));
    }
  }
}

TEST(MethodOptions, EachHasOneLineOfMeaning) {
  for (const Method& method : AllMethods()) {
    for (const FieldDescription& option : method.options) {
      EXPECT_FALSE(option.meaning.empty()) << method.name << " " << option.key;
      EXPECT_EQ(option.meaning.find('\n'), std::string::npos) << method.name << " " << option.key;
    }
  }
}

// The first cells of the table that begins with "| option |": `damp`, `block`.
std::set<std::string> OptionsOfTable(const std::string& page) {
  std::set<std::string> keys;
  bool is_inside = false;
  const std::regex quoted("`([a-z0-9_]+)`");
  for (const std::string& line : Split(page, '\n')) {
    if (!line.starts_with("|")) is_inside = false;
    if (line.starts_with("| option |")) is_inside = true;
    if (!is_inside) continue;
    const std::string cell = Split(line, '|')[1];
    for (std::sregex_iterator key(cell.begin(), cell.end(), quoted), end; key != end; ++key) {
      keys.insert((*key)[1]);
    }
  }
  return keys;
}

TEST(MethodOptions, ThePageOfAMethodNamesItsOptionsAndNoOthers) {
  for (const Method& method : AllMethods()) {
    const std::string page =
        ReadFile(testing::SourceRoot() / "docs" / "methods" / StrCat(method.name, ".md"));
    std::set<std::string> known;
    for (const FieldDescription& option : method.options) {
      known.insert(option.key);
      EXPECT_TRUE(std::regex_search(page, std::regex(StrCat("\\b", option.key, "\\b"))))
          << "docs/methods/" << method.name << ".md does not name " << option.key;
    }
    for (const std::string& key : OptionsOfTable(page)) {
      EXPECT_TRUE(known.contains(key))
          << "docs/methods/" << method.name << ".md has no longer: " << key;
    }
  }
}

}  // namespace
}  // namespace qualm
