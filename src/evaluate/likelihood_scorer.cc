// Sorts the requests into a depth-first walk through the tree of their prefixes (MakeUnits), cuts
// the walk into lanes, each with a cache (CutIntoLanes), and runs one unit of several lanes in each
// forward pass (Scorer). Logits are computed only for the rows that score a continuation.
#include "evaluate/likelihood_scorer.h"

#include <algorithm>
#include <compare>
#include <optional>

#include "base/context.h"
#include "base/error.h"
#include "evaluate/row_scores.h"
#include "model/decoder.h"

namespace qualm {
namespace {

// Requests with the same inputs and the same first scored position: they differ at most in their
// last token.
struct Unit {
  std::span<const TokenId> inputs;  // all tokens except the last
  size_t first_row = 0;             // the input whose logits predict the continuation's first token
  size_t kept = 0;                  // inputs that the previous unit has left in the cache
  size_t regime = 0;                // RotaryRegime: keys serve units of the same one only
  struct Target {
    TokenId last;
    std::vector<size_t> requests;
  };
  std::vector<Target> targets;

  size_t new_tokens() const { return inputs.size() - kept; }
};

size_t CommonPrefix(std::span<const TokenId> a, std::span<const TokenId> b) {
  const size_t most = std::min(a.size(), b.size());
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(most), b.begin()).first -
      a.begin());
}

// The requests' units in the order of the depth-first walk.
std::vector<Unit> MakeUnits(std::span<const LikelihoodRequest> requests, const ModelPlan& plan) {
  std::vector<size_t> order(requests.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto inputs_of = [&](size_t i) {
    return std::span(requests[i].tokens).first(requests[i].tokens.size() - 1);
  };

  std::vector<size_t> regimes;
  for (size_t i = 0; i < requests.size(); ++i) {
    regimes.push_back(RotaryRegime(plan, inputs_of(i).size()));
  }

  // By inputs that can share keys, then by where the continuation begins, then by the last token.
  std::ranges::sort(order, [&](size_t a, size_t b) {
    if (regimes[a] != regimes[b]) return regimes[a] < regimes[b];
    const auto x = inputs_of(a), y = inputs_of(b);
    const auto by_inputs =
        std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end());
    if (by_inputs != 0) return by_inputs < 0;
    if (requests[a].context_length != requests[b].context_length) {
      return requests[a].context_length < requests[b].context_length;
    }
    const TokenId last_a = requests[a].tokens.back(), last_b = requests[b].tokens.back();
    return last_a != last_b ? last_a < last_b : a < b;
  });

  // Neighbours in this order with equal inputs form a unit.
  std::vector<Unit> units;
  for (size_t i : order) {
    const auto inputs = inputs_of(i);
    const size_t first_row = requests[i].context_length - 1;
    const bool is_same = !units.empty() && units.back().first_row == first_row &&
                         std::ranges::equal(units.back().inputs, inputs);
    if (!is_same) {
      // The row of the first logits that are read must be computed again.
      const bool shares_keys = !units.empty() && units.back().regime == regimes[i];
      const size_t kept =
          shares_keys ? std::min(CommonPrefix(units.back().inputs, inputs), first_row) : 0;
      units.push_back({inputs, first_row, kept, regimes[i], {}});
    }

    std::vector<Unit::Target>& targets = units.back().targets;
    if (targets.empty() || targets.back().last != requests[i].tokens.back()) {
      targets.push_back({requests[i].tokens.back(), {}});
    }
    targets.back().requests.push_back(i);
  }
  return units;
}

// A part of the walk, with its cache. `next` is the unit that runs next.
struct Lane {
  std::span<Unit> units;
  std::optional<KvCache> cache;
  size_t next = 0;

  size_t capacity() const {
    size_t most = 0;
    for (const Unit& unit : units) most = std::max(most, unit.inputs.size());
    return most;
  }

  // The furthest that the cache is cut back before a unit that keeps some of it.
  size_t rollback() const {
    size_t furthest = 0, most = 0;
    for (const Unit& unit : units) {
      if (unit.kept == 0) furthest = 0;
      if (unit.kept < furthest) most = std::max(most, furthest - unit.kept);
      furthest = std::max(furthest, unit.inputs.size());
    }
    return most;
  }
};

