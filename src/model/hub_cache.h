// Models in the cache of the Hugging Face hub, by the names that they have there. Nothing is
// downloaded. Layout: huggingface.co/docs/huggingface_hub/guides/manage-cache
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace qualm {

// What a command reads of a model.
enum class ModelParts { kAll, kWithoutWeights };

// $HF_HUB_CACHE, else $HF_HOME/hub, else ~/.cache/huggingface/hub ($XDG_CACHE_HOME in place of
// ~/.cache if it is set).
std::filesystem::path HubCacheFolder();

// The folder that `model` stands for: a path that exists (it always wins), or ORG/NAME[@REVISION]
// in the cache, where the revision is a branch, a tag, or a commit's whole hash or the beginning of
// it; default: main. Other texts are returned as they are, for the reader of the folder to complain
// about. Throws bad input that says what is missing, where it was looked for, and the command that
// downloads it.
std::filesystem::path FindModelFolder(const std::string& model,
                                      ModelParts parts = ModelParts::kAll);

// Whether `model` is of the form ORG/NAME[@REVISION], and something of it is in the cache.
bool IsInHubCache(const std::string& model);

}  // namespace qualm
