// The library's writer throws for malformed UTF-8 unless it is told what to do about it.
#include "io/json_text.h"

#include <nlohmann/json.hpp>

namespace qualm {

std::string JsonText(const Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace qualm