// Cuts the walk into parts of about the same number of new tokens, at places where little is lost:
// the first unit of a part must compute what it shared with the unit before it.
std::vector<Lane> CutIntoLanes(std::vector<Unit>& units, size_t count) {
  // With running sums the cuts are found by bisection.
  std::vector<uint64_t> sums(units.size() + 1, 0);  // of new tokens before a unit
  for (size_t i = 0; i < units.size(); ++i) sums[i + 1] = sums[i] + units[i].new_tokens();
  const auto at_share = [&](double share) {  // the unit before which this share of all tokens lies
    const auto tokens = static_cast<uint64_t>(share * static_cast<double>(sums.back()));
    return static_cast<size_t>(std::ranges::lower_bound(sums, tokens) - sums.begin());
  };

  std::vector<Lane> lanes;
  size_t first = 0;
  for (size_t lane = 1; lane <= count && first < units.size(); ++lane) {
    size_t end = units.size();

    // Within a quarter of a part around the equal cut, the unit that shares least with the one
    // before.
    if (lane < count) {
      const double share = static_cast<double>(lane) / static_cast<double>(count);
      const double slack = 0.25 / static_cast<double>(count);
      const size_t from = std::max(first + 1, at_share(share - slack));
      const size_t to = std::min(units.size(), at_share(share + slack) + 1);
      if (from >= to) continue;
      end = from;
      for (size_t i = from; i < to; ++i) {
        if (units[i].kept < units[end].kept) end = i;
      }
    }
    lanes.push_back({std::span(units).subspan(first, end - first), {}, 0});
    first = end;
  }
  for (Lane& lane : lanes) lane.units[0].kept = 0;  // its cache is empty
  return lanes;
}

// One call of ScoreLikelihoods. Run is called once. Each round takes the next unit of some lanes
// (NextBatch) through the model (RunBatch), collects the rows that need logits (Answer), and turns
// them into answers (Flush). Rows wait in between so that logits are computed in large products.
class Scorer {
 public:
  Scorer(const Decoder& decoder, const ScorerOptions& options, const Context& context,
         const AnswerSink& on_answer, const HiddenSink& on_hidden)
      : decoder_(decoder),
        options_(options),
        context_(context),
        on_answer_(on_answer),
        on_hidden_(on_hidden) {}

  ScorerCounts Run(std::span<const LikelihoodRequest> requests, const PassSink& on_pass) {
    std::vector<Unit> units = MakeUnits(requests, decoder_.plan);
    // A request's inputs count once for each of its distinct last tokens.
    counts_.requests = requests.size();
    for (const Unit& unit : units) {
      counts_.distinct += unit.targets.size();
      counts_.tokens += unit.inputs.size() * unit.targets.size();
    }

    std::vector<Lane> lanes = CutIntoLanes(units, LaneCount(units));
    while (true) {
      std::vector<Lane*> batch = NextBatch(lanes);
      if (batch.empty()) break;
      RunBatch(batch);
      if (on_pass) on_pass(answered_);
      // A finished lane gives its cache's memory back.
      for (Lane* lane : batch) {
        if (++lane->next == lane->units.size()) lane->cache.reset();
      }
    }
    return counts_;
  }

 private:
  // The number of lanes: as many as fill a pass with average requests, limited by the memory of
  // their caches, and such that computing shared prefixes again costs at most a quarter of all
  // work.
  size_t LaneCount(const std::vector<Unit>& units) const {
    if (units.empty()) return 1;
    // Averages over all units.
    uint64_t tokens = 0, kept = 0;
    size_t longest = 0;
    for (const Unit& unit : units) {
      tokens += unit.new_tokens();
      kept += unit.kept;
      longest = std::max(longest, unit.inputs.size());
    }

    const uint64_t usual = std::max<uint64_t>(1, tokens / units.size());
    // What a lane cuts back is known only when there are lanes: at most everything.
    const uint64_t bytes = KvCache::BytesOf(decoder_.plan, longest);
    const uint64_t room = options_.cache_bytes / std::max<uint64_t>(1, bytes);
    // Each further lane computes one shared prefix again.
    const uint64_t shared = std::max<uint64_t>(1, kept / units.size());
    const uint64_t wanted = std::min((options_.batch_tokens + usual - 1) / usual,
                                     std::max<uint64_t>(1, tokens / (4 * shared)));
    return static_cast<size_t>(std::clamp<uint64_t>(std::min(wanted, room), 1, units.size()));
  }

