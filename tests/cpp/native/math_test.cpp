// The elementary functions of every instruction set against the C library in double, over dense grids.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "check.hpp"
#include "native/kernels/choice.hpp"
#include "native/vocabulary.hpp"
#include "reference.hpp"

namespace {

using ganglion::every_isa;
using ganglion::Isa;
using namespace ganglion::native;
using namespace ganglion::realtime;

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> found;
  for (const Isa isa : every_isa) {
    if (const KernelTable* table = kernels_for(isa)) found.push_back(table);
  }
  return found;
}

float step_by(float x, std::int32_t steps) {
  std::int32_t bits = 0;
  std::memcpy(&bits, &x, sizeof x);
  bits += steps;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Floats between two bounds of the same sign, `stride` units in the last place apart: as dense near 0 as elsewhere.
std::vector<float> grid(float low, float high) {
  std::vector<float> values;
  const auto half = [&](float from, float to) {  // 0 <= from < to
    std::int32_t begin = 0;
    std::int32_t end = 0;
    std::memcpy(&begin, &from, sizeof from);
    std::memcpy(&end, &to, sizeof to);
    const std::int32_t stride = std::max(1, (end - begin) / 400'000);
    std::vector<float> part;
    for (std::int32_t bits = begin; bits <= end - stride; bits += stride) part.push_back(step_by(0.0F, bits));
    part.push_back(to);
    return part;
  };
  constexpr float tiny = 0x1p-100F;  // smaller ones are 0
  if (low < 0.0F) {
    for (const float x : half(high < 0.0F ? -high : tiny, -low)) values.push_back(-x);
  }
  if (high > 0.0F) {
    for (const float x : half(low > 0.0F ? low : tiny, high)) values.push_back(x);
  }
  return values;
}

/// The distance in units in the last place of the exact result; what is below 2^-100 is 0 (cpp/NUMERICS.md).
double ulp_error(float found, double exact) {
  constexpr double smallest = 0x1p-100;
  if (std::abs(exact) < smallest) return std::abs(double{found}) <= smallest ? 0.0 : 1e9;
  if (std::abs(exact) > double{std::numeric_limits<float>::max()}) {
    return std::isinf(found) || std::abs(found) >= 3.4e38F ? 0.0 : 1e9;
  }
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(double{found} - exact) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

struct Case {
  const char* name;
  Unary function;
  double (*exact)(double);
  float low;
  float high;
  double bound;         ///< in ulp
  double absolute = 0;  ///< accepted as well: for functions that subtract near a zero
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"exp", Unary::exp, [](double x) { return std::exp(x); }, -110.0F, 95.0F, 2.0},
      {"log", Unary::log, [](double x) { return std::log(x); }, 1.2e-38F, 3.4e38F, 2.0},
      {"tanh", Unary::tanh, [](double x) { return std::tanh(x); }, -30.0F, 30.0F, 4.0},
      {"sigmoid", Unary::sigmoid, sigmoid, -86.0F, 90.0F, 3.0},
      {"erf", Unary::erf, [](double x) { return std::erf(x); }, -8.0F, 8.0F, 3.0},
      {"softplus", Unary::softplus, softplus, -80.0F, 80.0F, 3.0},
      {"elu", Unary::elu, [](double x) { return x < 0.0 ? std::expm1(x) : x; }, -50.0F, 50.0F, 3.0},
      {"celu", Unary::celu, [](double x) { return x < 0.0 ? std::expm1(x) : x; }, -50.0F, 50.0F, 3.0},
      {"selu", Unary::selu,
       [](double x) { return 1.0507009873554805 * (x < 0.0 ? 1.6732632423543772 * std::expm1(x) : x); }, -50.0F, 50.0F,
       5.0},
      {"silu", Unary::silu, [](double x) { return x * sigmoid(x); }, -80.0F, 80.0F, 4.0},
      {"mish", Unary::mish, [](double x) { return x * std::tanh(softplus(x)); }, -80.0F, 80.0F, 5.0},
      {"gelu", Unary::gelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, -8.0F, 8.0F, 6.0, 5e-7},
      {"gelu_tanh", Unary::gelu_tanh,
       [](double x) { return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x))); }, -8.0F,
       8.0F, 6.0, 5e-7},
      {"softsign", Unary::softsign, [](double x) { return x / (1.0 + std::abs(x)); }, -1e6F, 1e6F, 2.0},
      {"hard_swish", Unary::hard_swish, [](double x) { return x * std::min(1.0, std::max(0.0, x / 6.0 + 0.5)); }, -9.0F,
       9.0F, 3.0, 1e-6},
      {"sqrt", Unary::sqrt, [](double x) { return std::sqrt(x); }, 1e-37F, 3e38F, 0.51},
      {"rsqrt", Unary::rsqrt, [](double x) { return 1.0 / std::sqrt(x); }, 1e-37F, 3e38F, 1.5},
      {"reciprocal", Unary::reciprocal, [](double x) { return 1.0 / x; }, -1e37F, 1e37F, 0.51},
      {"floor", Unary::floor, [](double x) { return std::floor(x); }, -1e9F, 1e9F, 0.0},
      {"ceil", Unary::ceil, [](double x) { return std::ceil(x); }, -1e9F, 1e9F, 0.0},
      {"round", Unary::round, [](double x) { return std::nearbyint(x); }, -1e9F, 1e9F, 0.0},
      {"abs", Unary::abs, [](double x) { return std::abs(x); }, -1e9F, 1e9F, 0.0},
      {"neg", Unary::neg, [](double x) { return -x; }, -1e9F, 1e9F, 0.0},
      {"sign", Unary::sign, [](double x) { return x > 0.0 ? 1.0 : -1.0; }, -1e9F, 1e9F, 0.0},
      {"sin", Unary::sin, [](double x) { return std::sin(x); }, -100.0F, 100.0F, 0.51},
      {"cos", Unary::cos, [](double x) { return std::cos(x); }, -100.0F, 100.0F, 0.51},
      {"sin of large", Unary::sin, [](double x) { return std::sin(x); }, 100.0F, 3.4e38F, 0.51},
      {"cos of large", Unary::cos, [](double x) { return std::cos(x); }, -3.4e38F, 0.0F, 0.51},
      {"atan", Unary::atan, [](double x) { return std::atan(x); }, -3.4e38F, 3.4e38F, 0.51},
      {"relu", Unary::relu, [](double x) { return std::max(x, 0.0); }, -1e9F, 1e9F, 0.0},
      {"leaky_relu", Unary::leaky_relu, [](double x) { return x < 0.0 ? x : x; }, -1e9F, 1e9F, 0.0},
  };
  return all;
}

