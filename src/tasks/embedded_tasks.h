// The files of tasks/ and datasets/hub/, compiled in by cmake/Qualm.cmake (qualm_embed).
#pragma once

#include <span>

#include "data/embedded_datasets.h"

namespace qualm {

std::span<const EmbeddedFile> EmbeddedTasks();       // by name
std::span<const EmbeddedFile> EmbeddedTaskGroups();  // by name
std::span<const EmbeddedFile> EmbeddedHubSets();     // datasets/hub/, by name

}  // namespace qualm
