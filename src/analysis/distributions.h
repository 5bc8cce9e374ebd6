// The few distribution functions that the statistics of studies need.
#pragma once

#include <cstddef>

namespace qualm {

// Regularised incomplete beta function I_x(a, b), 0 <= x <= 1, a, b > 0 (continued fraction, Press
// et al., Numerical Recipes, section 6.4); relative accuracy about 1e-12.
double IncompleteBeta(double a, double b, double x);

// P(T <= t) of Student's t with `df` > 0 degrees of freedom, not necessarily whole.
double StudentCdf(double t, double df);
// P(|T| >= |t|).
double StudentTwoSided(double t, double df);
// The t with P(T <= t) = p, 0 < p < 1.
double StudentQuantile(double p, double df);

// Clopper and Pearson's exact interval of the share k of n, at `confidence` (0.95).
struct ShareInterval {
  double low = 0, high = 1;
};
ShareInterval ExactShareInterval(size_t k, size_t n, double confidence);

}  // namespace qualm
