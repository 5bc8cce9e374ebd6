// Sorts the tensors that nothing reads into those that may be left out and those that may not.
#include "model/unread_tensors.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/strings.h"
#include "tokenize/regex.h"

namespace qualm {
namespace {

// What older versions of transformers saved with the weights: values that follow from the
// configuration.
constexpr std::string_view kBuffers[] = {
    "*.rotary_emb.inv_freq",     "*.rotary_emb.cos_cached",
    "*.rotary_emb.sin_cached",   "*.attn.bias",
    "*.attn.masked_bias",        "*.attention.bias",
    "*.attention.masked_bias",   "*.attn.causal_mask",
    "*.embeddings.position_ids",
};

// Blocks after the last one predict further tokens; they take no part in the next one.
bool IsInLaterBlock(const ModelPlan& plan, std::string_view name) {
  if (!name.starts_with(plan.block_prefix)) return false;
  name.remove_prefix(plan.block_prefix.size());
  size_t block = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), block);
  return error == std::errc() && end != name.data() + name.size() && *end == '.' &&
         block >= plan.blocks.size();
}

// Whether the pattern is found anywhere in the name.
bool IsFound(const Regex& pattern, std::string_view name) {
  Regex::Scanner scanner(pattern);
  scanner.Start(name);
  size_t begin = 0, end = 0;
  return scanner.Next(&begin, &end);
}

}  // namespace

std::vector<std::string> UnreadTensors(const std::vector<std::string>& names, const ModelPlan& plan,
                                       const std::set<std::string>& needed,
                                       const ModelSource& source) {
  std::vector<Regex> patterns;
  for (const std::string& text : source.ignored_tensors) {
    patterns.emplace_back(text, "--ignore-tensors");
  }
  const auto may_be_left_out = [&](const std::string& name) {
    const auto matches = [&](std::string_view glob) { return MatchesGlob(name, glob); };
    return IsInLaterBlock(plan, name) || std::ranges::any_of(kBuffers, matches) ||
           std::ranges::any_of(plan.unread_tensors, matches) ||
           std::ranges::any_of(patterns, [&](const Regex& regex) { return IsFound(regex, name); });
  };

  std::vector<std::string> left_out, unread;
  for (const std::string& name : names) {
    if (needed.contains(name)) continue;
    (may_be_left_out(name) ? left_out : unread).push_back(name);
  }
  if (unread.empty()) return left_out;

  // A few names tell what kind of tensors they are.
  constexpr size_t kShown = 5;
  std::string shown;
  for (size_t i = 0; i < std::min(kShown, unread.size()); ++i) {
    shown += StrCat(i == 0 ? "" : ", ", unread[i].substr(0, 200));
  }
  if (unread.size() > kShown) shown += StrCat(" and ", unread.size() - kShown, " more");
  ThrowBadInput(source.folder.string(),
                StrCat("only tensors that a model of type '", plan.model_type, "' has"), shown,
                "--ignore-tensors REGEX leaves tensors out");
}

}  // namespace qualm
