// Every field of a model's plan: a test sets it, and either the logits change as a slow second
// decoder says, or the plan is refused by a message that names the field.
#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "model/family.h"
#include "model/model.h"
#include "support/errors.h"
#include "support/reference_decoder.h"
#include "support/temporary_folder.h"
#include "support/test_context.h"
#include "support/tower_family.h"

namespace qualm {
namespace {

using testing::AttentionIn;
using testing::edit_plan;
using ::testing::HasSubstr;
using testing::kHeadDim;
using testing::kHidden;
using testing::MlpIn;
using testing::NormIn;
using testing::SetFused;
using testing::SetHeadNorms;
using testing::SetLongRope;
using testing::SetNarrowEmbedding;
using testing::SetNarrowHead;

// A matrix of that side for queries and keys, neither symmetric nor orthogonal.
void SetHeadRotation(ModelPlan& plan, size_t side) {
  AttentionPlan& attention = AttentionIn(plan);
  attention.head_rotation_side = side;
  for (size_t i = 0; i < side * side; ++i) {
    attention.head_rotation.push_back(1 + 0.25f * static_cast<float>(i % 5));
  }
}

// What a test does to a field, and what must come of it: other logits, or a refusal whose message
// has `refused_by`.
struct FieldEdit {
  const char* field;
  const char* refused_by;  // null: obeyed
  void (*edit)(ModelPlan& plan);
};

// Every field of a plan but names, which are looked for in the checkpoint, and `context` and
// `kv_cache`, which bound and round what runs (other tests).
constexpr FieldEdit kFieldEdits[] = {
    {"hidden_size", "embedding.width", [](ModelPlan& p) { p.hidden_size = 32; }},
    {"embedding.rows", "head.out", [](ModelPlan& p) { p.embedding.rows = 90; }},
    {"embedding.width", "embedding.width", [](ModelPlan& p) { p.embedding.width = 32; }},
    {"embedding.scale", nullptr, [](ModelPlan& p) { p.embedding.scale = 3; }},
    {"fewer blocks", nullptr, [](ModelPlan& p) { p.blocks.pop_back(); }},
    {"no blocks", "a model with blocks", [](ModelPlan& p) { p.blocks.clear(); }},
    {"branches", nullptr, [](ModelPlan& p) { p.blocks[2].branches.pop_back(); }},
    {"final_norm.width", "final_norm.width", [](ModelPlan& p) { p.final_norm->width = 32; }},
    {"final_norm.kind", nullptr,
     [](ModelPlan& p) { p.final_norm->parameters.kind = NormKind::kLayer; }},
    {"final_norm.eps", nullptr, [](ModelPlan& p) { p.final_norm->parameters.eps = 0.1; }},
    {"final_norm.weight_offset", nullptr,
     [](ModelPlan& p) { p.final_norm->parameters.weight_offset = 1; }},
    {"final_norm.has_bias", "tower.roof.bias", [](ModelPlan& p) { p.final_norm->has_bias = true; }},
    {"head.out", "head.out", [](ModelPlan& p) { p.head.out = 90; }},
    {"head.in", "head.in", [](ModelPlan& p) { p.head.in = 32; }},
    {"head.role", "head.role", [](ModelPlan& p) { p.head.role = SiteRole::kDown; }},
    {"head.requires_bias", nullptr, [](ModelPlan& p) { p.head.requires_bias = false; }},
    {"tied_embeddings", nullptr, [](ModelPlan& p) { p.tied_embeddings = true; }},
    {"logit_soft_cap", nullptr, [](ModelPlan& p) { p.logit_soft_cap = 2; }},
    {"branch.norm", nullptr, [](ModelPlan& p) { p.blocks[0].branches[0].norm.reset(); }},
    {"branch.norm.kind", nullptr, [](ModelPlan& p) { NormIn(p).kind = NormKind::kLayer; }},
    {"branch.norm.eps", nullptr, [](ModelPlan& p) { NormIn(p).eps = 0.5; }},
    {"branch.norm.weight_offset", nullptr, [](ModelPlan& p) { NormIn(p).weight_offset = 1; }},
    {"branch.norm.has_bias", "norm_a.bias",
     [](ModelPlan& p) { p.blocks[0].branches[0].norm->has_bias = true; }},
    {"branch.norm.width", "norm_a", [](ModelPlan& p) { p.blocks[0].branches[0].norm->width = 32; }},
    {"branch.norm.name of another place", "two of norm_a",
     [](ModelPlan& p) { p.blocks[0].branches[1].norm->name = "norm_a"; }},
    {"shared norm with other parameters", "different parameters",
     [](ModelPlan& p) { p.blocks[1].branches[1].norm->parameters.eps = 1; }},
    {"branch.norm_after", nullptr,
     [](ModelPlan& p) {
       // The norm that a branch no longer has in front comes after it.
       std::swap(p.blocks[0].branches[0].norm_after, p.blocks[0].branches[0].norm);
     }},
    {"branch.is_parallel", nullptr,
     [](ModelPlan& p) { p.blocks[2].branches[1].is_parallel = false; }},
    {"first branch.is_parallel", "is_parallel",
     [](ModelPlan& p) { p.blocks[0].branches[0].is_parallel = true; }},
    {"heads", "query.out", [](ModelPlan& p) { AttentionIn(p).heads = 2; }},
    {"kv_heads", "key.out", [](ModelPlan& p) { AttentionIn(p).kv_heads = 1; }},
    {"head_dim", "query.out", [](ModelPlan& p) { AttentionIn(p).head_dim = 8; }},
    {"rotary", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary.reset(); }},
    {"rotary.dims", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary->dims = 16; }},
    {"rotary.layout", nullptr,
     [](ModelPlan& p) { AttentionIn(p).rotary->layout = RotaryLayout::kHalf; }},
    {"rotary.theta", nullptr, [](ModelPlan& p) { AttentionIn(p).rotary->theta = 10; }},
    {"rotary.scaling", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary->scaling = {.kind = RopeScaling::Kind::kLinear, .factor = 4};
     }},
    {"window", nullptr, [](ModelPlan& p) { AttentionIn(p).window = 4; }},
    {"scale", nullptr, [](ModelPlan& p) { AttentionIn(p).scale = 1; }},
    {"scale of nothing", "attention.scale", [](ModelPlan& p) { AttentionIn(p).scale = 0; }},
    {"soft_cap", nullptr, [](ModelPlan& p) { AttentionIn(p).soft_cap = 0.5f; }},
    {"query.out", "query.out", [](ModelPlan& p) { AttentionIn(p).query.out = 32; }},
    {"query.in", "attention_input", [](ModelPlan& p) { AttentionIn(p).query.in = 32; }},
    {"key.out", "key.out", [](ModelPlan& p) { AttentionIn(p).key.out = 16; }},
    {"value.out", "value.out", [](ModelPlan& p) { AttentionIn(p).value.out = 16; }},
    {"output.in", "output.in", [](ModelPlan& p) { AttentionIn(p).output.in = 32; }},
    {"output.out", "mix.back.out", [](ModelPlan& p) { AttentionIn(p).output.out = 32; }},
    {"attention role", "value.role",
     [](ModelPlan& p) { AttentionIn(p).value.role = SiteRole::kQuery; }},
    {"query.requires_bias", "mix.ask.bias",
     [](ModelPlan& p) { AttentionIn(p).query.requires_bias = true; }},
    {"two attentions", "at most one attention",
     [](ModelPlan& p) { p.blocks[2].branches.push_back(p.blocks[2].branches[0]); }},
    {"activation", nullptr, [](ModelPlan& p) { MlpIn(p).activation = Activation::kRelu2; }},
    {"gate", nullptr, [](ModelPlan& p) { MlpIn(p).gate.reset(); }},
    {"up.in", "hidden size 64", [](ModelPlan& p) { MlpIn(p).up.in = 32; }},
    {"up.out", "think.wide", [](ModelPlan& p) { MlpIn(p).up.out = 96; }},
    {"down.in", "think.narrow", [](ModelPlan& p) { MlpIn(p).down.in = 96; }},
    {"down.out", "think.narrow.out", [](ModelPlan& p) { MlpIn(p).down.out = 32; }},
    {"mlp role", "mlp.role", [](ModelPlan& p) { MlpIn(p).down.role = SiteRole::kUp; }},
};