void run(const KernelTable& table, Unary function, const std::vector<float>& x, std::vector<float>& y, float alpha,
         float beta) {
  table.unary[static_cast<std::size_t>(function)](x.data(), y.data(), x.size(), alpha, beta);
}

/// A function that has no case of its own above.
void check_against_definition(const KernelTable& table, Unary function) {
  const std::vector<float> x = grid(-20.0F, 20.0F);
  std::vector<float> y(x.size());
  run(table, function, x, y, 0.5F, 1.25F);
  std::size_t wrong = x.size();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = reference::apply({function, 0.5F, 1.25F}, double{x[i]});
    const bool is_right =
        std::isnan(exact) ? std::isnan(y[i]) : ulp_error(y[i], exact) <= 4.0 || std::abs(double{y[i]} - exact) < 1e-7;
    if (!is_right) wrong = i;
  }
  check::report(wrong == x.size(), reference::name_of(function), __FILE__, __LINE__,
                std::string(table.name) + (wrong == x.size() ? "" : ": wrong at " + std::to_string(x[wrong])));
}

}  // namespace

TEST_CASE("every function keeps its error bound on every instruction set") {
  for (const KernelTable* table : tables()) {
    for (const Case& one : cases()) {
      const std::vector<float> x = grid(one.low, one.high);
      std::vector<float> y(x.size());
      run(*table, one.function, x, y, 1.0F, 0.0F);
      double worst = 0.0;
      float where = 0.0F;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double exact = one.exact(double{x[i]});
        const double error = ulp_error(y[i], exact);
        if (error > worst && std::abs(double{y[i]} - exact) > one.absolute) {
          worst = error;
          where = x[i];
        }
      }
      check::report(worst <= one.bound, one.name, __FILE__, __LINE__,
                    std::string(table->name) + ": " + std::to_string(worst) + " ulp at " + std::to_string(where));
      if (std::getenv("GANGLION_VERBOSE") != nullptr) {
        std::cout << table->name << ' ' << one.name << ": " << worst << " ulp at " << where << '\n';
      }
    }
  }
}

