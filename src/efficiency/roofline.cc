// Predicts the least time of prefill and decoding from the sizes of a model's operations. For each
// operation it counts arithmetic and bytes, and the slower of the two decides; the sum over
// operations is the time. What is counted: docs/efficiency.md.
#include "efficiency/roofline.h"

#include <algorithm>

#include "artefact/stored_bytes.h"
#include "base/error.h"
#include "base/strings.h"
#include "model/block_cost.h"

namespace qualm {
namespace {

// The name and size of a linear layer.
struct Shape {
  std::string name;
  size_t out = 0, in = 0;
};

// All linear layers of the blocks, in model order.
std::vector<Shape> LinearShapes(const Checkpoint& checkpoint) {
  const ModelPlan& plan = checkpoint.plan();
  std::vector<Shape> shapes;
  for (size_t b = 0; b < plan.blocks.size(); ++b) {
    for (const LinearSite& site : SitesOf(plan.blocks[b])) {
      shapes.push_back({plan.NameIn(b, site.name), site.out, site.in});
    }
  }
  return shapes;
}

// Norms are kept as float32.
double NormBytes(const ModelPlan& plan) {
  const auto bytes_of = [](const NormPlan& norm) {
    const size_t vectors = (norm.has_weight ? 1 : 0) + (norm.has_bias ? 1 : 0);
    return static_cast<double>(norm.weights() * vectors * sizeof(float));
  };
  double bytes = 0;
  for (const std::optional<NormPlan>* norm : {&plan.embedding_norm, &plan.final_norm}) {
    if (*norm) bytes += bytes_of(**norm);
  }
  for (const BlockPlan& block : plan.blocks) {
    for (const NormPlan& norm : NormsOf(block)) bytes += bytes_of(norm);
    for (const NormPlan& norm : InnerNormsOf(block)) bytes += bytes_of(norm);
  }
  return bytes;
}

// By block: bytes of one position's keys and values, as `bytes_of` an attention has them.
template <typename BytesOf>
std::vector<double> KvBytes(const ModelPlan& plan, const BytesOf& bytes_of) {
  std::vector<double> bytes;
  for (const BlockPlan& block : plan.blocks) {
    const AttentionPlan* attention = AttentionOf(block);
    bytes.push_back(attention == nullptr ? 0 : static_cast<double>(bytes_of(*attention)));
  }
  return bytes;
}

void SetKvBytes(ModelStorage& storage, const KvCacheScheme& scheme) {
  storage.kv_bytes_per_position = KvBytes(storage.plan, [&](const AttentionPlan& attention) {
    return scheme.BytesPerPosition(attention.kv_heads, attention.head_dim);
  });
}

// The part of the storage that a recipe or a record does not change.
ModelStorage CommonStorage(const Checkpoint& checkpoint) {
  ModelStorage storage;
  storage.plan = checkpoint.plan();
  const double vocab = static_cast<double>(storage.plan.vocab_size());
  storage.embedding_row_bytes =
      static_cast<double>(checkpoint.EmbeddingWeight().size_bytes()) / vocab;
  storage.head_bytes = static_cast<double>(checkpoint.HeadBytes());
  storage.norm_bytes = NormBytes(storage.plan);
  SetKvBytes(storage, "fp32");
  return storage;
}

// The average over all linear layers of the blocks.
void SetBits(ModelStorage& storage) {
  double bytes = 0, weights = 0;
  for (const LayerStorage& layer : storage.layers) {
    bytes += layer.weight_bytes;
    weights += static_cast<double>(layer.out * layer.in);
  }
  storage.bits_per_weight = weights > 0 ? 8 * bytes / weights : 0;
}

// The number types of a linear layer's product. If only one side is rounded, floats are multiplied.
void SetNumberTypes(LayerStorage& layer, const Scheme& weights, const Scheme* inputs) {
  const auto is_fp8 = [](NumberType type) {
    return type == NumberType::kFp8E4m3 || type == NumberType::kFp8E4m3Ieee ||
           type == NumberType::kFp8E5m2;
  };
  if (inputs == nullptr) return;
  layer.is_fp8 = is_fp8(weights.type) && is_fp8(inputs->type);
  if (weights.type != NumberType::kInteger || inputs->type != NumberType::kInteger) return;
  layer.weight_bits = weights.bits;
  layer.input_bits = inputs->bits;
}

// The peak for products of floats: the narrowest type that the device multiplies directly.
double FloatPeak(const PeakOps& ops) { return ops.fp16 > 0 ? ops.fp16 : ops.fp32; }

// The peak for a linear layer. Mixed widths run at the rate of the wider one.
double PeakOf(const LayerStorage& layer, const PeakOps& ops) {
  const int bits = std::max(layer.input_bits, layer.weight_bits);
  if (layer.is_fp8 && ops.fp8 > 0) return ops.fp8;
  if (bits > 0 && bits <= 4 && ops.int4 > 0) return ops.int4;
  if (bits > 0 && bits <= 8 && ops.int8 > 0) return ops.int8;
  return FloatPeak(ops);
}

// Adds up one pass through the model: Run() lists the operations in model order, Add() turns each
// into seconds. It is a class because all operations share the device and the work.
class Predictor {
 public:
  Predictor(const ModelStorage& storage, const Hardware& hardware, Phase phase, const Work& work,
            double activation_bytes)
      : storage_(storage),
        hardware_(hardware),
        phase_(phase),
        width_(activation_bytes),
        batch_(static_cast<double>(work.batch)),
        prompt_(static_cast<double>(work.prompt)),
        context_(static_cast<double>(work.context)),
        rows_(phase == Phase::kPrefill ? batch_ * prompt_ : batch_) {}

