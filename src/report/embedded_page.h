// The page's style and script (src/report/page.css, page.js), compiled in.
#pragma once

#include <span>

#include "data/embedded_datasets.h"

namespace qualm {

std::span<const EmbeddedFile> EmbeddedPageFiles();

}  // namespace qualm
