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
  EXPECT_THAT(ErrorOf([] { (void)Render("\n{% include 'x' %}"); }),
              HasSubstr("[t:2] expected a template that needs no others; got 'include'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ n | uper }}"); }), HasSubstr("did you mean 'upper'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ n is strng }}"); }),
              HasSubstr("did you mean 'string'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ n.lower() }}"); }),
              HasSubstr("'int object' has no attribute 'lower'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ range(-8000000000000000, 9223372036854775807) }}"); }),
              HasSubstr("a range of at most"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ 'a' + 1 }}"); }), HasSubstr("got str and int"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ open('/etc/passwd') }}"); }),
              HasSubstr("'open' is undefined"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ raise_exception('no system') }}"); }),
              HasSubstr("got no system"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ '\xd3' | tojson }}"); }), HasSubstr("in UTF-8"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ 'a' | replace('a', 'b', size=1) }}"); }),
              HasSubstr("expected arguments that 'replace' has; got 'size'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ messages.append(1) }}"); }),
              HasSubstr("access to attribute 'append' of 'list' object is unsafe"));
  for (const char* text : {"{% for m in messages %}", "{% endif %}", "{{ n ", "{{ 'a }}",
                           "{{ n[ }}", "{% if %}a{% endif %}", "{% set = 1 %}", "{{ 1 2 }}",
                           "{% break %}", "{# a", "{% raw %}a", "{{ a b }}", "{{ (1 }}", "{{ 5x }}",
                           "{% set true = 1 %}", "{{ x is defined is none }}", "{{ '\\ud800' }}"}) {
    EXPECT_THAT(ErrorOf([&] { (void)Render(text); }), HasSubstr("[t:")) << text;
  }
}

// A filter that is not known is only an error where it is used, if a condition decides about it.
TEST(Jinja, UnknownFiltersInConditionsMayStayUnused) {
  EXPECT_EQ(Render("{% if false %}{{ n | from_json }}{% endif %}x"), "x");
  EXPECT_THAT(ErrorOf([] { (void)Render("{% if true %}{{ n | from_json }}{% endif %}x"); }),
              HasSubstr("got 'from_json'"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{% for i in [] %}{{ n | from_json }}{% endfor %}"); }),
              HasSubstr("unknown filter 'from_json'"));
}

std::string Chain(std::string_view first, std::string_view more, std::string_view last) {
  std::string text = "{{ " + std::string(first);
  for (int i = 0; i < 60000; ++i) text += more;
  return text + std::string(last) + " }}";
}

// Chains are long, not deep.
TEST(Jinja, LongChainsRender) {
  EXPECT_EQ(Render(Chain("1", "+1", "")), "60001");
  EXPECT_EQ(Render(Chain("' x '", "|trim", "")), "x");
  EXPECT_EQ(Render(Chain("1", "==1", "")), "True");
  EXPECT_EQ(Render(Chain("", "not ", "true")), "True");
  EXPECT_EQ(Render(Chain("none", " or none", "")), "None");
  EXPECT_EQ(Render(Chain("n", "~''", "")), "3");
  EXPECT_THAT(ErrorOf([] { (void)Render(Chain("n", ".a", "")); }), HasSubstr("no attribute 'a'"));
  EXPECT_THAT(ErrorOf([] { (void)Render(Chain("", "-", "1")); }), HasSubstr("100 signs"));
  EXPECT_THAT(ErrorOf([] { (void)Render(Chain("1", " if 1", "")); }), HasSubstr("levels"));
  std::string text = "{% if n == 0 %}a";
  for (int i = 1; i < 20000; ++i) text += "{% elif n == 0 %}b";
  EXPECT_EQ(Render(text + "{% else %}c{% endif %}"), "c");
}

TEST(Jinja, WorkIsBounded) {
  std::string nested;
  for (int i = 0; i < 8; ++i) nested += "{% for a in range(100) %}";
  nested += "{% if a is none %}{% endif %}";
  for (int i = 0; i < 8; ++i) nested += "{% endfor %}";
  EXPECT_THAT(ErrorOf([&] { (void)Render(nested); }), HasSubstr("expected a template that"));
  EXPECT_THAT(ErrorOf([] {
                (void)Render("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}");
              }),
              HasSubstr("100 levels"));
  EXPECT_THAT(ErrorOf([] {
                (void)Render(
                    "{% set ns = namespace(t='xxxxxxxxxxxxxxxx') %}{% for i in range(60) "
                    "%}{% set ns.t = ns.t + ns.t %}{% endfor %}");
              }),
              HasSubstr("64 MiB"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"); }),
              HasSubstr("call themselves less often"));
  EXPECT_THAT(
      ErrorOf([] { (void)Render("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}"); }),
      HasSubstr("call themselves less often"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ 'a' * 9223372036854775807 }}"); }),
              HasSubstr("64 MiB"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ '%9999999999d' % 1 }}"); }), HasSubstr("a field of"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ ''.ljust(99999999999) }}"); }), HasSubstr("64 MiB"));
  EXPECT_THAT(ErrorOf([] { (void)Render("{{ 2 ** 63 }}"); }), HasSubstr("64 bits"));
}

