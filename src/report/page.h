// A whole page that opens offline: chapters, a navigation, the embedded style and script.
#pragma once

#include <string>
#include <vector>

#include "study/spec.h"

namespace qualm {

// A section of the page and its entry in the navigation.
struct PageChapter {
  std::string id;
  LocalText title;
  std::string html;  // of the whole <section>; empty: left out
};

// `note` is HTML below the title.
std::string PageOf(const LocalText& title, const std::string& note,
                   const std::vector<PageChapter>& chapters);

}  // namespace qualm
