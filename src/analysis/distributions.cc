// Student's t and the exact interval of a share, both from the incomplete beta function, which is
// evaluated by a continued fraction (Press et al., Numerical Recipes, section 6.4). Quantiles are
// found by bisection, which is slow but cannot miss.
#include "analysis/distributions.h"

#include <cmath>
#include <functional>

#include "base/error.h"

namespace qualm {
namespace {

// Lentz's evaluation of the continued fraction for I_x(a, b), for x < (a+1)/(a+b+2). c and d are
// the ratios of successive numerators and denominators; neither may become 0.
double BetaFraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300, kEnough = 1e-15;
  constexpr int kMostTerms = 10000;
  const auto away_from_zero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double h = d;

  // Every round takes one even and one odd term of the fraction.
  for (int m = 1; m < kMostTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away_from_zero(1 + even * d);
    c = away_from_zero(1 + even / c);
    h *= d * c;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away_from_zero(1 + odd * d);
    c = away_from_zero(1 + odd / c);
    h *= d * c;
    if (std::abs(d * c - 1) < kEnough) break;
  }
  return h;
}

// The x in [low, high] at which a rising function passes `target`.
double Bisect(const std::function<double(double)>& rising, double target, double low, double high) {
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    if (rising(middle) < target) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low + (high - low) / 2;
}

}  // namespace

double IncompleteBeta(double a, double b, double x) {
  QUALM_CHECK(a > 0 && b > 0 && x >= 0 && x <= 1);
  if (x == 0 || x == 1) return x;

  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log1p(-x));
  // The fraction converges fast for small x only; the symmetry I_x(a, b) = 1 - I_{1-x}(b, a) turns
  // a large x into a small one.
  if (x < (a + 1) / (a + b + 2)) return front * BetaFraction(a, b, x) / a;
  return 1 - front * BetaFraction(b, a, 1 - x) / b;
}

double StudentTwoSided(double t, double df) {
  if (std::isnan(t) || std::isnan(df)) return std::nan("");
  if (std::isinf(t)) return 0;
  return IncompleteBeta(df / 2, 0.5, df / (df + t * t));
}

double StudentCdf(double t, double df) {
  const double tail = StudentTwoSided(t, df) / 2;
  return t > 0 ? 1 - tail : tail;
}

double StudentQuantile(double p, double df) {
  QUALM_CHECK(p > 0 && p < 1 && df > 0);
  if (p == 0.5) return 0;
  if (p < 0.5) return -StudentQuantile(1 - p, df);

  // Widen the range until it contains the quantile.
  double high = 1;
  while (StudentCdf(high, df) < p && high < 1e15) high *= 2;
  return Bisect([&](double t) { return StudentCdf(t, df); }, p, 0, high);
}

ShareInterval ExactShareInterval(size_t k, size_t n, double confidence) {
  QUALM_CHECK(k <= n);
  if (n == 0) return {};

  const double tail = (1 - confidence) / 2;
  const double hits = static_cast<double>(k), misses = static_cast<double>(n - k);

  // The bounds are the shares at which k or more hits, or k or fewer, become unlikely. Without any
  // hit the lower bound is 0, without any miss the upper bound is 1.
  ShareInterval interval;
  if (k > 0) {
    interval.low =
        Bisect([&](double x) { return IncompleteBeta(hits, misses + 1, x); }, tail, 0, 1);
  }
  if (k < n) {
    interval.high =
        Bisect([&](double x) { return IncompleteBeta(hits + 1, misses, x); }, 1 - tail, 0, 1);
  }
  return interval;
}

}  // namespace qualm
