// Named functions from text to text for templates.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

inline constexpr size_t kAnyArguments = static_cast<size_t>(-1);

struct TemplateFilter {
  const char* name;
  size_t arguments;  // kAnyArguments: one or more
  std::string (*apply)(std::string text, std::span<const std::string> arguments);
};

std::span<const TemplateFilter> AllTemplateFilters();

}  // namespace qualm
