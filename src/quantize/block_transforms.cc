// Runs a recipe's transforms over the inputs of one block, one transform after another; each one
// sees the statistics that the edits before it have led to.
#include "quantize/block_transforms.h"

#include <algorithm>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "base/strings.h"
#include "kernels/transformed_weight.h"
#include "methods/quality.h"
#include "tensor/dense.h"

namespace qualm {
namespace {

constexpr size_t kSampleRows = 2048;  // rows of inputs that transforms search with

// The transforms of one block. Run is called once. A transform sees an input's readers through
// View, answers in Edit, and the edits go into the BlockTensors and from there into the running
// block.
class BlockTransformer {
 public:
  BlockTransformer(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors)
      : run_(run), block_(block), tensors_(tensors), inputs_(block.inputs()) {
    for (const LinearSite& site : SitesOf(block.plan())) {
      plans_[site.name] = run_.recipe.PlanFor(FullName(site.name));
    }
  }

  void Run() {
    std::vector<LayerStats> stats;
    for (const auto& transform : run_.recipe.transforms) {
      if (!transform->needs_data()) continue;  // the basis is changed already
      stats = Collect();
      for (size_t i = 0; i < stats.size(); ++i) Edit(i, *transform, stats[i]);
      tensors_.PutInto(block_, run_.context);
    }

    // Bounds are searched for after all edits, because they apply to the weights that will be
    // rounded.
    for (const auto& transform : run_.recipe.transforms) {
      for (size_t i = 0; i < stats.size(); ++i) Clip(i, *transform, stats[i]);
    }
  }

 private:
  // Statistics of all inputs from one pass over the block as it is now.
  std::vector<LayerStats> Collect() {
    std::vector<Collector> collectors;
    // Channel statistics for the closed-form choices, a sample for the searches.
    for (const SiteInput& input : inputs_) {
      CollectorOptions options;
      options.channel_statistics = true;
      options.sample_rows = kSampleRows;
      options.place = StrCat("inputs of ", FullName(input.sites[0].name));
      collectors.emplace_back(input.width, run_.calibration->tokens(), options);
    }

    // The layers see the inputs after the online operations that earlier transforms added.
    run_.calibration->Observe(block_, run_.context, [&](size_t i, Span2D<const float> value) {
      collectors[i].Add(TransformInputs(tensors_.Online(i), value, run_.context), run_.context);
    });

    std::vector<LayerStats> stats;
    for (Collector& collector : collectors) stats.push_back(collector.Take());
    return stats;
  }

  std::string FullName(const std::string& site) const {
    return run_.checkpoint.plan().NameIn(block_.index(), site);
  }

  // Layers that stay float cannot carry an online operation.
  bool HasFloatLayer(size_t i) const {
    return std::ranges::any_of(inputs_[i].sites,
                               [&](const LinearSite& site) { return plans_.at(site.name).skip; });
  }
  bool IsSkipped(size_t i) const {
    return std::ranges::all_of(inputs_[i].sites,
                               [&](const LinearSite& site) { return plans_.at(site.name).skip; });
  }

  // What a transform sees of one input.
  InputReaders View(size_t i, const LayerStats& stats) {
    InputReaders view;
    for (const LinearSite& site : inputs_[i].sites) {
      const LayerPlan& plan = plans_.at(site.name);
      TransformLinear item;
      item.name = FullName(site.name);
      item.weight = tensors_.Weight(site.name);
      item.feeds_scores = FeedsScores(site.role);

      // A layer that the recipe skips has no scheme.
      if (!plan.skip) {
        item.scheme = &plan.scheme;
        if (plan.activations) item.activations = &*plan.activations;
      }
      view.linears.push_back(std::move(item));
    }

    view.stats = &stats;
    view.can_fold = tensors_.CanFold(i);
    return view;
  }