TEST_CASE("every function of the table is measured: by a case of its own, or against its definition") {
  for (const KernelTable* table : tables()) {
    for (const Unary function : every_unary) {
      if (function == Unary::identity) continue;
      const auto is_it = [=](const Case& one) { return one.function == function; };
      if (std::none_of(cases().begin(), cases().end(), is_it)) check_against_definition(*table, function);
    }
  }
}

TEST_CASE("mod is fmod of the C library, to the bit") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> numbers{0.0F,     1.0F,   2.0F,      3.0F,        0.1F,   0.37F, 7.5F,    1e-30F,  1.1754944e-38F,
                             2.5e-38F, 1e-20F, 1234.567F, 16777215.0F, 1.6e7F, 1e15F, 2.9e30F, 3.0e38F, 3.4028235e38F};
  std::uint32_t random = 1;
  for (int i = 0; i < 1500; ++i) {
    random = random * 1664525U + 1013904223U;
    const std::uint32_t bits = random & 0x7FFFFFFFU;
    float x = 0.0F;
    std::memcpy(&x, &bits, sizeof x);
    if (std::isnormal(x)) numbers.push_back(x);
  }
  std::size_t wrong = 0;
  for (const float a : numbers) {
    for (const float b : numbers) {
      for (const float sign : {1.0F, -1.0F}) {
        const float exact = std::fmod(sign * a, -sign * b);
        const float found = mod_of(sign * a, -sign * b);
        const bool is_same = std::memcmp(&found, &exact, sizeof found) == 0;
        if (!is_same && !(std::isnan(found) && std::isnan(exact)) && ++wrong < 4) {
          check::report(false, "mod", __FILE__, __LINE__, std::to_string(a) + ", " + std::to_string(b));
        }
      }
    }
  }
  CHECK_EQUAL(wrong, 0U);
  CHECK_EQUAL(mod_of(2.5F, infinity), 2.5F);
  CHECK_EQUAL(mod_of(-2.5F, -infinity), -2.5F);
  for (const auto& [a, b] :
       {std::pair(infinity, 2.0F), std::pair(-infinity, infinity), std::pair(nan, 2.0F), std::pair(2.0F, nan),
        std::pair(infinity, nan), std::pair(2.0F, 0.0F), std::pair(0.0F, 0.0F), std::pair(3e38F, -0.0F)}) {
    CHECK(std::isnan(mod_of(a, b)));
  }
}

TEST_CASE("pow is that of the C library: its special cases exactly, all others within a rounding") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> numbers{0.0F,    0.5F,       1.0F,       2.0F,          3.0F,       4.0F,          5.5F,
                             0.1F,    0.9999999F, 1.0000001F, 1.4142135F,    1.4142136F, 0.70710678F,   127.0F,
                             126.5F,  1e-30F,     1e30F,      8388607.5F,    8388608.0F, 16777215.0F,   16777216.0F,
                             3.4e38F, infinity,   nan,        2147483648.0F, 1e-45F,     1.1754944e-38F};
  std::uint32_t random = 7;
  for (int i = 0; i < 400; ++i) {
    random = random * 1664525U + 1013904223U;
    numbers.push_back(std::exp2((static_cast<float>(random >> 8U) / 16777216.0F - 0.5F) * (i % 2 == 0 ? 4.0F : 60.0F)));
  }
  double worst = 0.0;
  std::size_t wrong = 0;
  for (const float a : numbers) {
    for (const float b : numbers) {
      for (const int signs : {0, 1, 2, 3}) {
        const float x = (signs & 1) != 0 ? -a : a;
        const float y = (signs & 2) != 0 ? -b : b;
        const double exact = std::pow(double{x}, double{y});
        const float found = pow_of(x, y);
        bool is_right = false;
        if (std::isnan(exact)) {
          is_right = std::isnan(found);
        } else if (exact == 0.0 || std::isinf(exact) || std::isinf(x) || std::isinf(y)) {
          is_right = double{found} == exact && std::signbit(found) == std::signbit(exact);
        } else {
          const double error = ulp_error(found, exact);
          worst = std::max(worst, error);
          is_right = error <= 0.51 && (std::abs(exact) < 0x1p-100 || std::signbit(found) == std::signbit(exact));
        }
        if (!is_right && ++wrong < 4) {
          check::report(false, "pow", __FILE__, __LINE__,
                        std::to_string(x) + ", " + std::to_string(y) + ": " + std::to_string(found) + " and not " +
                            std::to_string(exact));
        }
      }
    }
  }
  CHECK_EQUAL(wrong, 0U);
  if (std::getenv("GANGLION_VERBOSE") != nullptr) std::cout << "pow: " << worst << " ulp\n";
}