  Roofline Run() {
    const TokenCounts counts = CountsOf(storage_.plan);
    const double hidden = static_cast<double>(storage_.plan.hidden_size);
    const double vocab = static_cast<double>(storage_.plan.vocab_size());

    // Everything that is not a product runs at the float32 rate.
    const double vectors = hardware_.ops.fp32;
    Add({"embedding", 0, rows_ * storage_.embedding_row_bytes, rows_ * hidden * width_}, vectors);
    // Square, sum, two products for each number; read and written. One more norm before the head.
    const double norms = rows_ * (counts.normed + hidden);
    Add({"norms", 4 * norms, storage_.norm_bytes, 2 * norms * width_}, vectors);
    for (const LayerStorage& layer : storage_.layers) AddLinear(layer);

    // Two products and a sum for each number.
    const double rotated = rows_ * counts.rotated;
    if (rotated > 0) Add({"rotary embedding", 3 * rotated, 0, 2 * rotated * width_}, vectors);
    Add({"cache writes", 0, 0, 0, rows_ * storage_.kv_bytes_of_position()}, vectors);
    for (const AttentionCount& attention : AttentionCounts(storage_.plan)) AddAttention(attention);

    // Exponential, sum, quotient, two products; without a gate one product less.
    const double gated = rows_ * counts.gated, activated = rows_ * counts.activated;
    if (gated > 0) Add({"gated activation", 5 * gated, 0, 3 * gated * width_}, vectors);
    if (activated > 0) Add({"activation", 4 * activated, 0, 2 * activated * width_}, vectors);
    const double residual = rows_ * counts.residual;
    Add({"residual sums", residual, 0, 3 * residual * width_}, vectors);

    // Logits of the last position of each sequence.
    Add({"lm_head", 2 * batch_ * vocab * hidden, storage_.head_bytes,
         batch_ * (hidden + vocab) * width_},
        FloatPeak(hardware_.ops));

    result_.tokens_per_second = rows_ / result_.seconds;
    return std::move(result_);
  }

 private:
  // A linear layer; all blocks' layers of one kind are one row of the result.
  void AddLinear(const LayerStorage& layer) {
    const double out = static_cast<double>(layer.out), in = static_cast<double>(layer.in);
    const size_t dot = layer.name.rfind('.');
    Add({layer.name.substr(dot + 1), 2 * rows_ * out * in, layer.weight_bytes,
         rows_ * (in + out) * width_},
        PeakOf(layer, hardware_.ops));
  }

  // Attention of blocks that cost the same. Scores and weights stay in registers and caches; keys
  // and values are read once per sequence.
  void AddAttention(const AttentionCount& attention) {
    // Pairs of a query and a position that it sees, and positions read, of a sequence.
    double pairs = 0, positions = 0;
    if (phase_ == Phase::kPrefill) {
      pairs = PairsSeen(attention.window, prompt_);
      positions = prompt_;
    } else {
      positions = PositionsSeen(attention.window, context_);
      pairs = positions;
    }

    const double blocks = static_cast<double>(attention.blocks.size());
    const double q = static_cast<double>(attention.query_width);
    const double heads = static_cast<double>(attention.heads);
    const double all = batch_ * pairs * blocks;
    const double activations = rows_ * q * width_ * blocks;

    // Keys and values may have different numbers of bits; half of their sum is right for both
    // together.
    double kv_bytes = 0;
    for (const size_t b : attention.blocks) kv_bytes += storage_.kv_bytes_per_position[b];
    const double half_cache = batch_ * positions * kv_bytes / 2;
    const double products = FloatPeak(hardware_.ops);
    Add({"attention scores", 2 * all * q, 0, activations, half_cache}, products);

    // A maximum, an exponential, a sum and a quotient.
    Add({"softmax", 4 * all * heads}, hardware_.ops.fp32);
    Add({"attention values", 2 * all * q, 0, activations, half_cache}, products);
  }