  // Lets the transform choose for one input, and makes the edit.
  void Edit(size_t i, const Transform& transform, LayerStats& stats) {
    if (IsSkipped(i)) return;
    InputReaders view = View(i, stats);
    // A search by the module's loss leaves its last candidate in the block.
    ModuleLoss module_loss(*this, i, stats);
    if (inputs_[i].reads_residual) {
      view.module_loss = [&](std::span<const Matrix> weights) { return module_loss.Of(weights); };
    }

    const InputEdit edit = transform.Choose(view, run_.context);

    // An online operation changes what every reader sees, so all of them must be quantized.
    const bool needs_online =
        !edit.shift.empty() || (!edit.scale.empty() && (edit.keep_online || !view.can_fold));
    if (needs_online && HasFloatLayer(i)) {
      run_.context.progress.Warn(
          StrCat(view.linears[0].name, ": ", transform.name(),
                 " is left out: a layer that reads the same input stays float"));
      module_loss.Restore();
      return;
    }

    tensors_.Apply(i, transform.name(), edit, run_.context);
    EditSample(edit, stats);
    module_loss.Restore();
  }

  // The sample follows the edit; a new pass is not needed until the next transform.
  static void EditSample(const InputEdit& edit, LayerStats& stats) {
    for (size_t t = 0; t < stats.sample.rows(); ++t) {
      std::span<float> row = stats.sample.row(t);
      for (size_t c = 0; c < edit.shift.size(); ++c) row[c] -= edit.shift[c];
      for (size_t c = 0; c < edit.scale.size(); ++c) row[c] /= edit.scale[c];
    }
  }

  // ‖f(x) − f̂(x)‖² of the branches that an input of the hidden states opens, with other weights in
  // the layers that read it. Of may be called for any number of candidates; the first call computes
  // f(x). It is a class because it must undo its changes to the block when the search ends.
  class ModuleLoss {
   public:
    ModuleLoss(BlockTransformer& owner, size_t input, const LayerStats& stats)
        : owner_(owner), input_(input), stats_(stats) {}
    ModuleLoss(const ModuleLoss&) = delete;
    ModuleLoss& operator=(const ModuleLoss&) = delete;

    // Puts the weights back that the last candidate replaced; after the edits, if there are any, so
    // that the block continues with the edited weights.
    void Restore() {
      if (!expected_) return;
      owner_.tensors_.PutReaders(input_, owner_.block_, owner_.run_.context);
      owner_.tensors_.PutInto(owner_.block_, owner_.run_.context);
    }

    double Of(std::span<const Matrix> weights) {
      if (!expected_) expected_ = Output();
      const std::vector<LinearSite>& sites = owner_.inputs_[input_].sites;
      for (size_t s = 0; s < sites.size(); ++s) {
        const Matrix& w = weights[s];
        owner_.block_.Linear(sites[s].name).weight =
            MakeDenseWeight({w.data(), DType::kF32, w.rows(), w.cols()}, owner_.run_.context);
      }
      return SquaredDistance(*expected_, Output());
    }

   private:
    // Whether tokens mix anywhere between the input and the end of the branches that it opens.
    bool NeedsSequences(size_t input) const {
      if (owner_.inputs_[input].needs_sequences) return true;
      return std::ranges::any_of(owner_.block_.MadeBy(input),
                                 [&](size_t later) { return NeedsSequences(later); });
    }

    // Attention needs whole sequences; branches that see tokens one by one take the sample.
    Matrix Output() const {
      if (NeedsSequences(input_)) {
        return owner_.run_.calibration->BranchOutput(owner_.block_, input_, owner_.run_.context);
      }
      return owner_.block_.BranchOutput(input_, {}, stats_.sample, owner_.run_.context);
    }

    BlockTransformer& owner_;
    size_t input_;
    const LayerStats& stats_;
    std::optional<Matrix> expected_;
  };

  void Clip(size_t i, const Transform& transform, const LayerStats& stats) {
    if (IsSkipped(i)) return;
    std::vector<WeightClip> clips = transform.Clip(View(i, stats), run_.context);
    for (size_t s = 0; s < clips.size(); ++s) {
      if (clips[s].empty()) continue;
      tensors_.Clip(inputs_[i].sites[s].name) = std::move(clips[s]);
    }
  }

  const BlockRun& run_;
  DecoderBlock& block_;
  BlockTensors& tensors_;
  const std::vector<SiteInput>& inputs_;
  std::map<std::string, LayerPlan> plans_;  // by the linear layer's name inside the block
};

}  // namespace

void TransformBlock(const BlockRun& run, DecoderBlock& block, BlockTensors& tensors) {
  BlockTransformer(run, block, tensors).Run();
}

}  // namespace qualm
