// The files of studies/, compiled in by cmake/Qualm.cmake (qualm_embed).
#pragma once

#include <span>

#include "data/embedded_datasets.h"

namespace qualm {

std::span<const EmbeddedFile> EmbeddedStudies();  // by name

}  // namespace qualm
