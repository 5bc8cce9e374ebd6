// The built-in recipes, made from a small grammar of names:
// {gptq,rtn}-w{2,3,4,8}-{channel,g128,g64,g32}[-sym][-act], -act for gptq only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace qualm {

struct BuiltInRecipe {
  std::string name, summary;
  std::string yaml;
};

const std::vector<BuiltInRecipe>& BuiltInRecipes();
const BuiltInRecipe* FindBuiltInRecipe(std::string_view name);  // null if there is none

}  // namespace qualm