  // Lanes whose next units fit into one pass; lanes that have done least come first.
  std::vector<Lane*> NextBatch(std::vector<Lane>& lanes) const {
    std::vector<Lane*> waiting;
    for (Lane& lane : lanes) {
      if (lane.next < lane.units.size()) waiting.push_back(&lane);
    }
    std::ranges::stable_sort(waiting, {}, [](const Lane* lane) { return lane->next; });

    // The first lane is always taken, even if its unit alone exceeds the pass.
    std::vector<Lane*> batch;
    size_t tokens = 0;
    for (Lane* lane : waiting) {
      const size_t more = lane->units[lane->next].new_tokens();
      if (!batch.empty() && tokens + more > options_.batch_tokens) continue;
      batch.push_back(lane);
      tokens += more;
    }
    return batch;
  }

  // Runs the next unit of each lane of the batch in one forward pass.
  void RunBatch(const std::vector<Lane*>& batch) {
    std::vector<SequenceSlice> slices;
    for (Lane* lane : batch) {
      // The cache keeps the prefix that this unit shares with the one before.
      const Unit& unit = lane->units[lane->next];
      if (!lane->cache) {
        lane->cache.emplace(decoder_.MakeCache(lane->capacity(), lane->rollback()));
      }
      lane->cache->Truncate(unit.kept);
      // A request is turned as if it were alone.
      if (unit.kept == 0) lane->cache->SetSequenceLength(unit.inputs.size());
      slices.push_back({&*lane->cache, unit.inputs.subspan(unit.kept)});
      counts_.computed_tokens += unit.new_tokens();
    }

    const Matrix hidden = decoder_.Forward(slices, context_);
    // The rows of each unit that predict its continuation.
    size_t first = 0;
    for (Lane* lane : batch) {
      const Unit& unit = lane->units[lane->next];
      const size_t begin = unit.first_row - unit.kept;
      Answer(unit, hidden.view().Rows(first + begin, unit.new_tokens() - begin));
      first += unit.new_tokens();
    }

    Flush();
  }

  // The rows of a unit that are waiting for their logits.
  struct Waiting {
    const Unit* unit;
    Span2D<const float> hidden;
    size_t row = 0;  // first row among all that are waiting
  };

  // Hands the rows over as they are, or lets them wait for their logits.
  void Answer(const Unit& unit, Span2D<const float> hidden) {
    // All requests of the unit score the same rows.
    if (on_hidden_) {
      std::vector<size_t> requests;
      for (const Unit::Target& target : unit.targets) {
        requests.insert(requests.end(), target.requests.begin(), target.requests.end());
      }
      on_hidden_(requests, hidden);
      answered_ += requests.size();
      return;
    }

    waiting_.push_back({&unit, hidden, waiting_rows_});
    waiting_rows_ += hidden.rows();
    if (waiting_rows_ >= kMostRows) Flush();
  }

