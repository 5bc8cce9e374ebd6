#include "efficiency/roofline.h"

#include <algorithm>

#include "base/error.h"
#include "base/strings.h"
#include "model/family.h"
#include "quantize/plan.h"

namespace qualm {
namespace {

struct Shape {
  std::string name, kind;
  size_t out = 0, in = 0;
};

std::vector<Shape> LinearShapes(const Checkpoint& checkpoint) {
  const Family& family = checkpoint.family();
  std::vector<Shape> shapes;
  for (size_t b = 0; b < checkpoint.config().layers; ++b) {
    for (const LinearGroup& group : family.groups) {
      for (const LinearSpec& linear : group.linears) {
        shapes.push_back({LinearName(family, b, linear.name), linear.name,
                          SizeOf(linear.out, checkpoint.config()),
                          SizeOf(group.in, checkpoint.config())});
      }
    }
  }
  return shapes;
}

// What the scheme of a recipe or of a record does not change.
ModelStorage CommonStorage(const Checkpoint& checkpoint) {
  ModelStorage storage;
  storage.config = checkpoint.config();
  const ModelConfig& config = storage.config;
  const double vocab = static_cast<double>(config.vocab_size);
  storage.embedding_row_bytes =
      static_cast<double>(checkpoint.EmbeddingWeight().size_bytes()) / vocab;
  storage.head_bytes = static_cast<double>(checkpoint.HeadWeight().size_bytes());
  storage.norm_bytes =
      static_cast<double>((2 * config.layers + 1) * config.hidden_size * sizeof(float));
  SetKvBytes(storage, "fp32");
  return storage;
}

void SetBits(ModelStorage& storage) {
  double bytes = 0, weights = 0;
  for (const LayerStorage& layer : storage.layers) {
    bytes += layer.weight_bytes;
    weights += static_cast<double>(layer.out * layer.in);
  }
  storage.bits_per_weight = weights > 0 ? 8 * bytes / weights : 0;
}

// The peak of a product: of integers where both sides are, of the narrowest float there is else.
double PeakOf(const LayerStorage& layer, const Hardware& hardware) {
  const PeakOps& ops = hardware.ops;
  const double floats = ops.fp16 > 0 ? ops.fp16 : ops.fp32;
  if (layer.input_bits == 0 || layer.weight_bits == 0) return floats;
  const int bits = std::max(layer.input_bits, layer.weight_bits);
  if (bits <= 4 && ops.int4 > 0) return ops.int4;
  return bits <= 8 && ops.int8 > 0 ? ops.int8 : floats;
}

class Predictor {
 public:
  Predictor(const ModelStorage& storage, const Hardware& hardware, Phase phase, const Work& work,
            double activation_bytes)
      : storage_(storage), hardware_(hardware), phase_(phase), width_(activation_bytes) {
    batch_ = static_cast<double>(work.batch);
    rows_ = phase == Phase::kPrefill ? batch_ * static_cast<double>(work.prompt) : batch_;
    const double prompt = static_cast<double>(work.prompt);
    const double context = static_cast<double>(work.context);
    // Positions that queries look at, over all queries of a sequence; and that are read from the
    // cache, each once.
    seen_ = phase == Phase::kPrefill ? prompt * (prompt + 1) / 2 : context + 1;
    cached_ = phase == Phase::kPrefill ? prompt : context + 1;
  }

  Roofline Run() {
    const ModelConfig& config = storage_.config;
    const double hidden = static_cast<double>(config.hidden_size);
    const double blocks = static_cast<double>(config.layers);
    const double q = static_cast<double>(config.q_features());
    const double kv = static_cast<double>(config.kv_features());
    const double inner = static_cast<double>(config.intermediate_size);
    const double floats = FloatPeak();
    Add({"embedding", 0, rows_ * storage_.embedding_row_bytes, rows_ * hidden * width_, 0, floats});
    // Mean square, root, two products for each number; read and written.
    Add({"norms", 4 * rows_ * hidden * (2 * blocks + 1), storage_.norm_bytes,
         2 * rows_ * hidden * width_ * (2 * blocks + 1), 0, floats});
    for (const LayerStorage& layer : storage_.layers) AddLinear(layer);
    Add({"rotary embedding", 3 * rows_ * (q + kv) * blocks, 0,
         2 * rows_ * (q + kv) * width_ * blocks, 0, floats});
    const double half_cache = storage_.kv_bytes_per_position / 2;
    const double written = rows_ * storage_.kv_bytes_per_position * blocks;
    Add({"cache writes", 0, 0, 0, written, floats});
    Add({"attention scores", 2 * batch_ * seen_ * q * blocks, 0, rows_ * q * width_ * blocks,
         batch_ * cached_ * half_cache * blocks, floats});
    // Maximum, exponential, sum, quotient.
    Add({"softmax", 4 * batch_ * seen_ * static_cast<double>(config.heads) * blocks, 0, 0, 0,
         floats});
    Add({"attention values", 2 * batch_ * seen_ * q * blocks, 0, rows_ * q * width_ * blocks,
         batch_ * cached_ * half_cache * blocks, floats});
    Add({"gated activation", 5 * rows_ * inner * blocks, 0, 3 * rows_ * inner * width_ * blocks, 0,
         floats});
    Add({"residual sums", 2 * rows_ * hidden * blocks, 0, 6 * rows_ * hidden * width_ * blocks, 0,
         floats});
    // Logits of the last position of each sequence.
    const double vocab = static_cast<double>(config.vocab_size);
    Add({"lm_head", 2 * batch_ * vocab * hidden, storage_.head_bytes,
         batch_ * (hidden + vocab) * width_, 0, floats});
    result_.tokens_per_second = rows_ / result_.seconds;
    return std::move(result_);
  }

