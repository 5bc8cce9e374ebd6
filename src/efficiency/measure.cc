// Runs a model folder as generation would run it, and measures loading, memory, prefill and
// decoding. Token ids are random, because speed does not depend on them.
#include "efficiency/measure.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "base/context.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"
#include "efficiency/energy.h"

namespace qualm {
namespace {

constexpr size_t kLoads = 3;  // loading is repeated, and the median counts

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Memory of this process that is resident now.
uint64_t ResidentBytes() {
  std::ifstream in("/proc/self/statm");
  uint64_t all = 0, resident = 0;
  in >> all >> resident;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// Writing 5 lowers the kernel's mark of the peak (VmHWM) to what is resident now. A kernel or a
// sandbox that refuses leaves the mark of the whole process.
void ResetPeak() { std::ofstream("/proc/self/clear_refs") << "5"; }

uint64_t PeakBytes() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("VmHWM:")) return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  // Some sandboxes leave the line out.
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<uint64_t>(usage.ru_maxrss) * 1024;
}

// How many of the blocks' linear layers are stored in which format, in order of first use.
std::vector<FormatUse> FormatsOf(const Decoder& decoder) {
  std::vector<FormatUse> uses;
  for (const auto& block : decoder.blocks) {
    for (const LinearSite& site : SitesOf(block->plan())) {
      const LinearWeight& weight = *block->Linear(site.name).weight;
      auto use = std::ranges::find(uses, weight.format(), &FormatUse::format);
      if (use == uses.end()) {
        use = uses.insert(use, FormatUse{.format = std::string(weight.format())});
        use->is_dequantized = use->format.find("dequantized") != std::string::npos;
      }
      ++use->layers;
      use->bytes += weight.weight_bytes();
    }
  }
  return uses;
}

// Seconds of one prompt and of the tokens that follow it, and joules of those tokens.
struct Sample {
  double prefill = 0, decode = 0;
  std::optional<double> joules;
};

// Runs one prompt with its decoded tokens, as often as it is asked. It only bundles what all runs
// share; the caches are new for every run.
class Runner {
 public:
  Runner(const Decoder& decoder, const SpeedOptions& options, const Context& context)
      : decoder_(decoder), options_(options), context_(context) {}

  Sample Run(size_t context, size_t batch, uint64_t seed) {
    // Random prompts of a fixed seed, and caches that are large enough before the clock starts.
    Rng rng(seed, "bench");
    const size_t length = context + options_.gen;
    std::vector<std::vector<TokenId>> ids(batch, std::vector<TokenId>(length));
    std::vector<KvCache> caches;
    caches.reserve(batch);
    for (std::vector<TokenId>& one : ids) {
      for (TokenId& id : one) id = static_cast<TokenId>(rng.Below(decoder_.plan.vocab_size()));
      caches.push_back(decoder_.MakeCache(length, /*rollback=*/0));
    }

    Sample sample;
    auto start = std::chrono::steady_clock::now();
    Step(ids, caches, 0, context);
    sample.prefill = SecondsSince(start);

    // Decoding starts from the full cache; energy is measured for it alone.
    meter_.Start();
    start = std::chrono::steady_clock::now();
    for (size_t i = 0; i < options_.gen; ++i) Step(ids, caches, context + i, 1);
    sample.decode = SecondsSince(start);
    sample.joules = meter_.Joules();
    return sample;
  }

 private:
  // Processes tokens [first, first + count) of every sequence, and computes the logits of the last
  // one.
  void Step(const std::vector<std::vector<TokenId>>& ids, std::vector<KvCache>& caches,
            size_t first, size_t count) {
    std::vector<SequenceSlice> slices;
    for (size_t b = 0; b < ids.size(); ++b) {
      slices.push_back({&caches[b], std::span<const TokenId>(ids[b]).subspan(first, count)});
    }

    const Matrix hidden = decoder_.Forward(slices, context_);

    // Only the last position of each sequence needs logits, as in generation.
    Matrix last = Matrix::Uninitialized(ids.size(), hidden.cols());
    for (size_t b = 0; b < ids.size(); ++b) {
      std::ranges::copy(hidden.row((b + 1) * count - 1), last.row(b).begin());
    }
    Matrix logits = Matrix::Uninitialized(ids.size(), decoder_.plan.vocab_size());
    decoder_.Logits(last, logits, context_);
  }

  const Decoder& decoder_;
  const SpeedOptions& options_;
  const Context& context_;
  EnergyMeter meter_;
};

// One combination of context and batch, repeated.
SpeedPoint MeasurePoint(Runner& runner, size_t context, size_t batch, const SpeedOptions& options) {
  (void)runner.Run(context, batch, 0);  // warms caches and pages
  SpeedPoint point{context, batch, {}, {}, {}};

  // Every repetition has other random tokens, but the same for all models.
  std::vector<double> prefill, decode, joules;
  for (size_t r = 0; r < options.repetitions; ++r) {
    const Sample sample = runner.Run(context, batch, r + 1);
    prefill.push_back(static_cast<double>(batch * context) / sample.prefill);
    decode.push_back(static_cast<double>(batch * options.gen) / sample.decode);
    if (sample.joules) {
      joules.push_back(*sample.joules / static_cast<double>(batch * options.gen));
    }
  }

  point.prefill = SpreadOf(std::move(prefill));
  point.decode = SpreadOf(std::move(decode));
  if (joules.size() == options.repetitions) point.joules_per_token = SpreadOf(joules).median;
  return point;
}

}  // namespace

SpeedResult MeasureSpeed(const ModelSource& source, const SpeedOptions& options,
                         const Context& context) {
  const size_t model_context = ReadModelPlan(source).context;
  std::vector<size_t> contexts = options.contexts;
  if (contexts.empty()) contexts = {options.prompt};
  for (size_t context_length : contexts) {
    if (context_length > model_context || options.gen > model_context - context_length) {
      ThrowBadInput("bench",
                    StrCat("a prompt and tokens to decode of at most ", model_context, " together"),
                    StrCat(context_length, " and ", options.gen));
    }
  }

  // The peak is to be that of this measurement.
  ResetPeak();

  // Load several times; the last model stays. Only one is in memory at a time.
  SpeedResult result;
  std::vector<double> loads;
  Model model;
  for (size_t i = 0; i < kLoads; ++i) {
    model = Model();
    const auto start = std::chrono::steady_clock::now();
    model = LoadModel(source, {}, context);
    loads.push_back(SecondsSince(start));
  }

  result.load_seconds = SpreadOf(std::move(loads));
  result.weight_bytes = model.decoder->weight_bytes();
  result.formats = FormatsOf(*model.decoder);

  // One run brings the model to its steady state: weights are packed and scratch memory is
  // allocated.
  Runner runner(*model.decoder, options, context);
  (void)runner.Run(contexts[0], 1, 0);
  result.steady_memory_bytes = ResidentBytes();

  // Then every context with every batch.
  context.progress.Begin("measure speed", contexts.size() * options.batches.size());
  for (size_t context_length : contexts) {
    for (size_t batch : options.batches) {
      result.points.push_back(MeasurePoint(runner, context_length, batch, options));
      context.progress.Advance(result.points.size(),
                               StrCat("context ", context_length, ", batch ", batch));
    }
  }
  context.progress.End();

  result.peak_memory_bytes = PeakBytes();
  return result;
}

}  // namespace qualm
