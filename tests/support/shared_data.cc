#include "support/shared_data.h"

#include <cstdlib>

namespace qualm::testing {

std::filesystem::path SharedRoot() {
  if (const char* root = std::getenv("QUALM_SHARED")) return root;
  return SourceRoot().parent_path() / "shared";
}

std::filesystem::path SourceRoot() { return QUALM_SOURCE_DIR; }

}  // namespace qualm::testing