// Steps count what they look at, not only how often.
TEST(Jinja, LongTextsAndManyVariablesCountAsWork) {
  const std::string texts =
      "{% set a = 'x' * 1000000 %}{% set b = a ~ '' %}{% for i in range(100000) %}";
  for (const char* use : {"a == b", "a is lower", "a < b", "a.islower()"}) {
    EXPECT_THAT(
        ErrorOf([&] { (void)Render(texts + "{% if " + use + " %}{% endif %}{% endfor %}"); }),
        HasSubstr("million steps"))
        << use;
  }
  std::string names;
  for (int i = 0; i < 20000; ++i) names += "{% set a" + std::to_string(i) + " = 1 %}";
  EXPECT_THAT(ErrorOf([&] {
                (void)Render(names +
                             "{% for i in range(100000) %}{% if a19999 %}{% endif %}"
                             "{% endfor %}");
              }),
              HasSubstr("million steps"));
}

// What a value contains may be itself, or the same list again and again.
TEST(Jinja, DeepAndSharedValuesAreBounded) {
  const std::string deep =
      "{% set ns = namespace(l=[]) %}{% for i in range(3000) %}{% set ns.l = [[[[ns.l]]]] %}"
      "{% endfor %}";
  for (const char* use : {"{{ ns.l | tojson }}", "{{ ns.l }}", "{{ ns.l == [ns.l] }}"}) {
    EXPECT_THAT(ErrorOf([&] { (void)Render(deep + use); }), HasSubstr("200 levels")) << use;
  }
  const std::string shared =
      "{% set ns = namespace(l=[]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% endfor %}";
  for (const char* use : {"{{ ns.l | tojson }}", "{{ ns.l }}"}) {
    EXPECT_THAT(ErrorOf([&] { (void)Render(shared + use); }), HasSubstr("a template that")) << use;
  }
  EXPECT_THAT(
      ErrorOf([] { (void)Render("{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"); }),
      HasSubstr("200 levels"));
}

// The settings of jinja2.Environment(): what the prompts of tasks are written for.
TEST(Jinja, WithSettingsOfItsOwn) {
  JinjaOptions plain = PlainJinjaOptions();
  const auto render = [&](std::string_view text) {
    return JinjaTemplate(text, "t", plain).Render(Variables());
  };
  EXPECT_EQ(render("{% if true %}\n  a\n  {% endif %}\n"), "\n  a\n  ");
  EXPECT_EQ(render("{% set l = [1] %}{{ l.append(2) }}{{ l }}"), "None[1, 2]");
  EXPECT_EQ(render("{{ {'b': '<', 'a': 'é'} | tojson }}"), R"({"a": "\u00e9", "b": "\u003c"})");
  EXPECT_THAT(ErrorOf([&] { (void)render("{{ raise_exception('a') }}"); }),
              HasSubstr("'raise_exception' is undefined"));

  plain.keep_trailing_newline = true;
  EXPECT_EQ(render("a\n"), "a\n");
  plain.strict_undefined = true;
  EXPECT_EQ(render("{{ missing is defined }}"), "False");
  for (const char* text : {"{{ missing }}", "{% if missing %}{% endif %}", "{{ missing == 1 }}",
                           "{% for a in missing %}{% endfor %}", "{{ missing | length }}",
                           "{{ missing ~ 'a' }}", "{{ 1 in missing }}", "{{ n.missing }}"}) {
    EXPECT_THAT(ErrorOf([&] { (void)render(text); }), HasSubstr("missing'")) << text;
  }
}

TEST(Jinja, WithFiltersOfItsOwn) {
  JinjaOptions options;
  options.filters.push_back(
      {"surround", {"before", "after?"}, [](const Json& value, const std::vector<Json>& given) {
         const std::string after = given[1].is_null() ? "-" : given[1].get<std::string>();
         return Json(given[0].get<std::string>() + value.get<std::string>() + after);
       }});
  const auto render = [&](std::string_view text) {
    return JinjaTemplate(text, "t", options).Render(Variables());
  };
  EXPECT_EQ(render("{{ 'a' | surround('<') }}{{ 'b' | surround(after='>', before='<') }}"),
            "<a-<b>");
  EXPECT_EQ(render("{{ ['a', 'b'] | map('surround', '(') | join }}"), "(a-(b-");
  EXPECT_EQ(render("{{ 'surround' is filter }}"), "True");
  EXPECT_THAT(ErrorOf([&] { (void)render("{{ 'a' | surround }}"); }),
              HasSubstr("expected the argument 'before' of 'surround'; got none"));
}

}  // namespace
}  // namespace qualm
