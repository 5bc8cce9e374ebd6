// Puts a page together: the chapters' HTML, a navigation of those that have content, and the
// embedded style and script. One file, no network.
#include "report/page.h"

#include "base/error.h"
#include "base/strings.h"
#include "report/embedded_page.h"
#include "report/html.h"
#include "report/sections.h"

namespace qualm {
namespace {

// The text of an embedded file; the names are known when the program is built.
std::string_view PageFile(std::string_view name) {
  for (const EmbeddedFile& file : EmbeddedPageFiles()) {
    if (file.name == name) return file.text;
  }
  // A missing file is a mistake of the build, not of the user.
  QUALM_CHECK(false);
  return {};
}

// Buttons for language and theme.
constexpr const char* kChoices =
    "<div class=\"choices\">\n"
    "<button type=\"button\" data-lang-choice=\"en\" aria-pressed=\"true\">English</button>\n"
    "<button type=\"button\" data-lang-choice=\"zh\" aria-pressed=\"false\">中文</button>\n"
    "<button type=\"button\" data-theme-choice=\"light\" data-en=\"light\" data-zh=\"浅色\">"
    "light</button>\n"
    "<button type=\"button\" data-theme-choice=\"dark\" data-en=\"dark\" data-zh=\"深色\">"
    "dark</button>\n"
    "</div>\n";

}  // namespace

std::string PageOf(const LocalText& title, const std::string& note,
                   const std::vector<PageChapter>& chapters) {
  // Chapters without content are left out of both the page and the navigation.
  std::string navigation, body;
  for (const PageChapter& chapter : chapters) {
    if (chapter.html.empty()) continue;
    navigation +=
        StrCat("<li><a href=\"#", chapter.id, "\">", BothText(chapter.title), "</a></li>");
    body += chapter.html;
  }

  // The page is complete in itself: no font, script or style is loaded from elsewhere.
  return StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>",
      Escape(title.en), "</title>\n<style>\n", PageFile("page.css"),
      "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">",
      Both("Skip to the content", "跳到正文"), "</a>\n<header>\n", kChoices, "<h1>",
      BothText(title), "</h1>\n<p class=\"note\">", note,
      "</p>\n<nav data-en=\"Sections\" data-zh=\"章节\" aria-label=\"Sections\"><ul>", navigation,
      "</ul></nav>\n</header>\n<main id=\"main\" tabindex=\"-1\">\n", body, "</main>\n<script>\n",
      PageFile("page.js"), "</script>\n</body>\n</html>\n");
}

}  // namespace qualm