TEST_CASE("special numbers go where IEEE 754 sends them") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto value = [](const KernelTable& table, Unary function, float x, float alpha = 1.0F, float beta = 2.0F) {
    std::vector<float> y(1);
    run(table, function, {x}, y, alpha, beta);
    return y[0];
  };
  for (const KernelTable* table : tables()) {
    for (const Unary function : every_unary) {
      if (function == Unary::identity) continue;
      const float result = value(*table, function, nan);
      const bool is_flag = function == Unary::logical_not;
      check::report(is_flag ? result == 0.0F : std::isnan(result), "NaN goes through", __FILE__, __LINE__,
                    std::string(table->name) + " function " + reference::name_of(function));
    }
    CHECK_EQUAL(value(*table, Unary::exp, infinity), infinity);
    CHECK_EQUAL(value(*table, Unary::exp, -infinity), 0.0F);
    CHECK_EQUAL(value(*table, Unary::exp, 0.0F), 1.0F);
    CHECK_EQUAL(value(*table, Unary::log, 0.0F), -infinity);
    CHECK_EQUAL(value(*table, Unary::log, infinity), infinity);
    CHECK_EQUAL(value(*table, Unary::log, 1.0F), 0.0F);
    CHECK(std::isnan(value(*table, Unary::log, -1.0F)));
    CHECK(std::isnan(value(*table, Unary::sqrt, -1.0F)));
    CHECK_EQUAL(value(*table, Unary::tanh, infinity), 1.0F);
    CHECK_EQUAL(value(*table, Unary::tanh, -infinity), -1.0F);
    CHECK_EQUAL(value(*table, Unary::tanh, 0.0F), 0.0F);
    CHECK_EQUAL(value(*table, Unary::erf, -infinity), -1.0F);
    CHECK_EQUAL(value(*table, Unary::sigmoid, infinity), 1.0F);
    CHECK(value(*table, Unary::sigmoid, -infinity) < 1e-37F);
    CHECK_EQUAL(value(*table, Unary::sign, 0.0F), 0.0F);
    CHECK_EQUAL(value(*table, Unary::round, 2.5F), 2.0F);
    CHECK_EQUAL(value(*table, Unary::round, -3.5F), -4.0F);
    CHECK_EQUAL(value(*table, Unary::logical_not, 0.0F), 1.0F);
    CHECK_EQUAL(value(*table, Unary::leaky_relu, -2.0F, 0.25F), -0.5F);
    CHECK_EQUAL(value(*table, Unary::hard_sigmoid, 3.0F, 0.25F, 0.125F), 0.875F);
    CHECK_EQUAL(value(*table, Unary::clip, 5.0F, -1.0F, 2.0F), 2.0F);
    CHECK_EQUAL(value(*table, Unary::clip, -5.0F, -1.0F, 2.0F), -1.0F);
    CHECK_EQUAL(value(*table, Unary::clip, 5.0F, -infinity, infinity), 5.0F);
  }
}

TEST_CASE("a tail of any length is computed and nothing behind it is touched") {
  for (const KernelTable* table : tables()) {
    for (std::size_t n = 1; n < 40; ++n) {
      std::vector<float> x(n, 0.5F);
      std::vector<float> y(n + 20, -7.0F);
      table->unary[static_cast<std::size_t>(Unary::tanh)](x.data(), y.data(), n, 0.0F, 0.0F);
      for (std::size_t i = 0; i < y.size(); ++i) {
        CHECK(i < n ? std::abs(y[i] - std::tanh(0.5F)) < 1e-6F : y[i] == -7.0F);
      }
      CHECK(table->all_finite(y.data(), n));
      y[n - 1] = std::numeric_limits<float>::quiet_NaN();
      CHECK(!table->all_finite(y.data(), n));
      y[n - 1] = -std::numeric_limits<float>::infinity();
      CHECK(!table->all_finite(y.data(), n));
      CHECK(n == 1 || table->all_finite(y.data(), n - 1));
    }
  }
}

int main() { return check::run_all(); }
