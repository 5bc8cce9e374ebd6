// FollowBench's instructions whose constraints can be checked without a judge (Jiang et al. 2024,
// arXiv 2310.20410): level n of an instruction asks for n things. The rules are those of its
// authors' rule-based evaluation; formatting instruction 30 and what needs a judge is not covered.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace qualm {

// `about` is category, source, example_id, level, target of the row. Whether each rule up to the
// level is followed; at least one. Throws bad input for a row without rules.
std::vector<bool> FollowedRules(std::string_view text, std::span<const std::string> about);

// Whether FollowedRules knows what to check.
bool HasFollowRules(std::string_view category, std::string_view source,
                    std::string_view example_id);

}  // namespace qualm