  // Adds one operation, on a device that does `peak_ops` operations of its kind per second.
  void Add(OperationCost cost, double peak_ops) {
    cost.compute_seconds = cost.ops / peak_ops;
    cost.memory_seconds = cost.bytes() / hardware_.bytes_per_second;
    cost.seconds = std::max(cost.compute_seconds, cost.memory_seconds);
    result_.seconds += cost.seconds;

    // Operations of one kind are summed over blocks.
    const auto same = std::ranges::find(result_.operations, cost.kind, &OperationCost::kind);
    if (same == result_.operations.end()) {
      result_.operations.push_back(std::move(cost));
      return;
    }
    same->ops += cost.ops;
    same->weight_bytes += cost.weight_bytes;
    same->activation_bytes += cost.activation_bytes;
    same->kv_bytes += cost.kv_bytes;
    same->compute_seconds += cost.compute_seconds;
    same->memory_seconds += cost.memory_seconds;
    same->seconds += cost.seconds;
  }

  const ModelStorage& storage_;
  const Hardware& hardware_;
  Phase phase_;
  double width_, batch_, prompt_, context_, rows_;
  Roofline result_;
};

}  // namespace

double ModelStorage::weight_bytes() const {
  double bytes = head_bytes + norm_bytes;
  for (const LayerStorage& layer : layers) bytes += layer.weight_bytes;
  return bytes;
}

double ModelStorage::kv_bytes_of_position() const {
  double bytes = 0;
  for (const double block : kv_bytes_per_position) bytes += block;
  return bytes;
}

ModelStorage StorageOf(const Checkpoint& checkpoint, const Manifest* manifest) {
  ModelStorage storage = CommonStorage(checkpoint);
  storage.label = manifest == nullptr ? "float" : manifest->recipe_name;
  for (const Shape& shape : LinearShapes(checkpoint)) {
    LayerStorage layer{.name = shape.name, .out = shape.out, .in = shape.in};

    // A layer without a record is stored as in the checkpoint.
    const LayerRecord* record = nullptr;
    if (manifest != nullptr) {
      const auto found = std::ranges::find(manifest->layers, shape.name, &LayerRecord::name);
      if (found != manifest->layers.end()) record = &*found;
    }
    if (record == nullptr) {
      layer.weight_bytes = static_cast<double>(checkpoint.WeightBytes(shape.name));
    } else {
      layer.weight_bytes = static_cast<double>(record->stored_bytes);
      SetNumberTypes(layer, record->scheme,
                     record->activations ? &record->activations->scheme : nullptr);
    }
    storage.layers.push_back(std::move(layer));
  }
  if (manifest != nullptr && manifest->kv_cache) SetKvBytes(storage, *manifest->kv_cache);
  SetBits(storage);
  return storage;
}

ModelStorage StorageOf(const Checkpoint& checkpoint, const Recipe& recipe) {
  ModelStorage storage = CommonStorage(checkpoint);
  storage.label = recipe.name;
  for (const Shape& shape : LinearShapes(checkpoint)) {
    LayerStorage layer{.name = shape.name, .out = shape.out, .in = shape.in};

    // The bytes follow from the scheme alone.
    const LayerPlan plan = recipe.PlanFor(shape.name);
    if (plan.skip) {
      layer.weight_bytes = static_cast<double>(checkpoint.WeightBytes(shape.name));
    } else {
      layer.weight_bytes =
          static_cast<double>(EstimateStoredBytes(plan.scheme, shape.out, shape.in));
      SetNumberTypes(layer, plan.scheme, plan.activations ? &plan.activations->scheme : nullptr);
    }
    storage.layers.push_back(std::move(layer));
  }
  if (recipe.kv_cache) SetKvBytes(storage, *recipe.kv_cache);
  SetBits(storage);
  return storage;
}

void SetKvBytes(ModelStorage& storage, const std::string& kind) {
  static const std::vector<std::string> known = {"fp32", "fp16", "int8", "int4"};
  if (std::ranges::find(known, kind) == known.end()) {
    ThrowUnknownName("--kv", "kind of cache", kind, known);
  }
  storage.kv_bytes_per_position = KvBytes(storage.plan, [&](const AttentionPlan& attention) {
    const double numbers = 2 * static_cast<double>(attention.kv_heads * attention.head_dim);
    if (kind == "fp32") return 4 * numbers;
    if (kind == "fp16") return 2 * numbers;
    // A float16 scale and zero point for each head of keys and of values.
    const double scales = 2 * 4 * static_cast<double>(attention.kv_heads);
    return (kind == "int8" ? numbers : numbers / 2) + scales;
  });
}

Roofline PredictTime(const ModelStorage& storage, const Hardware& hardware, Phase phase,
                     const Work& work, double activation_bytes) {
  return Predictor(storage, hardware, phase, work, activation_bytes).Run();
}

}  // namespace qualm