// The fields that only some families set.
constexpr FieldEdit kRareFieldEdits[] = {
    {"embedding.name", nullptr, [](ModelPlan& p) { p.embedding.name = "tower.back_door"; }},
    {"project_in", nullptr, SetNarrowEmbedding},
    {"project_in.in", "embedding.width",
     [](ModelPlan& p) {
       SetNarrowEmbedding(p);
       p.project_in->in = 16;
     }},
    {"project_in.out", "project_in.out",
     [](ModelPlan& p) {
       SetNarrowEmbedding(p);
       p.project_in->out = 32;
     }},
    {"project_in.requires_bias", "tower.step_in.bias",
     [](ModelPlan& p) {
       SetNarrowEmbedding(p);
       p.project_in->requires_bias = true;
     }},
    {"project_in.stored", "project_in.stored",
     [](ModelPlan& p) {
       SetNarrowEmbedding(p);
       p.project_in->stored = StoredRows{"elsewhere"};
     }},
    {"embedding_norm", nullptr,
     [](ModelPlan& p) {
       p.embedding_norm = NormPlan{"tower.mat", kHidden, {}};
     }},
    {"embedding_norm.kind and bias", nullptr,
     [](ModelPlan& p) {
       p.embedding_norm = NormPlan{"tower.mat", kHidden, {.kind = NormKind::kLayer}, true};
     }},
    {"embedding_norm.width", "embedding_norm.width",
     [](ModelPlan& p) {
       p.embedding_norm = NormPlan{"tower.mat", 32, {}};
     }},
    {"embedding_norm.groups", "embedding_norm.groups",
     [](ModelPlan& p) {
       p.embedding_norm = NormPlan{"tower.mat", kHidden, {}};
       p.embedding_norm->groups = 2;
     }},
    {"positions", nullptr,
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 131, kHidden};
     }},
    {"positions.scale", nullptr,
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 131, kHidden, 0.25f};
     }},
    {"position_offset", nullptr,
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 131, kHidden};
       p.position_offset = 3;
     }},
    {"position_offset of nothing", "position_offset", [](ModelPlan& p) { p.position_offset = 2; }},
    {"position_offset beyond the table", "positions.rows",
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 131, kHidden};
       p.position_offset = 4;
     }},
    {"positions.width", "positions.width",
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 131, 32};
     }},
    {"positions.rows", "tower.stairs",
     [](ModelPlan& p) {
       p.positions = TableSite{"tower.stairs", 140, kHidden};
     }},
    {"no final_norm", nullptr, [](ModelPlan& p) { p.final_norm.reset(); }},
    {"final_norm.has_weight", nullptr, [](ModelPlan& p) { p.final_norm->has_weight = false; }},
    {"final_norm.groups", "final_norm.groups", [](ModelPlan& p) { p.final_norm->groups = 2; }},
    {"final_norm.stored_by_group", "final_norm.groups",
     [](ModelPlan& p) { p.final_norm->stored_by_group = "tower.roofs."; }},
    {"project_out", nullptr, SetNarrowHead},
    {"project_out.in", "project_out.in",
     [](ModelPlan& p) {
       SetNarrowHead(p);
       p.project_out->in = 32;
     }},
    {"project_out.out", "head.in",
     [](ModelPlan& p) {
       SetNarrowHead(p);
       p.project_out->out = 16;
     }},
    {"head.stored", "head.stored", [](ModelPlan& p) { p.head.stored = StoredRows{"elsewhere"}; }},
    {"head_has_unit_rows", nullptr, [](ModelPlan& p) { p.head_has_unit_rows = true; }},
    {"logit_scale", nullptr, [](ModelPlan& p) { p.logit_scale = 0.5f; }},
    {"logit_scale of nothing", "logit_scale", [](ModelPlan& p) { p.logit_scale = 0; }},
    {"logit_scale before the cap", nullptr,
     [](ModelPlan& p) {
       p.logit_scale = 3;
       p.logit_soft_cap = 1;
     }},
    {"renamings", nullptr,
     [](ModelPlan& p) {
       p.renamings = {{"attic.", "tower."}};
       p.embedding_norm = NormPlan{"tower.rug", kHidden, {}};
     }},
    {"renamings to one name", "tensors of different names",
     [](ModelPlan& p) {
       p.renamings = {{"attic.rug.", "tower.roof."}};
     }},
    {"branch.norm.has_weight", nullptr,
     [](ModelPlan& p) {
       NormIn(p).weight_offset = 0;
       p.blocks[0].branches[0].norm->has_weight = false;
     }},
    {"weight_offset without a weight", "weight_offset",
     [](ModelPlan& p) { p.blocks[0].branches[0].norm->has_weight = false; }},
    {"branch.norm.groups", "norm_a.groups",
     [](ModelPlan& p) { p.blocks[0].branches[0].norm->groups = 4; }},
    {"branch.norm_of_sum", nullptr,
     [](ModelPlan& p) {
       p.blocks[0].branches[1].norm_of_sum = NormPlan{"norm_c", kHidden, {}};
     }},
    {"norm_of_sum of parallel branches", "norm_of_sum",
     [](ModelPlan& p) {
       p.blocks[2].branches[0].norm_of_sum = NormPlan{"norm_c", kHidden, {}};
     }},
    {"branch.adds_to_norm", nullptr,
     [](ModelPlan& p) { p.blocks[0].branches[1].adds_to_norm = true; }},
    {"adds_to_norm of parallel branches", "adds_to_norm",
     [](ModelPlan& p) { p.blocks[2].branches[1].adds_to_norm = true; }},
    {"adds_to_norm without a norm", "adds_to_norm",
     [](ModelPlan& p) {
       p.blocks[0].branches[0].norm.reset();
       p.blocks[0].branches[0].adds_to_norm = true;
     }},
    {"branch.output_scale", nullptr,
     [](ModelPlan& p) { p.blocks[2].branches[0].output_scale = 0.25f; }},
    {"output_scale after norm_after", nullptr,
     [](ModelPlan& p) {
       p.blocks[0].branches[1].norm_after = NormPlan{"norm_c", kHidden, {}};
       p.blocks[0].branches[1].output_scale = 3;
     }},
    {"output_scale of nothing", "output_scale",
     [](ModelPlan& p) { p.blocks[2].branches[0].output_scale = 0; }},
    {"clip", nullptr, [](ModelPlan& p) { AttentionIn(p).clip = 0.5f; }},
    {"head_rotation", nullptr, [](ModelPlan& p) { SetHeadRotation(p, 4); }},
    {"head_rotation of another side", "attention.head_rotation",
     [](ModelPlan& p) { SetHeadRotation(p, 3); }},
    {"head_rotation that is not a square", "attention.head_rotation",
     [](ModelPlan& p) {
       SetHeadRotation(p, 4);
       AttentionIn(p).head_rotation.pop_back();
     }},
    {"head_rotation that is not finite", "attention.head_rotation",
     [](ModelPlan& p) {
       SetHeadRotation(p, 4);
       AttentionIn(p).head_rotation[5] = std::nanf("");
     }},
    {"clip before norms", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).clip = 0.5f;
       SetHeadNorms(p);
     }},
    {"clip below zero", "attention.clip", [](ModelPlan& p) { AttentionIn(p).clip = -1; }},
    {"norms of each head", nullptr, SetHeadNorms},
    {"norms.after_rotary", nullptr,
     [](ModelPlan& p) {
       SetHeadNorms(p);
       AttentionIn(p).norms->after_rotary = true;
     }},
    {"norms with biases", nullptr,
     [](ModelPlan& p) {
       SetHeadNorms(p);
       NormPlan &query = AttentionIn(p).norms->query, &key = AttentionIn(p).norms->key;
       query.has_bias = key.has_bias = true;
       query.parameters.kind = key.parameters.kind = NormKind::kLayer;
     }},
    {"norms without weights", nullptr,
     [](ModelPlan& p) {
       SetHeadNorms(p);
       NormPlan &query = AttentionIn(p).norms->query, &key = AttentionIn(p).norms->key;
       query.has_weight = key.has_weight = false;
       key.parameters.weight_offset = 0;
     }},
    {"norms without weights but with an offset", "weight_offset",
     [](ModelPlan& p) {
       SetHeadNorms(p);
       AttentionIn(p).norms->query.has_weight = false;
       AttentionIn(p).norms->query.parameters.weight_offset = 1;
     }},
    {"norms of all heads", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).norms = QueryKeyNorms{{"mix.wide_ask_norm", 4 * kHeadDim, {}},
                                            {"mix.wide_offer_norm", 2 * kHeadDim, {}}};
     }},
    {"norms.groups", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).norms =
           QueryKeyNorms{{"mix.own_ask_norm", kHeadDim, {}}, {"mix.own_offer_norm", kHeadDim, {}}};
       AttentionIn(p).norms->query.groups = 4;
       AttentionIn(p).norms->key.groups = 2;
     }},
    {"norms.stored_by_group", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).norms = QueryKeyNorms{{"mix.ask_norm_of_all", kHeadDim, {}},
                                            {"mix.offer_norm_of_all", kHeadDim, {}}};
       NormPlan &query = AttentionIn(p).norms->query, &key = AttentionIn(p).norms->key;
       query.groups = 4;
       query.stored_by_group = "mix.ask_norms.";
       key.groups = 2;
       key.stored_by_group = "mix.offer_norms.";
     }},
    {"norms.width", "mix.ask_norm",
     [](ModelPlan& p) {
       SetHeadNorms(p);
       AttentionIn(p).norms->query.width = 8;
     }},
    {"norms for other groups", "weights for all heads or for each of 4",
     [](ModelPlan& p) {
       SetHeadNorms(p);
       AttentionIn(p).norms->query.groups = 3;
     }},
    {"norms of one name", "two of mix.ask_norm",
     [](ModelPlan& p) {
       SetHeadNorms(p);
       AttentionIn(p).norms->key.name = "mix.ask_norm";
     }},
    {"query_growth", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).query_growth = QueryGrowth{2, 8};
     }},
    {"query_growth of no context", "query_growth",
     [](ModelPlan& p) {
       AttentionIn(p).query_growth = QueryGrowth{2, 0};
     }},
    {"alibi_slopes", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).alibi_slopes = {0.5f, 0.3f, 0.2f, 0.1f};
     }},
    {"alibi_slopes instead of a rotation", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary.reset();
       AttentionIn(p).alibi_slopes = {0.5f, 0.3f, 0.2f, 0.1f};
     }},
    {"alibi_slopes of some heads", "alibi_slopes",
     [](ModelPlan& p) { AttentionIn(p).alibi_slopes = {0.5f}; }},
    {"alibi_in_bfloat16", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).alibi_slopes = {0.5f, 0.3f, 0.2f, 0.1f};
       AttentionIn(p).alibi_in_bfloat16 = true;
     }},
    {"alibi_in_bfloat16 without slopes", "alibi_in_bfloat16",
     [](ModelPlan& p) { AttentionIn(p).alibi_in_bfloat16 = true; }},
    {"rotary.dims of more than a head", "rotary.dims",
     [](ModelPlan& p) { AttentionIn(p).rotary->dims = 32; }},
    {"scaling llama3", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary->scaling = {
           .kind = RopeScaling::Kind::kLlama3, .factor = 8, .original_context = 16};
     }},
    {"scaling dynamic", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary->scaling = {
           .kind = RopeScaling::Kind::kDynamic, .factor = 8, .original_context = 16};
     }},
    {"scaling yarn", nullptr,
     [](ModelPlan& p) {
       AttentionIn(p).rotary->scaling = {
           .kind = RopeScaling::Kind::kYarn, .factor = 8, .ramp_first = 0.5, .ramp_last = 2.5};
     }},
    {"scaling.attention_factor", nullptr,
     [](ModelPlan& p) { AttentionIn(p).rotary->scaling.attention_factor = 1.5; }},
    {"scaling longrope, short", nullptr, [](ModelPlan& p) { SetLongRope(p, 64); }},
    {"scaling longrope, long", nullptr, [](ModelPlan& p) { SetLongRope(p, 16); }},
    {"scaling.long_factors", "short_factor and long_factor of 4 numbers",
     [](ModelPlan& p) {
       SetLongRope(p, 16);
       AttentionIn(p).rotary->scaling.long_factors.pop_back();
     }},
    {"stored together", nullptr,
     [](ModelPlan& p) {
       SetFused(p, {"mix.fused", 0}, {"mix.fused", 64}, {"mix.fused", 96});
     }},
    {"stored by head", nullptr,
     [](ModelPlan& p) {
       SetFused(p, {"mix.fused", 0, 32, 64}, {"mix.fused", 32, 16, 64}, {"mix.fused", 48, 16, 64});
     }},
    {"stored.transposed", nullptr,
     [](ModelPlan& p) {
       SetFused(p, {"mix.turned", 0, 0, 0, true}, {"mix.turned", 64, 0, 0, true},
                {"mix.turned", 96, 0, 0, true});
     }},
    {"stored transposed by head", nullptr,
     [](ModelPlan& p) {
       SetFused(p, {"mix.turned", 0, 32, 64, true}, {"mix.turned", 32, 16, 64, true},
                {"mix.turned", 48, 16, 64, true});
     }},
    {"stored.step", "mix.new_offer.stored",
     [](ModelPlan& p) {
       SetFused(p, {"mix.fused", 0, 32, 64}, {"mix.fused", 32, 16, 8}, {"mix.fused", 48, 16, 64});
     }},
    {"stored.run", "mix.new_ask.stored",
     [](ModelPlan& p) {
       SetFused(p, {"mix.fused", 0, 48, 64}, {"mix.fused", 32, 16, 64}, {"mix.fused", 48, 16, 64});
     }},
    {"stored beyond the tensor", "mix.fused.weight",
     [](ModelPlan& p) {
       SetFused(p, {"mix.fused", 0}, {"mix.fused", 64}, {"mix.fused", 97});
     }},
    {"stored in part", "mix.thick.weight",
     [](ModelPlan& p) {
       SetFused(p, {"mix.thick", 0}, {"mix.thick", 64}, {"mix.thick", 96});
     }},
    {"stored elsewhere", "mix.new_ask",
     [](ModelPlan& p) {
       SetFused(p, {"mix.no", 0}, {"mix.no", 64}, {"mix.no", 96});
     }},
};

