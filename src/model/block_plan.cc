// Walks over a block plan: its inputs in the order of execution, its linear layers and norms, and
// the checks that a plan can run at all.
#include "model/block_plan.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "base/error_place.h"
#include "base/strings.h"

namespace qualm {
namespace {

// The values that the branch's part reads, in the order of its steps.
std::vector<PartInput> PartInputsOf(const Branch& branch) {
  return std::visit([](const auto& part) { return InputsOf(part); }, branch.part);
}

// Norms are told apart by their names; no norm has the empty one.
std::string NameOf(const std::optional<NormPlan>& norm) { return norm ? norm->name : ""; }

// Adds what the branches [first, last) read of the same hidden states. Branches with the same norm
// share an input: its value is computed once and calibration sees it once.
void AddResidualInputs(const BlockPlan& plan, size_t first, size_t last,
                       std::vector<SiteInput>& inputs) {
  const size_t begin = inputs.size();
  for (size_t b = first; b < last; ++b) {
    const Branch& branch = plan.branches[b];
    const PartInput part_input = PartInputsOf(branch).front();
    auto found = std::find_if(
        inputs.begin() + static_cast<std::ptrdiff_t>(begin), inputs.end(),
        [&](const SiteInput& input) { return NameOf(input.norm) == NameOf(branch.norm); });
    if (found == inputs.end()) {
      SiteInput input;
      input.name = part_input.name;
      input.width = part_input.width;
      input.reads_residual = true;
      input.norm = branch.norm;
      input.norm_is_added = branch.adds_to_norm;
      found = inputs.insert(inputs.end(), std::move(input));
    }

    // The input serves all branches that read it.
    found->needs_sequences |= part_input.needs_sequences;
    found->sites.insert(found->sites.end(), part_input.sites.begin(), part_input.sites.end());
    found->readers.push_back({b, 0});
  }
}

// Adds the values between two steps of the branch's part. Only that branch reads them.
void AddInnerInputs(const BlockPlan& plan, size_t branch, std::vector<SiteInput>& inputs) {
  const std::vector<PartInput> part_inputs = PartInputsOf(plan.branches[branch]);
  for (size_t step = 1; step < part_inputs.size(); ++step) {
    const PartInput& part_input = part_inputs[step];
    SiteInput input;
    input.name = part_input.name;
    input.width = part_input.width;
    input.sites = part_input.sites;
    input.needs_sequences = part_input.needs_sequences;
    input.readers = {{branch, step}};
    input.producer = part_input.producer;
    inputs.push_back(std::move(input));
  }
}

}  // namespace

std::vector<SiteInput> SiteInputs(const BlockPlan& plan) {
  std::vector<SiteInput> inputs;
  for (size_t first = 0; first < plan.branches.size();) {
    size_t last = first + 1;
    // [first, last): a branch and those that run in parallel with it.
    while (last < plan.branches.size() && plan.branches[last].is_parallel) ++last;

    // Parallel branches all read the hidden states before any of them adds to these.
    AddResidualInputs(plan, first, last, inputs);
    for (size_t b = first; b < last; ++b) AddInnerInputs(plan, b, inputs);
    first = last;
  }
  return inputs;
}

std::vector<LinearSite> SitesOf(const BlockPlan& plan) {
  std::vector<LinearSite> sites;
  for (const SiteInput& input : SiteInputs(plan)) {
    sites.insert(sites.end(), input.sites.begin(), input.sites.end());
  }
  return sites;
}

// Parallel branches may name the same norm twice: it is one norm with one weight.
std::vector<NormPlan> NormsOf(const BlockPlan& plan) {
  std::vector<NormPlan> norms;
  for (const Branch& branch : plan.branches) {
    for (const std::optional<NormPlan>* norm :
         {&branch.norm, &branch.norm_after, &branch.norm_of_sum}) {
      if (*norm && std::ranges::find(norms, (*norm)->name, &NormPlan::name) == norms.end()) {
        norms.push_back(**norm);
      }
    }
  }
  return norms;
}

std::vector<NormPlan> InnerNormsOf(const BlockPlan& plan) {
  const AttentionPlan* attention = AttentionOf(plan);
  if (attention == nullptr || !attention->norms) return {};
  return {attention->norms->query, attention->norms->key};
}

const AttentionPlan* AttentionOf(const BlockPlan& plan) {
  for (const Branch& branch : plan.branches) {
    if (const auto* attention = std::get_if<AttentionPlan>(&branch.part)) return attention;
  }
  return nullptr;
}

void CheckNormPlan(const NormPlan& norm, std::string_view field, bool may_have_groups) {
  if (!norm.has_weight && norm.parameters.weight_offset != 0) {
    ThrowBadInput(StrCat(field, ".weight_offset"), "0 in a norm without a weight",
                  StrCat(norm.parameters.weight_offset));
  }
  if (may_have_groups || (norm.groups == 1 && norm.stored_by_group.empty())) return;
  ThrowBadInput(StrCat(field, ".groups"), "one weight for all hidden states",
                norm.groups == 1 ? "weights stored by group" : StrCat(norm.groups));
}

namespace {

// A norm of queries or keys is as wide as a head or as all of them.
void CheckHeadNorm(const NormPlan& norm, size_t heads, size_t head_dim) {
  CheckNormPlan(norm, norm.name, /*may_have_groups=*/true);
  if (norm.width != head_dim && norm.width != heads * head_dim) {
    ThrowBadInput(norm.name, StrCat(head_dim, " or ", heads * head_dim), StrCat(norm.width));
  }
  const size_t groups = heads * head_dim / norm.width;
  if (norm.groups == 1 || norm.groups == groups) return;
  ThrowBadInput(norm.name, StrCat("weights for all heads or for each of ", groups),
                StrCat("for ", norm.groups));
}

// Lists of factors are as long as there are pairs.
void CheckRotary(const RotaryPlan& rotary) {
  if (rotary.scaling.kind != RopeScaling::Kind::kLongRope) return;
  for (const std::vector<double>* factors :
       {&rotary.scaling.short_factors, &rotary.scaling.long_factors}) {
    if (factors->size() == rotary.pairs()) continue;
    ThrowBadInput("attention.rotary.scaling",
                  StrCat("short_factor and long_factor of ", rotary.pairs(), " numbers"),
                  StrCat(factors->size()));
  }
}

// Runs of rows lie one after the other, and a layer is made of whole ones.
void CheckStoredRows(const LinearSite& site) {
  if (!site.stored || site.stored->run == 0) return;
  const StoredRows& rows = *site.stored;
  if (rows.step >= rows.run && site.out % rows.run == 0) return;
  ThrowBadInput(StrCat(site.name, ".stored"),
                StrCat("whole runs of ", site.out, " rows that do not overlap"),
                StrCat("runs of ", rows.run, ", ", rows.step, " rows apart"));
}

// Each check names the field that a family filled in wrongly.
void CheckAttention(const AttentionPlan& plan) {
  const auto check = [&](bool holds, std::string_view field, std::string_view expected,
                         const std::string& got) {
    if (!holds) ThrowBadInput(StrCat("attention.", field), expected, got);
  };

  // Values that the attention kernel can work with.
  check(plan.kv_heads > 0 && plan.heads % plan.kv_heads == 0, "kv_heads",
        StrCat("a divisor of ", plan.heads, " heads"), StrCat(plan.kv_heads));
  check(plan.scale > 0, "scale", "a positive number", StrCat(plan.scale));
  check(plan.soft_cap >= 0, "soft_cap", "a positive number, or 0 for none", StrCat(plan.soft_cap));
  if (plan.rotary) {
    const size_t dims = plan.rotary->dims;
    check(dims > 0 && 2 * plan.rotary->pairs() <= plan.head_dim, "rotary.dims",
          StrCat("pairs of values up to head_dim ", plan.head_dim), StrCat(dims));
    CheckRotary(*plan.rotary);
  }

  check(plan.alibi_slopes.empty() || plan.alibi_slopes.size() == plan.heads, "alibi_slopes",
        StrCat("one for each of ", plan.heads, " heads"), StrCat(plan.alibi_slopes.size()));
  check(!plan.alibi_in_bfloat16 || !plan.alibi_slopes.empty(), "alibi_in_bfloat16",
        "false in an attention without slopes", "true");
  check(plan.clip >= 0, "clip", "a positive number, or 0 for none", StrCat(plan.clip));
  const size_t side = plan.head_rotation_side;
  check(plan.head_rotation.size() == side * side && (side == 0 || plan.head_dim % side == 0) &&
            std::ranges::all_of(plan.head_rotation, [](float v) { return std::isfinite(v); }),
        "head_rotation",
        StrCat("a square of finite numbers whose side divides heads of ", plan.head_dim),
        StrCat(plan.head_rotation.size(), " numbers, side ", side));
  if (plan.query_growth) {
    check(plan.query_growth->original_context >= 1, "query_growth", "a context of 1 or more",
          StrCat(plan.query_growth->original_context));
  }
  if (plan.norms) {
    CheckHeadNorm(plan.norms->query, plan.heads, plan.head_dim);
    CheckHeadNorm(plan.norms->key, plan.kv_heads, plan.head_dim);
  }

  // Rotation trusts the roles.
  for (const auto& [site, role, field] :
       {std::tuple(&plan.query, SiteRole::kQuery, "query"),
        std::tuple(&plan.key, SiteRole::kKey, "key"),
        std::tuple(&plan.value, SiteRole::kValue, "value"),
        std::tuple(&plan.output, SiteRole::kAttentionOutput, "output")}) {
    check(site->role == role, StrCat(field, ".role"), "the role of its place", "another role");
  }

  // The four linear layers have the widths that the heads ask for.
  check(plan.query.out == plan.heads * plan.head_dim, "query.out",
        StrCat(plan.heads, " heads of ", plan.head_dim), StrCat(plan.query.out));
  for (const LinearSite* site : {&plan.key, &plan.value}) {
    check(site->out == plan.kv_heads * plan.head_dim, site == &plan.key ? "key.out" : "value.out",
          StrCat(plan.kv_heads, " heads of ", plan.head_dim), StrCat(site->out));
  }
  check(plan.output.in == plan.query.out, "output.in", StrCat(plan.query.out),
        StrCat(plan.output.in));
}

void CheckMlp(const MlpPlan& plan) {
  const bool has_roles = (!plan.gate || plan.gate->role == SiteRole::kGate) &&
                         plan.up.role == SiteRole::kUp && plan.down.role == SiteRole::kDown;
  if (!has_roles) ThrowBadInput("mlp.role", "the roles gate, up and down", "other roles");
}

bool IsSameNorm(const NormPlan& a, const NormPlan& b) {
  return a.name == b.name && a.width == b.width && a.has_bias == b.has_bias &&
         a.parameters.kind == b.parameters.kind && a.parameters.eps == b.parameters.eps &&
         a.parameters.weight_offset == b.parameters.weight_offset && a.has_weight == b.has_weight;
}

// A norm's tensors belong to one place: a scale that is folded into them is seen by all who read
// its output. Only parallel branches may share a norm, because they share its output.
void CheckNorms(const BlockPlan& plan, size_t hidden_size, std::set<std::string>& names) {
  const NormPlan* shared = nullptr;  // of the parallel branches so far
  for (const Branch& branch : plan.branches) {
    const bool is_shared =
        branch.is_parallel && branch.norm && shared != nullptr && branch.norm->name == shared->name;
    if (is_shared && !IsSameNorm(*branch.norm, *shared)) {
      ThrowBadInput(shared->name, "the same norm in parallel branches", "different parameters");
    }
    for (const std::optional<NormPlan>* norm :
         {&branch.norm, &branch.norm_after, &branch.norm_of_sum}) {
      if (!*norm || (norm == &branch.norm && is_shared)) continue;
      if ((*norm)->name.empty()) ThrowExpected("norms with names", "a norm without one");
      if (!names.insert((*norm)->name).second) {
        ThrowExpected("norms and linear layers of different names",
                      StrCat("two of ", (*norm)->name));
      }
      CheckNormPlan(**norm, (*norm)->name, /*may_have_groups=*/false);
      if ((*norm)->width == hidden_size) continue;
      ThrowBadInput((*norm)->name, StrCat("hidden size ", hidden_size), StrCat((*norm)->width));
    }
    if (!branch.is_parallel || shared == nullptr) shared = branch.norm ? &*branch.norm : nullptr;
  }
}

// What a branch does to the hidden states besides adding to them would be seen by the branches that
// run in parallel with it.
void CheckSums(const BlockPlan& plan) {
  for (size_t b = 0; b < plan.branches.size(); ++b) {
    const Branch& branch = plan.branches[b];
    if (!(branch.output_scale > 0)) {
      ThrowBadInput("output_scale", "a positive number", StrCat(branch.output_scale));
    }
    if (branch.adds_to_norm && !branch.norm) {
      ThrowBadInput("adds_to_norm", "a branch with a norm in front", "one without");
    }
    const bool is_parallel =
        branch.is_parallel || (b + 1 < plan.branches.size() && plan.branches[b + 1].is_parallel);
    if (!is_parallel || !(branch.adds_to_norm || branch.norm_of_sum)) continue;
    ThrowBadInput(branch.adds_to_norm ? "adds_to_norm" : "norm_of_sum",
                  "branches one after the other", "parallel ones");
  }
}

}  // namespace

void CheckPlan(const BlockPlan& plan, size_t hidden_size) {
  if (plan.branches.empty()) ThrowExpected("a block with branches", "none");
  if (plan.branches.front().is_parallel) {
    ThrowBadInput("is_parallel", "false in a block's first branch", "true");
  }

  // Branches: their attention, and what they add to the hidden states.
  size_t attentions = 0;
  for (const Branch& branch : plan.branches) {
    if (const auto* attention = std::get_if<AttentionPlan>(&branch.part)) {
      CheckAttention(*attention);
      ++attentions;
    } else {
      CheckMlp(std::get<MlpPlan>(branch.part));
    }

    // What a branch adds is as wide as the hidden states.
    const LinearSite last = PartInputsOf(branch).back().sites.back();
    if (last.out != hidden_size) {
      ThrowBadInput(StrCat(last.name, ".out"), StrCat("hidden size ", hidden_size),
                    StrCat(last.out));
    }
  }
  CheckSums(plan);
  if (attentions > 1) {
    ThrowExpected("at most one attention in a block", StrCat(attentions), "a block has one cache");
  }

  // Inputs: a linear layer is as wide as the value that it reads, and no two layers share a name.
  std::set<std::string> names;
  for (const SiteInput& input : SiteInputs(plan)) {
    if (input.reads_residual && input.width != hidden_size) {
      ThrowBadInput(input.name, StrCat("hidden size ", hidden_size), StrCat(input.width));
    }
    for (const LinearSite& site : input.sites) {
      if (site.in != input.width) {
        ThrowBadInput(StrCat(site.name, ".in"), StrCat(input.width), StrCat(site.in));
      }
      CheckStoredRows(site);
      if (!names.insert(site.name).second) {
        ThrowExpected("linear layers of different names", StrCat("two of ", site.name));
      }
    }
  }

  CheckNorms(plan, hidden_size, names);
  for (const NormPlan& norm : InnerNormsOf(plan)) {
    if (names.insert(norm.name).second) continue;
    ThrowExpected("norms and linear layers of different names", StrCat("two of ", norm.name));
  }
}

}  // namespace qualm
