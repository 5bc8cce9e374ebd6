// Against what Jinja 3.1 itself makes of the same templates, with the settings of Hugging Face
// (sandboxed, trim_blocks, lstrip_blocks); jinja_cases.inc holds its outputs.
#include "chat/jinja.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/errors.h"

namespace qualm {
namespace {

using testing::ErrorOf;
using ::testing::HasSubstr;

struct Case {
  const char* text;
  const char* expected;
};
const Case kCases[] = {
#include "chat/jinja_cases.inc"
};

Json Variables() {
  return Json::parse(R"({
    "messages": [{"role": "system", "content": " Be kind. "},
                 {"role": "user", "content": "Hi\nthere"},
                 {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "天气?"}],
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true, "n": 3,
    "items_": {"a": 1, "b": "x"}, "empty": [], "none_": null})");
}

std::string Render(std::string_view text) { return JinjaTemplate(text, "t").Render(Variables()); }

TEST(Jinja, AsJinjaItself) {
  for (const Case& one : kCases) EXPECT_EQ(Render(one.text), one.expected) << one.text;
}

TEST(Jinja, WhatItDoesNotKnowIsNamedWithItsLine) {
  EXPECT_THAT(ErrorOf([] { (void)Render("\n{% macro x() %}{% endmacro %}"); }),
              HasSubstr("[t:2] expected a chat template with for, if, set"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ n | uper }}"); }), HasSubstr("did you mean 'upper'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ n.lower() }}"); }), HasSubstr("'lower' of number"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ range(-8000000000000000, 9223372036854775807) }}"); }),
              HasSubstr("a range of at most"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ 'a' + 1 }}"); }), HasSubstr("string and number"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ open('/etc/passwd') }}"); }), HasSubstr("'open'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ raise_exception('no system') }}"); }),
              HasSubstr("got no system"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ '\xd3' | tojson }}"); }), HasSubstr("in UTF-8"));
  for (const char* text : {"{% for m in messages %}", "{% endif %}", "{{ n ", "{{ 'a }}",
                           "{{ n[ }}", "{% if %}a{% endif %}", "{% set = 1 %}", "{{ 1 2 }}"}) {
    EXPECT_THAT(ErrorOf([&] { (void)Render(text); }), HasSubstr("[t:")) << text;
  }
}

TEST(Jinja, WorkIsBounded) {
  std::string nested;
  for (int i = 0; i < 8; ++i) nested += "{% for a in range(100) %}";
  nested += "x";
  for (int i = 0; i < 8; ++i) nested += "{% endfor %}";
  EXPECT_THAT(ErrorOf([&] { (void)Render(nested); }), HasSubstr("a million steps"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ " + std::string(5000, '(') + " }}"); }),
              HasSubstr("64 levels"));
  EXPECT_THAT(ErrorOf([] {
                (void)Render(
                    "{% set ns = namespace(t='xxxxxxxxxxxxxxxx') %}{% for i in range(60) "
                    "%}{% set ns.t = ns.t + ns.t %}{% endfor %}");
              }),
              HasSubstr("16 MiB"));
}

}  // namespace
}  // namespace qualm
