// What a config.json says, as plans: the shape of every block, and the tables, norms and names
// around them. Everything that knows a model walks over this.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "artefact/kv_scheme.h"
#include "io/json.h"
#include "model/block_plan.h"
#include "model/model_source.h"

namespace qualm {

struct Family;

// Rows of a table that are looked up, [rows, width].
struct TableSite {
  std::string name;  // in full, without ".weight"
  size_t rows = 0, width = 0;
  float scale = 1;  // of the rows that are read
};

struct ModelPlan {
  std::string model_type;
  size_t hidden_size = 0;
  size_t context = 0;        // positions that the model was made for
  std::string block_prefix;  // "model.layers." (then the index and a dot)
  TableSite embedding;
  std::vector<BlockPlan> blocks;
  NormPlan final_norm;                    // its name in full
  LinearSite head;                        // its name in full; out: the vocabulary
  bool tied_embeddings = false;           // the head's weight is the embedding
  float logit_soft_cap = 0;               // logits become cap·tanh(logit/cap); 0: they stay
  std::optional<KvCacheScheme> kv_cache;  // of a quantized model, from its manifest

  size_t vocab_size() const { return embedding.rows; }
  // "model.layers.3.self_attn.q_proj"; with an empty site the prefix of all names in the block.
  std::string NameIn(size_t block, std::string_view site) const;
};

// Throws bad input naming file and key; an unknown model_type lists the supported ones.
ModelPlan ParseModelPlan(const Json& json, std::string_view place);
// The plan of a source, with its overrides; a key of them that nothing reads is bad input, too.
ModelPlan ReadModelPlan(const ModelSource& source);

// Floats that a cache keeps for one position over all blocks: keys and values.
size_t CacheFloatsPerPosition(const ModelPlan& plan);

}  // namespace qualm
