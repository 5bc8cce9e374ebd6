// CodeGen (model_type "codegen"): GPT-J with one tensor of four parts, each with a quarter of the
// queries, values and keys, in this order.

#include "base/strings.h"
#include "model/family.h"
#include "model/gpt_plan.h"

namespace qualm {
namespace {

// The parts are those of the four devices that the first models were trained on.
constexpr size_t kParts = 4;

void StoreInParts(AttentionPlan& attention) {
  StoreOneAfterTheOther(attention, "attn.qkv_proj");
  const size_t rows = attention.query.out / kParts;
  size_t first = 0;
  for (LinearSite* site : {&attention.query, &attention.value, &attention.key}) {
    site->stored = StoredRows{"attn.qkv_proj", first, rows, 3 * rows};
    first += rows;
  }
}

ModelPlan Plan(const ConfigReader& config) {
  ModelPlan plan = GptJPlan(config);
  if (plan.hidden_size % kParts != 0) {
    config.Refuse("n_embd", "a multiple of 4", StrCat(plan.hidden_size));
  }
  for (BlockPlan& block : plan.blocks) StoreInParts(AttentionIn(block));
  return plan;
}

}  // namespace

extern const Family kCodegenFamily;
constinit const Family kCodegenFamily{"codegen", Plan};

}  // namespace qualm
