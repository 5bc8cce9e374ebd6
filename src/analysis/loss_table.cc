// The statistics of losses that are crossed by seed and cluster: standard errors by a hierarchical
// bootstrap, degrees of freedom by Satterthwaite's rule from a two-way analysis of variance,
// p-values by Student's t, and Holm's adjustment. Definitions and sources:
// docs/studies/statistics.md.
#include "analysis/loss_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "analysis/distributions.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/strings.h"

namespace qualm {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// One stratum of a table: its clusters, their total weight, and its weighted mean loss.
struct Stratum {
  std::vector<size_t> clusters;
  double weight = 0, mean = 0;
};

// Sums first; they become means once the weights are known.
std::vector<Stratum> StrataOf(const LossTable& table) {
  std::vector<Stratum> strata;
  for (size_t c = 0; c < table.clusters(); ++c) {
    const size_t s = table.strata()[c];
    if (s >= strata.size()) strata.resize(s + 1);
    strata[s].clusters.push_back(c);
    strata[s].weight += table.weights()[c];
    for (size_t seed = 0; seed < table.seeds(); ++seed) strata[s].mean += table.sum(seed, c);
  }

  // The sums become weighted means.
  for (Stratum& stratum : strata) {
    stratum.mean /= stratum.weight * static_cast<double>(table.seeds());
  }
  return strata;
}

// The result of a two-way analysis of variance of the linearised residuals.
struct Components {
  double seeds = 0, clusters = 0, error = 0;  // mean squares over S*C: parts of the mean's variance
  double seed_df = 0, cluster_df = 0, error_df = 0;
};

// Splits the variance of the table's mean into seeds, clusters and the rest.
Components ComponentsOf(const LossTable& table) {
  const size_t S = table.seeds(), C = table.clusters();
  const std::vector<Stratum> strata = StrataOf(table);
  const double mean_weight =
      std::accumulate(table.weights().begin(), table.weights().end(), 0.0) / static_cast<double>(C);

  // z[s][c] is what the cell adds to the error of the mean, as a ratio estimator's residual.
  std::vector<double> z(S * C), by_seed(S, 0), by_cluster(C, 0);
  for (size_t s = 0; s < S; ++s) {
    for (size_t c = 0; c < C; ++c) {
      const double expected = strata[table.strata()[c]].mean * table.weights()[c];
      z[s * C + c] = (table.sum(s, c) - expected) / mean_weight;
      by_seed[s] += z[s * C + c] / static_cast<double>(C);
      by_cluster[c] += z[s * C + c] / static_cast<double>(S);
    }
  }

  const double rows = static_cast<double>(S), columns = static_cast<double>(C);
  Components parts;
  parts.seed_df = rows - 1;
  parts.cluster_df = columns - static_cast<double>(strata.size());
  parts.error_df = parts.seed_df * parts.cluster_df;

  // Sums of squares: between seeds, between clusters, and what neither explains.
  double seeds = 0, clusters = 0, error = 0;
  for (size_t s = 0; s < S; ++s) seeds += columns * by_seed[s] * by_seed[s];
  for (size_t c = 0; c < C; ++c) clusters += rows * by_cluster[c] * by_cluster[c];
  for (size_t s = 0; s < S; ++s) {
    for (size_t c = 0; c < C; ++c) {
      const double residual = z[s * C + c] - by_seed[s] - by_cluster[c];
      error += residual * residual;
    }
  }

  // Mean squares as parts of the mean's variance; without degrees of freedom a part stays 0.
  const double cells = rows * columns;
  if (parts.seed_df > 0) parts.seeds = seeds / parts.seed_df / cells;
  if (parts.cluster_df > 0) parts.clusters = clusters / parts.cluster_df / cells;
  if (parts.error_df > 0) parts.error = error / parts.error_df / cells;
  return parts;
}

// Satterthwaite's degrees of freedom of seeds + clusters - error. Neither of the first two counts
// as smaller than the error, because a variance component cannot be negative.
double DegreesOfFreedom(const Components& parts) {
  if (parts.seed_df == 0) return parts.cluster_df;
  const double a = std::max(parts.seeds, parts.error);
  const double b = std::max(parts.clusters, parts.error);
  const double variance = a + b - parts.error;
  const double spread = a * a / parts.seed_df + b * b / parts.cluster_df +
                        (parts.error_df > 0 ? parts.error * parts.error / parts.error_df : 0);
  if (spread == 0) return parts.cluster_df;
  // Never more than all residuals have together, and never less than 1.
  return std::max(1.0, std::min(variance * variance / spread,
                                parts.error_df + parts.seed_df + parts.cluster_df));
}

// The sample standard deviation; NaN for fewer than two values.
double DeviationOf(const std::vector<double>& values) {
  if (values.size() < 2) return kNone;
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / (n - 1));
}