std::string NameOf(const FieldEdit& edit) {
  std::string name = edit.field;
  for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
  return name;
}

// For messages.
void PrintTo(const FieldEdit& edit, std::ostream* out) { *out << edit.field; }

class PlanField : public ::testing::TestWithParam<FieldEdit> {
 protected:
  PlanField() { testing::WriteCheckpoint(folder_.path(), testing::SpareTensors()); }
  ~PlanField() override { edit_plan = nullptr; }

  // Edits change the plan under the files: a tensor that it does not need is right here.
  Model Load() {
    ModelSource source(folder_.path());
    source.ignored_tensors = {"."};
    return LoadModel(source, {}, context_);
  }

  Matrix Logits(const Decoder& decoder) {
    KvCache cache = decoder.MakeCache(ids_.size());
    const Matrix hidden = decoder.Forward(std::vector<SequenceSlice>{{&cache, ids_}}, context_);
    Matrix logits(ids_.size(), decoder.plan.vocab_size());
    decoder.Logits(hidden, logits, context_);
    return logits;
  }

  ScopedFamilies families_{testing::kTowerFamilies};
  testing::TemporaryFolder folder_;
  testing::TestContext context_{2};
  const std::vector<TokenId> ids_ = testing::Text(40, 1);
};

TEST_P(PlanField, IsObeyedOrRefused) {
  const Matrix before = Logits(*Load().decoder);
  edit_plan = GetParam().edit;
  if (GetParam().refused_by != nullptr) {
    EXPECT_THAT(testing::ErrorOf([&] { Load(); }), HasSubstr(GetParam().refused_by));
    return;
  }

  const Model model = Load();
  const Matrix logits = Logits(*model.decoder);
  const auto expected = testing::ReferenceDecoder<double>(*model.checkpoint).Logits(ids_);
  double change = 0, error = 0;
  for (size_t t = 0; t < ids_.size(); ++t) {
    for (size_t v = 0; v < logits.cols(); ++v) {
      change = std::max(change, std::abs(double{logits(t, v)} - double{before(t, v)}));
      error = std::max(error, std::abs(double{logits(t, v)} - expected[t][v]));
    }
  }
  EXPECT_GT(change, 1e-3);
  // Float32 against double over three small blocks: the tolerance of the families'
  // goldens.
  EXPECT_LT(error, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Fields, PlanField, ::testing::ValuesIn(kFieldEdits),
                         [](const auto& instance) { return NameOf(instance.param); });
INSTANTIATE_TEST_SUITE_P(RareFields, PlanField, ::testing::ValuesIn(kRareFieldEdits),
                         [](const auto& instance) { return NameOf(instance.param); });

}  // namespace
}  // namespace qualm
