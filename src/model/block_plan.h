// The shape of one decoder block as data, and the walk over it that everything else takes: which
// values its linear layers read, in which order, and what comes before them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/linear_site.h"
#include "model/parts/attention.h"
#include "model/parts/mlp.h"

namespace qualm {

// One branch: h ← norm_of_sum(h + scale·norm_after(part(norm(h')))).
struct Branch {
  std::optional<NormPlan> norm;  // none: the part reads the hidden states as they are
  std::variant<AttentionPlan, MlpPlan> part;
  std::optional<NormPlan> norm_after;
  // h' are the hidden states that the branch before this one read, not what it made of them.
  // Parallel branches with the same norm share its output.
  bool is_parallel = false;
  // The sum starts from norm(h') instead of h (BLOOM's apply_residual_connection_post_layernorm).
  bool adds_to_norm = false;
  float output_scale = 1;
  std::optional<NormPlan> norm_of_sum = {};  // OPT-350m
};

// Branches in the order in which they are added to the hidden states.
struct BlockPlan {
  std::vector<Branch> branches;
};

// Step `step` of a branch's part reads an input.
struct PartStep {
  size_t branch = 0, step = 0;
};

// A value of a block that one or more linear layers read: what calibration collects, once for all
// of them.
struct SiteInput {
  std::string name;  // "attention_input"
  size_t width = 0;
  std::vector<LinearSite> sites;
  std::vector<PartStep> readers;
  bool needs_sequences = false;  // as PartInput has it, of any reader
  bool reads_residual = false;   // it is computed from the hidden states, through
  std::optional<NormPlan> norm;  // this norm, if there is one
  bool norm_is_added = false;    // the norm's output also goes into the hidden states
  std::string producer;          // else as PartInput has it
};

// In the order of execution: when the layers of all inputs before one are settled, its value is.
std::vector<SiteInput> SiteInputs(const BlockPlan& plan);

// All linear layers, in the order of their inputs.
std::vector<LinearSite> SitesOf(const BlockPlan& plan);
// All norms of hidden states, each once.
std::vector<NormPlan> NormsOf(const BlockPlan& plan);
// The norms inside the parts, of queries and keys.
std::vector<NormPlan> InnerNormsOf(const BlockPlan& plan);
// The attention of the block; null if it has none.
const AttentionPlan* AttentionOf(const BlockPlan& plan);

// Throws bad input (as a family that read its configuration wrongly would deserve) unless the plan
// can run: widths that meet, names that differ, at most one attention, the first branch not
// parallel. The caller says which block it is.
void CheckPlan(const BlockPlan& plan, size_t hidden_size);
// The same about one norm; one of hidden states normalizes them as a whole, so it has no groups.
void CheckNormPlan(const NormPlan& norm, std::string_view field, bool may_have_groups);

}  // namespace qualm
