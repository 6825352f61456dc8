// The time of an operation does not depend on its numbers, on any instruction set: denormal and huge ones, infinity and
// NaN take no longer than ordinary ones. The least of many runs is compared, so a busy machine does not matter.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "native/kernels/choice.hpp"
#include "native/vocabulary.hpp"
#include "realtime/float_mode.hpp"

namespace {

using ganglion::every_isa;
using ganglion::Isa;
using namespace ganglion::native;
using namespace ganglion::realtime;

constexpr std::size_t rows = 8;
constexpr std::size_t columns = 32;
constexpr std::size_t size = rows * columns;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
/// As far as values of a program go: none is smaller than 2^-100.
constexpr std::array numbers{0.0F,  1e-30F, -1e-30F, 1e-20F, 1e3F,     -1e3F,     1e15F,
                             1e30F, -1e30F, 3e38F,   -3e38F, infinity, -infinity, nan};
/// fmod of the C library takes 50 times as long for 3e38 as for 1.
constexpr double most = 4.0;

/// About `x`, a little different in every element.
std::vector<float> around(float x) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = x * (1.0F - 0.01F * static_cast<float>(i % 7));
  return values;
}

/// Nanoseconds of the fastest of many runs.
double least(const Step& step) {
  const FloatMode guard;
  double best = 1e9;
  for (int i = 0; i < 60; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int j = 0; j < 4; ++j) step.run(step);
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

/// Runs a step on ordinary numbers and on those that might take longer. `seconds`: what its second operand may be.
void measure(Step step, const std::string& name, const std::vector<float>& seconds) {
  std::vector<float> a = around(0.37F);
  std::vector<float> b = around(0.83F);
  std::vector<float> out(size);
  std::vector<float> ones(columns, 1.0F);
  step.batch = 1;
  step.size = size;
  step.rows = rows;
  step.columns = columns;
  step.in[0] = {a.data(), 0};
  step.in[1] = {b.data(), 0};
  step.in_size[0] = step.in_size[1] = size;
  step.out[0] = {out.data(), 0};
  step.weights = ones.data();
  const double ordinary = least(step);
  double worst = 0.0;
  std::string where;
  for (const float first : numbers) {
    for (const float second : seconds) {
      a = around(first);
      b = around(second);
      const double taken = least(step);
      if (taken <= worst) continue;
      worst = taken;
      where = std::to_string(first) + ", " + std::to_string(second);
    }
  }
  // Below a microsecond the clock's own steps count.
  check::report(
      worst <= most * std::max(ordinary, 250.0), "the time does not depend on the numbers", __FILE__, __LINE__,
      name + ": " + std::to_string(worst / ordinary) + " times " + std::to_string(ordinary) + " ns at " + where);
  if (std::getenv("GANGLION_VERBOSE") != nullptr) {
    std::cout << name << ": " << ordinary << " ns, at most " << worst / ordinary << " times, at " << where << '\n';
  }
}

template <class Kernels>
void measure_all(const Kernels& kernels, std::size_t count, const std::string& name) {
  for (std::size_t i = 0; i < count; ++i) {
    Step step;
    step.run = kernels[i];
    measure(step, name + " " + std::to_string(i), {0.83F, -1e-30F, 1e-30F, -3e38F, infinity});
  }
}

}  // namespace

TEST_CASE("functions of one number") {
  for (const Isa isa : every_isa) {
    const KernelTable* const table = kernels_for(isa);
    if (table == nullptr) continue;
    for (const Unary function : every_unary) {
      if (function == Unary::identity) continue;
      Step step;
      step.run = table->unary_rows;
      step.unary = table->unary[static_cast<std::size_t>(function)];
      step.alpha = 0.3F;
      step.beta = 0.4F;
      measure(step, std::string(table->name) + " unary " + std::to_string(static_cast<int>(function)), {0.83F});
    }
  }
}

TEST_CASE("functions of two numbers, and of rows") {
  constexpr std::size_t binary_count = 0
#define GANGLION_BINARY(...) +1
#include "native/vocabulary.def"
      ;
  constexpr std::size_t reduce_count = 0
#define GANGLION_REDUCE(...) +1
#include "native/vocabulary.def"
      ;
  for (const Isa isa : every_isa) {
    const KernelTable* const table = kernels_for(isa);
    if (table == nullptr) continue;
    measure_all(table->binary, binary_count, std::string(table->name) + " binary");
    measure_all(table->reduce, reduce_count, std::string(table->name) + " reduce");
    const std::array plain{table->softmax, table->log_softmax, table->argmax, table->layer_norm};
    measure_all(plain, plain.size(), std::string(table->name) + " softmax, log_softmax, argmax, layer_norm");
  }
}

int main() { return check::run_all(); }