 private:
  double FloatPeak() const {
    return hardware_.ops.fp16 > 0 ? hardware_.ops.fp16 : hardware_.ops.fp32;
  }

  void AddLinear(const LayerStorage& layer) {
    const double out = static_cast<double>(layer.out), in = static_cast<double>(layer.in);
    const size_t dot = layer.name.rfind('.');
    Add({layer.name.substr(dot + 1), 2 * rows_ * out * in, layer.weight_bytes,
         rows_ * (in + out) * width_, 0, PeakOf(layer, hardware_)});
  }

  // One operation; those of a kind are shown together, each with its own bound.
  void Add(OperationCost cost) {
    const double compute = cost.ops / cost.peak_ops;
    const double memory = cost.bytes() / hardware_.bytes_per_second;
    cost.seconds = std::max(compute, memory);
    cost.is_memory_bound = memory >= compute;
    result_.seconds += cost.seconds;
    for (OperationCost& one : result_.operations) {
      if (one.kind != cost.kind) continue;
      one.ops += cost.ops;
      one.weight_bytes += cost.weight_bytes;
      one.activation_bytes += cost.activation_bytes;
      one.kv_bytes += cost.kv_bytes;
      one.seconds += cost.seconds;
      return;
    }
    result_.operations.push_back(std::move(cost));
  }

  const ModelStorage& storage_;
  const Hardware& hardware_;
  Phase phase_;
  double width_, batch_ = 1, rows_ = 1, seen_ = 0, cached_ = 0;
  Roofline result_;
};

}  // namespace

double ModelStorage::weight_bytes() const {
  double bytes = head_bytes + norm_bytes;
  for (const LayerStorage& layer : layers) bytes += layer.weight_bytes;
  return bytes;
}

ModelStorage StorageOf(const Checkpoint& checkpoint, const Manifest* manifest) {
  ModelStorage storage = CommonStorage(checkpoint);
  storage.label = manifest == nullptr ? "float" : manifest->recipe_name;
  for (const Shape& shape : LinearShapes(checkpoint)) {
    LayerStorage layer{shape.name, shape.out, shape.in, 0, 0, 0};
    const LayerRecord* record = nullptr;
    if (manifest != nullptr) {
      const auto found = std::ranges::find(manifest->layers, shape.name, &LayerRecord::name);
      if (found != manifest->layers.end()) record = &*found;
    }
    if (record == nullptr) {
      layer.weight_bytes = static_cast<double>(checkpoint.Weight(shape.name).size_bytes());
    } else {
      layer.weight_bytes = static_cast<double>(record->stored_bytes);
      if (record->scheme.type == NumberType::kInteger) layer.weight_bits = record->scheme.bits;
      if (record->activations && record->activations->scheme.type == NumberType::kInteger) {
        layer.input_bits = record->activations->scheme.bits;
      }
    }
    storage.layers.push_back(std::move(layer));
  }
  if (manifest != nullptr && manifest->kv_cache) {
    storage.kv_bytes_per_position =
        manifest->kv_cache->BytesPerPosition(storage.config.kv_heads, storage.config.head_dim);
  }
  SetBits(storage);
  return storage;
}

ModelStorage StorageOf(const Checkpoint& checkpoint, const Recipe& recipe) {
  ModelStorage storage = CommonStorage(checkpoint);
  storage.label = recipe.name;
  for (const Shape& shape : LinearShapes(checkpoint)) {
    LayerStorage layer{shape.name, shape.out, shape.in, 0, 0, 0};
    const LayerPlan plan = recipe.PlanFor(shape.name);
    if (plan.skip) {
      layer.weight_bytes = static_cast<double>(checkpoint.Weight(shape.name).size_bytes());
    } else {
      layer.weight_bytes =
          static_cast<double>(EstimateStoredBytes(plan.scheme, shape.out, shape.in));
      if (plan.scheme.type == NumberType::kInteger) layer.weight_bits = plan.scheme.bits;
      if (plan.activations && plan.activations->scheme.type == NumberType::kInteger) {
        layer.input_bits = plan.activations->scheme.bits;
      }
    }
    storage.layers.push_back(std::move(layer));
  }
  if (recipe.kv_cache) {
    storage.kv_bytes_per_position =
        recipe.kv_cache->BytesPerPosition(storage.config.kv_heads, storage.config.head_dim);
  }
  SetBits(storage);
  return storage;
}

void SetKvBytes(ModelStorage& storage, const std::string& kind) {
  const std::vector<std::string> known = {"fp32", "fp16", "int8", "int4"};
  const double numbers = 2 * static_cast<double>(storage.config.kv_features());
  // A float16 scale and zero point for each head of keys and of values.
  const double scales = 2 * 4 * static_cast<double>(storage.config.kv_heads);
  if (kind == "fp32") {
    storage.kv_bytes_per_position = 4 * numbers;
  } else if (kind == "fp16") {
    storage.kv_bytes_per_position = 2 * numbers;
  } else if (kind == "int8") {
    storage.kv_bytes_per_position = numbers + scales;
  } else if (kind == "int4") {
    storage.kv_bytes_per_position = numbers / 2 + scales;
  } else {
    ThrowUnknownName("--kv", "kind of cache", kind, known);
  }
}

Roofline PredictTime(const ModelStorage& storage, const Hardware& hardware, Phase phase,
                     const Work& work, double activation_bytes) {
  return Predictor(storage, hardware, phase, work, activation_bytes).Run();
}

}  // namespace qualm
