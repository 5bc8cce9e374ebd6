// Losses of the same items under several seeds, and what can be said about their mean. Items that
// share a passage or a subject form one cluster. Clusters and seeds are both drawn from larger
// populations, and they are crossed: every seed answers the same items.
//
// An error that resampled items anew for each seed would therefore count the items' own variance S
// times too small. Here a replicate draws seeds, and one sample of clusters that all of them share.
// Definitions: docs/studies/statistics.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace qualm {

// The weighted losses of one condition, [seeds, clusters]. Filled seed by seed with AddSeed; from
// then on tables are subtracted, averaged or put side by side, and Infer is applied to the result.
class LossTable {
 public:
  LossTable() = default;
  // `weights` [clusters]: summed item weights; positive.
  explicit LossTable(std::vector<double> weights);

  size_t seeds() const { return seeds_; }
  size_t clusters() const { return weights_.size(); }
  const std::vector<double>& weights() const { return weights_; }
  const std::vector<uint32_t>& strata() const { return strata_; }
  double sum(size_t seed, size_t cluster) const { return sums_[seed * clusters() + cluster]; }
  // Weighted losses of one more seed, summed by cluster.
  void AddSeed(const std::vector<double>& sums);

  // Σ sums / Σ weights, over everything and for one seed.
  double Mean() const;
  double SeedMean(size_t seed) const;

  // This minus other, seed by seed. A table of one seed is repeated for every seed of the other;
  // otherwise the smaller number of seeds counts. Requires: the same clusters.
  LossTable Minus(const LossTable& other) const;
  // The mean of several tables of the same clusters; seeds are matched in the same way.
  static LossTable Average(const std::vector<LossTable>& tables);
  // Several tests as one table: their clusters side by side, each test a stratum of equal weight.
  // The smallest number of seeds counts.
  static LossTable SideBySide(const std::vector<LossTable>& tables);

 private:
  std::vector<double> weights_;   // [clusters]
  std::vector<double> sums_;      // [seeds, clusters]
  std::vector<uint32_t> strata_;  // [clusters]; clusters are drawn within their stratum
  size_t seeds_ = 0;
};

// What a table says about its mean.
struct Inference {
  double value = 0;
  double standard_error = 0;  // hierarchical bootstrap; NaN for a single cluster
  double df = 0;              // Satterthwaite's, from the two-way variance components
  double low = 0, high = 0;   // value ± t(0.975, df) standard errors
  double p = 1;               // of the mean being 0; two-sided, Student's t
  double effect_size = 0;     // mean over the clusters' standard deviation (Cohen's d of the pairs)
  // The smallest difference that a test at 5 % would find in four of five such studies.
  double detectable = 0;
  size_t seeds = 0, clusters = 0;
  double seed_deviation = 0;  // standard deviation of the seeds' means; NaN for one seed
  size_t seeds_agreeing = 0;  // seeds whose mean has the sign of `value`
};

constexpr size_t kReplicates = 1000;

// `stream` names the random numbers. The bootstrap draws S-1 of S seeds and C-1 of each stratum's C
// clusters with replacement (Rao and Wu 1988: unbiased for the variance of a mean, while n of n is
// too small by (n-1)/n). With a single seed only clusters are drawn, and the error then says
// nothing about other seeds.
Inference Infer(const LossTable& table, std::string_view stream);

// How often each cluster and each seed occurs in one replicate. For a given stream and replicate
// the numbers are the same for every table with the same strata, so candidates are compared on the
// same resampled items.
std::vector<double> ClusterDraw(const LossTable& table, std::string_view stream, size_t replicate);
std::vector<double> SeedDraw(size_t seeds, std::string_view stream, size_t replicate);
// The mean under a replicate's multiplicities; strata keep their weights.
double ReplicateMean(const LossTable& table, const std::vector<double>& clusters,
                     const std::vector<double>& seeds);

// Holm's step-down adjustment of p-values; NaN stays NaN and does not count.
std::vector<double> HolmAdjusted(const std::vector<double>& p);

}  // namespace qualm