  // Computes the logits of all waiting rows and reports the answers.
  void Flush() {
    if (waiting_.empty()) return;
    // The rows of all units in one matrix.
    const size_t vocab = decoder_.plan.vocab_size();
    Matrix hidden = Matrix::Uninitialized(waiting_rows_, decoder_.plan.hidden_size);
    for (const Waiting& waiting : waiting_) {
      for (size_t r = 0; r < waiting.hidden.rows(); ++r) {
        std::ranges::copy(waiting.hidden.row(r), hidden.row(waiting.row + r).begin());
      }
    }

    // The logits of a few rows at a time; each row's targets are read from it at once, and the row
    // is overwritten by later ones.
    std::vector<std::vector<double>> log_likelihoods(waiting_rows_);
    std::vector<std::vector<uint8_t>> greedy(waiting_rows_);
    std::vector<std::vector<TokenId>> targets = TargetsOfRows();
    Matrix logits = Matrix::Uninitialized(std::min(waiting_rows_, kRowsAtOnce), vocab);
    for (size_t row = 0; row < waiting_rows_; row += kRowsAtOnce) {
      const size_t count = std::min(kRowsAtOnce, waiting_rows_ - row);
      decoder_.Logits(hidden.view().Rows(row, count), logits.view().Rows(0, count), context_);
      context_.pool.ParallelFor(count, [&](size_t i) {
        const std::span<const float> values = logits.row(i);
        const auto best = static_cast<TokenId>(std::ranges::max_element(values) - values.begin());
        for (TokenId target : targets[row + i]) {
          log_likelihoods[row + i].push_back(-NegativeLogLikelihood(values, target));
          greedy[row + i].push_back(best == target ? 1 : 0);
        }
      });
    }

    for (const Waiting& waiting : waiting_) Report(waiting, log_likelihoods, greedy);
    waiting_.clear();
    waiting_rows_ = 0;
  }

  // For each waiting row the tokens that it has to score. All rows of a unit except the last have
  // one target, the next input; the last row has the units' different last tokens.
  std::vector<std::vector<TokenId>> TargetsOfRows() const {
    std::vector<std::vector<TokenId>> targets(waiting_rows_);
    for (const Waiting& waiting : waiting_) {
      const Unit& unit = *waiting.unit;
      for (size_t r = 0; r + 1 < waiting.hidden.rows(); ++r) {
        targets[waiting.row + r].push_back(unit.inputs[unit.first_row + r + 1]);
      }
      for (const Unit::Target& target : unit.targets) {
        targets[waiting.row + waiting.hidden.rows() - 1].push_back(target.last);
      }
    }
    return targets;
  }

  // The sum over the rows that all targets share, then one answer for each last token.
  void Report(const Waiting& waiting, const std::vector<std::vector<double>>& log_likelihoods,
              const std::vector<std::vector<uint8_t>>& greedy) {
    // Rows before the last one score tokens that all of the unit's requests contain.
    LikelihoodAnswer common{0, true};
    const size_t last = waiting.row + waiting.hidden.rows() - 1;
    for (size_t row = waiting.row; row < last; ++row) {
      common.log_likelihood += log_likelihoods[row][0];
      common.is_greedy &= greedy[row][0] != 0;
    }

    for (size_t t = 0; t < waiting.unit->targets.size(); ++t) {
      const Unit::Target& target = waiting.unit->targets[t];
      on_answer_(target.requests, {common.log_likelihood + log_likelihoods[last][t],
                                   common.is_greedy && greedy[last][t] != 0});
      answered_ += target.requests.size();
    }
  }

  static constexpr size_t kRowsAtOnce = 256;  // rows of logits in memory
  static constexpr size_t kMostRows = 4096;   // rows that may wait for their logits

  const Decoder& decoder_;
  const ScorerOptions& options_;
  const Context& context_;
  const AnswerSink& on_answer_;
  const HiddenSink& on_hidden_;
  ScorerCounts counts_;
  std::vector<Waiting> waiting_;
  size_t waiting_rows_ = 0;
  uint64_t answered_ = 0;
};

}  // namespace

ScorerCounts ScoreLikelihoods(const Decoder& decoder, std::span<const LikelihoodRequest> requests,
                              const ScorerOptions& options, const Context& context,
                              const AnswerSink& on_answer, const PassSink& on_pass,
                              const HiddenSink& on_hidden) {
  for (const LikelihoodRequest& request : requests) {
    QUALM_CHECK(request.context_length > 0 && request.context_length < request.tokens.size());
    QUALM_CHECK(request.tokens.size() - 1 <= decoder.plan.context);
  }
  return Scorer(decoder, options, context, on_answer, on_hidden).Run(requests, on_pass);
}

}  // namespace qualm
