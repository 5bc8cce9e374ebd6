#include "quantize/block_transforms.h"

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"
#include "quantize/quality.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

constexpr size_t kSampleRows = 2048;

class BlockTransformer {
 public:
  BlockTransformer(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors)
      : run_(run), block_(block), tensors_(tensors), family_(run.checkpoint.family()) {
    for (const LinearGroup& group : family_.groups) {
      for (const LinearSpec& linear : group.linears) {
        plans_[linear.name] = run_.recipe.PlanFor(LinearName(family_, block_.index(), linear.name));
      }
    }
  }

  void Run() {
    std::vector<LayerStats> stats;
    for (const auto& transform : run_.recipe.transforms) {
      if (!transform->needs_data()) continue;  // the basis is changed already
      stats = Collect();
      for (size_t g = 0; g < stats.size(); ++g) Edit(g, *transform, stats[g]);
      tensors_.PutInto(block_, run_.pool);
    }
    for (const auto& transform : run_.recipe.transforms) {
      for (size_t g = 0; g < stats.size(); ++g) Clip(g, *transform, stats[g]);
    }
  }

 private:
  std::vector<LayerStats> Collect() {
    std::vector<Collector> collectors;
    for (const LinearGroup& group : family_.groups) {
      CollectorOptions options;
      options.channel_statistics = true;
      options.sample_rows = kSampleRows;
      options.place =
          StrCat("inputs of ", LinearName(family_, block_.index(), ""), group.linears[0].name);
      collectors.emplace_back(SizeOf(group.in, run_.checkpoint.config()),
                              run_.calibration->tokens(), options);
    }
    run_.calibration->Observe(block_, run_.pool, [&](size_t g, Span2D<const float> input) {
      collectors[g].Add(TransformInputs(tensors_.Online(g), input, run_.pool), run_.pool);
    });
    std::vector<LayerStats> stats;
    for (Collector& collector : collectors) stats.push_back(collector.Take());
    return stats;
  }

  // Layers that stay float cannot carry an online operation.
  bool HasFloatLayer(size_t g) const {
    return std::ranges::any_of(family_.groups[g].linears, [&](const LinearSpec& linear) {
      return plans_.at(linear.name).skip;
    });
  }
  bool IsSkipped(size_t g) const {
    return std::ranges::all_of(family_.groups[g].linears, [&](const LinearSpec& linear) {
      return plans_.at(linear.name).skip;
    });
  }

  TransformGroup View(size_t g, const LayerStats& stats) {
    TransformGroup view;
    for (const LinearSpec& linear : family_.groups[g].linears) {
      const LayerPlan& plan = plans_.at(linear.name);
      TransformLinear item;
      item.name = LinearName(family_, block_.index(), linear.name);
      item.weight = tensors_.Weight(linear.name);
      item.feeds_scores = linear.feeds_scores;
      if (!plan.skip) {
        item.scheme = &plan.scheme;
        if (plan.activations) item.activations = &*plan.activations;
      }
      view.linears.push_back(std::move(item));
    }
    view.stats = &stats;
    view.can_fold = tensors_.CanFold(g);
    return view;
  }

  void Edit(size_t g, const Transform& transform, LayerStats& stats) {
    if (IsSkipped(g)) return;
    TransformGroup view = View(g, stats);
    AddModuleLoss(g, stats, view);
    const InputEdit edit = transform.Choose(view, run_.pool);
    const bool needs_online =
        !edit.shift.empty() || (!edit.scale.empty() && (edit.keep_online || !view.can_fold));
    if (needs_online && HasFloatLayer(g)) {
      run_.progress.Warn(StrCat(view.linears[0].name, ": ", transform.name(),
                                " is left out: a layer beside it stays float"));
      RestoreFloat(g);
      return;
    }
    tensors_.Apply(g, transform.name(), edit, run_.pool);
    EditSample(edit, stats);
    RestoreFloat(g);
  }

  // A module loss left its last candidate in the block.
  void RestoreFloat(size_t g) {
    if (!used_module_loss_) return;
    tensors_.PutGroup(g, block_, run_.pool);
    tensors_.PutInto(block_, run_.pool);
    used_module_loss_ = false;
  }

  static void EditSample(const InputEdit& edit, LayerStats& stats) {
    for (size_t t = 0; t < stats.sample.rows(); ++t) {
      std::span<float> row = stats.sample.row(t);
      for (size_t c = 0; c < edit.shift.size(); ++c) row[c] -= edit.shift[c];
      for (size_t c = 0; c < edit.scale.size(); ++c) row[c] /= edit.scale[c];
    }
  }

  // The attention and the MLP open with the groups that follow a norm.
  void AddModuleLoss(size_t g, const LayerStats& stats, TransformGroup& view) {
    const std::string& norm = family_.groups[g].preceding_norm;
    if (norm.empty()) return;
    const bool is_attention = norm == family_.attention_norm;
    view.module_loss = [this, g, is_attention, &stats, expected = std::shared_ptr<Matrix>()](
                           std::span<const Matrix> weights) mutable {
      if (expected == nullptr) {
        expected = std::make_shared<Matrix>(ModuleOutput(is_attention, stats));
      }
      used_module_loss_ = true;
      const std::vector<LinearSpec>& linears = family_.groups[g].linears;
      for (size_t i = 0; i < linears.size(); ++i) {
        const Matrix& w = weights[i];
        block_.Linear(linears[i].name).weight =
            MakeDenseWeight({w.data(), DType::kF32, w.rows(), w.cols()}, run_.pool);
      }
      return SquaredDistance(*expected, ModuleOutput(is_attention, stats));
    };
  }

  Matrix ModuleOutput(bool is_attention, const LayerStats& stats) const {
    if (is_attention) return run_.calibration->AttentionOutput(block_, run_.pool);
    Matrix output(stats.sample.rows(), run_.checkpoint.config().hidden_size);
    block_.AddMlpOutput(block_.Gated(stats.sample, run_.pool), output, run_.pool);
    return output;
  }

  void Clip(size_t g, const Transform& transform, const LayerStats& stats) {
    if (IsSkipped(g)) return;
    std::vector<WeightClip> clips = transform.Clip(View(g, stats), run_.pool);
    for (size_t i = 0; i < clips.size(); ++i) {
      if (clips[i].empty()) continue;
      tensors_.Clip(family_.groups[g].linears[i].name) = std::move(clips[i]);
    }
  }

  const BlockRun& run_;
  DecoderBlock& block_;
  BlockTensors& tensors_;
  const Family& family_;
  std::map<std::string, LayerPlan> plans_;
  bool used_module_loss_ = false;
};

}  // namespace

void TransformBlock(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors) {
  BlockTransformer(run, block, tensors).Run();
}

}  // namespace qualm
