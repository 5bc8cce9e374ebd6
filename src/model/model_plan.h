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

// Names that begin with `from` in a checkpoint begin with `to` in the plan.
struct Renaming {
  std::string from, to;
};

struct ModelPlan {
  std::string model_type;
  size_t hidden_size = 0;
  size_t context = 0;        // positions that the model was made for
  std::string block_prefix;  // "model.layers." (then the index and a dot)

  // Before the blocks: rows of the embedding, taken to the hidden size by a linear layer where they
  // have another width, normed, and with the row of their position added. All names in full.
  TableSite embedding;
  std::optional<LinearSite> project_in;
  std::optional<NormPlan> embedding_norm;
  std::optional<TableSite> positions;  // learned ones
  size_t position_offset = 0;          // position p is row p + offset of that table
  std::vector<BlockPlan> blocks;

  // After them: logits = scale·head(project_out(norm(h))), capped.
  std::optional<NormPlan> final_norm;
  std::optional<LinearSite> project_out;
  LinearSite head;                  // out: the vocabulary
  bool tied_embeddings = false;     // the head's weight is the embedding
  bool head_has_unit_rows = false;  // each row of the head is divided by its length (Baichuan 2)
  float logit_scale = 1;
  float logit_soft_cap = 0;  // logits become cap·tanh(logit/cap); 0: they stay

  // Of the checkpoint: other names for the same tensors, the first that fits counts; and names
  // (globs) of tensors of this family that nothing reads, in addition to those of unread_tensors.h.
  std::vector<Renaming> renamings;
  std::vector<std::string> unread_tensors;
  // What the family decided without a key that says so, in a sentence each, for people to check.
  std::vector<std::string> assumptions;
  std::optional<KvCacheScheme> kv_cache;  // of a quantized model, from its manifest

  size_t vocab_size() const { return embedding.rows; }
  // "model.layers.3.self_attn.q_proj"; with an empty site the prefix of all names in the block.
  std::string NameIn(size_t block, std::string_view site) const;
};

// Throws bad input naming file and key; an unknown model_type lists the supported ones.
ModelPlan ParseModelPlan(const Json& json, std::string_view place);
// The plan of a source, with its overrides; a key of them that nothing reads is bad input, too.
ModelPlan ReadModelPlan(const ModelSource& source);

// A number that is equal for two sequence lengths if all blocks turn queries and keys of both
// alike, so that keys of one serve the other: 0 for models whose rotations do not go by the length.
size_t RotaryRegime(const ModelPlan& plan, size_t sequence_length);

}  // namespace qualm