// The standard deviation of the mean over resampled seeds and clusters.
double BootstrapError(const LossTable& table, std::string_view stream) {
  std::vector<double> means;
  for (size_t b = 0; b < kReplicates; ++b) {
    means.push_back(ReplicateMean(table, ClusterDraw(table, stream, b),
                                  SeedDraw(table.seeds(), StrCat(stream, " seeds"), b)));
  }
  return DeviationOf(means);
}

// `value` in units of the standard deviation of the clusters' means.
double EffectSize(const LossTable& table, double value) {
  std::vector<double> means;
  for (size_t c = 0; c < table.clusters(); ++c) {
    double sum = 0;
    for (size_t s = 0; s < table.seeds(); ++s) sum += table.sum(s, c);
    means.push_back(sum / (table.weights()[c] * static_cast<double>(table.seeds())));
  }

  const double deviation = DeviationOf(means);
  return deviation > 0 ? value / deviation : kNone;
}

}  // namespace

LossTable::LossTable(std::vector<double> weights)
    : weights_(std::move(weights)), strata_(weights_.size(), 0) {
  for (double weight : weights_) QUALM_CHECK(weight > 0);
}

void LossTable::AddSeed(const std::vector<double>& sums) {
  QUALM_CHECK(sums.size() == clusters());
  sums_.insert(sums_.end(), sums.begin(), sums.end());
  ++seeds_;
}

double LossTable::Mean() const {
  double mean = 0;
  for (size_t s = 0; s < seeds_; ++s) mean += SeedMean(s) / static_cast<double>(seeds_);
  return seeds_ == 0 ? kNone : mean;
}

double LossTable::SeedMean(size_t seed) const {
  double sum = 0, weight = 0;
  for (size_t c = 0; c < clusters(); ++c) {
    sum += this->sum(seed, c);
    weight += weights_[c];
  }
  return weight > 0 ? sum / weight : kNone;
}

LossTable LossTable::Minus(const LossTable& other) const {
  QUALM_CHECK(weights_ == other.weights_ && strata_ == other.strata_);
  LossTable result = *this;
  result.sums_.clear();
  result.seeds_ = 0;

  // A table of one seed is repeated for every seed of the other; otherwise both must have the seed.
  size_t count = std::min(seeds_, other.seeds_);
  if (other.seeds_ == 1) count = seeds_;
  if (seeds_ == 1) count = other.seeds_;
  for (size_t s = 0; s < count; ++s) {
    std::vector<double> sums(clusters());
    for (size_t c = 0; c < clusters(); ++c) {
      sums[c] = sum(seeds_ == 1 ? 0 : s, c) - other.sum(other.seeds_ == 1 ? 0 : s, c);
    }
    result.AddSeed(sums);
  }
  return result;
}

LossTable LossTable::Average(const std::vector<LossTable>& tables) {
  QUALM_CHECK(!tables.empty());
  LossTable result = tables[0];

  // The number of seeds is the smallest among the tables, leaving out tables of one seed.
  size_t count = 1;
  for (const LossTable& table : tables) {
    QUALM_CHECK(table.weights_ == result.weights_);
    if (table.seeds_ != 1) count = count == 1 ? table.seeds_ : std::min(count, table.seeds_);
  }

  // Average seed by seed; a table of one seed takes part in every average.
  result.sums_.clear();
  result.seeds_ = 0;
  for (size_t s = 0; s < count; ++s) {
    std::vector<double> sums(result.clusters(), 0);
    for (const LossTable& table : tables) {
      for (size_t c = 0; c < sums.size(); ++c) {
        sums[c] += table.sum(table.seeds_ == 1 ? 0 : s, c) / static_cast<double>(tables.size());
      }
    }
    result.AddSeed(sums);
  }
  return result;
}

LossTable LossTable::SideBySide(const std::vector<LossTable>& tables) {
  QUALM_CHECK(!tables.empty());
  LossTable result;

  // The number of seeds is the smallest among the tables, leaving out tables of one seed.
  size_t count = 1;
  for (const LossTable& table : tables) {
    if (table.seeds_ != 1) count = count == 1 ? table.seeds_ : std::min(count, table.seeds_);
  }

  // Weights are divided by the test's total, so that every test counts the same.
  std::vector<std::vector<double>> sums(count);
  for (size_t t = 0; t < tables.size(); ++t) {
    const LossTable& table = tables[t];
    const double weight = std::accumulate(table.weights_.begin(), table.weights_.end(), 0.0);
    for (size_t c = 0; c < table.clusters(); ++c) {
      result.weights_.push_back(table.weights_[c] / weight);
      result.strata_.push_back(static_cast<uint32_t>(t));
      for (size_t s = 0; s < count; ++s) {
        sums[s].push_back(table.sum(table.seeds_ == 1 ? 0 : s, c) / weight);
      }
    }
  }
  for (const std::vector<double>& one : sums) result.AddSeed(one);
  return result;
}

