#include "metrics/math_in_dollars.h"

#include <gtest/gtest.h>

namespace qualm {
namespace {

struct MathCase {
  const char* answer;
  const char* reference;
  bool is_equal;
};

// What lm-evaluation-harness 0.4.13 says (hendrycks_math/utils.py, process_results).
constexpr MathCase kCases[] = {
    {"5", "5", true},
    {"so $5$.", "5", true},
    {"$5", "5", false},
    {"$5", "$5", true},
    {"$x$ is $5$", "5", false},
    {"\\frac12", "\\frac{1}{2}", true},
    {"\\frac1{72}", "\\frac{1}{72}", true},
    {"\\frac{1}2", "\\frac{1}{2}", false},
    {"\\frac", "\\frac", true},
    {"\\frac ", " \\frac", false},
    {"\\frac1", "\\frac1", true},
    {"a/b", "a/b", true},
    {"a / b", "a/b", false},
    {"1/2", "0.5", true},
    {"01/2", "01/2", true},
    {"01/2", "1/2", false},
    {"-1/2", "\\frac{-1}{2}", true},
    {"1_0/2", "10/2", false},
    {"\\sqrt3", "\\sqrt{3}", true},
    {"\\sqrt 3", "\\sqrt3", false},
    {"\\sqrt", "\\sqrt", true},
    {"\\sqrt ", "\\sqrt{}", true},
    {"5\\%", "5", true},
    {"5%", "5", false},
    {"x = 5", "5", true},
    {"xyz = 5", "5", false},
    {"a=b=c", "a=b=c", true},
    {"3\\text{ cm}", "3", true},
    {"3\\text{ cm}\\text{ x}", "3", false},
    {".5", "0.5", true},
    {"{.5}", "{0.5}", true},
    {"90^\\circ", "90", true},
    {"90^{\\circ}", "90", true},
    {"\\left(1,2\\right)", "(1,2)", true},
    {"\\dfrac{1}{2}", "\\tfrac12", true},
    {"", "", true},
    {"$$", "", true},
    {"1 000", "1000", true},
    {"\\$5", "5", true},
    {"1/2/3", "1/2/3", true},
    {"\\frac中2", "\\frac{中}{2}", true},
    {"\\frac1{", "\\frac1{", true},
};

TEST(MathInDollars, IsTheHarnesssComparison) {
  for (const MathCase& one : kCases) {
    EXPECT_EQ(IsEqualMathInDollars(one.answer, one.reference), one.is_equal)
        << "'" << one.answer << "' and '" << one.reference << "'";
  }
}

}  // namespace
}  // namespace qualm