std::vector<double> ClusterDraw(const LossTable& table, std::string_view stream, size_t replicate) {
  std::vector<double> counts(table.clusters(), 0);
  Rng rng(replicate, StrCat("clusters ", stream));
  size_t first = 0;

  // Clusters are drawn within their stratum. n - 1 draws of n make the bootstrap's variance
  // unbiased.
  while (first < table.clusters()) {
    size_t end = first;
    while (end < table.clusters() && table.strata()[end] == table.strata()[first]) ++end;
    const size_t n = end - first;
    const size_t draws = n == 1 ? 1 : n - 1;
    for (size_t i = 0; i < draws; ++i) counts[first + rng.Below(n)] += 1;
    first = end;
  }
  return counts;
}

std::vector<double> SeedDraw(size_t seeds, std::string_view stream, size_t replicate) {
  std::vector<double> counts(seeds, 0);
  if (seeds == 1) return {1};
  Rng rng(replicate, stream);
  for (size_t i = 0; i + 1 < seeds; ++i) counts[rng.Below(seeds)] += 1;
  return counts;
}

double ReplicateMean(const LossTable& table, const std::vector<double>& clusters,
                     const std::vector<double>& seeds) {
  double total_seeds = 0, result = 0, result_weight = 0;
  for (double count : seeds) total_seeds += count;

  // Stratum by stratum, because each keeps its weight whatever was drawn.
  size_t first = 0;
  while (first < table.clusters()) {
    double sum = 0, weight = 0, stratum_weight = 0;
    size_t c = first;
    for (; c < table.clusters() && table.strata()[c] == table.strata()[first]; ++c) {
      stratum_weight += table.weights()[c];
      if (clusters[c] == 0) continue;
      weight += clusters[c] * table.weights()[c];
      for (size_t s = 0; s < table.seeds(); ++s) {
        if (seeds[s] != 0) sum += seeds[s] * clusters[c] * table.sum(s, c);
      }
    }

    result += stratum_weight * (sum / (weight * total_seeds));
    result_weight += stratum_weight;
    first = c;
  }
  return result / result_weight;
}

Inference Infer(const LossTable& table, std::string_view stream) {
  Inference result;
  result.value = table.Mean();
  result.seeds = table.seeds();
  result.clusters = table.clusters();
  result.seed_deviation = kNone;

  std::vector<double> means;
  for (size_t s = 0; s < table.seeds(); ++s) means.push_back(table.SeedMean(s));
  result.seed_deviation = DeviationOf(means);

  // How many seeds point in the direction of the mean. A seed without any effect does not agree.
  for (double mean : means) {
    result.seeds_agreeing += (mean > 0) == (result.value > 0) && mean != 0 ? 1 : 0;
  }

  const Components parts =
      table.seeds() > 0 && table.clusters() > 0 ? ComponentsOf(table) : Components();

  // A single cluster says nothing about others: the value is known, its error is not.
  if (parts.cluster_df < 1) {
    result.standard_error = result.df = result.low = result.high = kNone;
    result.p = result.effect_size = result.detectable = kNone;
    return result;
  }

  result.standard_error = BootstrapError(table, stream);
  result.df = DegreesOfFreedom(parts);
  const double t = StudentQuantile(0.975, result.df);
  result.low = result.value - t * result.standard_error;
  result.high = result.value + t * result.standard_error;

  // All cells are equal: a difference of exactly 0 means nothing, and any other difference is
  // certain.
  if (result.standard_error == 0) {
    result.p = result.value == 0 ? 1 : 0;
  } else {
    result.p = StudentTwoSided(result.value / result.standard_error, result.df);
  }

  // A difference of this size is found with probability 0.8 at the 5 % level.
  result.detectable = (t + StudentQuantile(0.8, result.df)) * result.standard_error;
  result.effect_size = EffectSize(table, result.value);
  return result;
}

std::vector<double> HolmAdjusted(const std::vector<double>& p) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p.size(); ++i) {
    if (!std::isnan(p[i])) order.push_back(i);
  }

  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size(), kNone);
  double largest = 0;
  for (size_t rank = 0; rank < order.size(); ++rank) {
    // The smallest p is multiplied by the number of tests, the next by one less, and so on; an
    // adjusted p is never smaller than the one before it.
    const double factor = static_cast<double>(order.size() - rank);
    largest = std::max(largest, std::min(1.0, factor * p[order[rank]]));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

}  // namespace qualm
