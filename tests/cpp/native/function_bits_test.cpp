// The functions of one and two elements give the same bits on every instruction set: over all floats at a stride, and
// special numbers.

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "check.hpp"
#include "native/kernels/choice.hpp"
#include "native/program.hpp"
#include "native/vocabulary.hpp"
#include "reference.hpp"

namespace {

using ganglion::every_isa;
using ganglion::Isa;
using namespace ganglion::native;

std::vector<const KernelTable*> tables() {
  std::vector<const KernelTable*> found;
  for (const Isa isa : every_isa) {
    const KernelTable* const table = kernels_for(isa);
    if (table != nullptr) {
      found.push_back(table);
    } else {
      std::cout << "not run: " << ganglion::to_string(isa) << ", which this CPU or build lacks\n";
    }
  }
  return found;
}

float float_of(std::uint32_t bits) {
  float x = 0.0F;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

/// Every `stride`-th float of both signs, NaNs too, and what is special about some function.
std::vector<float> numbers(std::uint64_t stride) {
  std::vector<float> all;
  for (std::uint64_t bits = 0; bits < std::uint64_t{1} << 32U; bits += stride) {
    all.push_back(float_of(static_cast<std::uint32_t>(bits)));
  }
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (const float x :
       {0.0F,  0.5F,  1.0F,       2.0F,       0.41421356F, 0.70710678F, 0.92773438F, 1.41421356F,   2.4142135F,
        3.0F,  4.0F,  8388607.5F, 8388608.0F, 16777216.0F, 20.0F,       40.0F,       69.5F,         80.0F,
        87.0F, 88.0F, 89.0F,      0x1p-100F,  0x1p-40F,    0x1p-126F,   0x1p-149F,   3.4028235e38F, infinity}) {
    for (const int step : {-1, 0, 1}) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &x, sizeof x);
      for (const std::uint32_t sign : {0U, 0x80000000U}) {
        all.push_back(float_of((bits + static_cast<std::uint32_t>(step)) ^ sign));
      }
    }
  }
  all.push_back(std::numeric_limits<float>::quiet_NaN());
  return all;
}

/// Where two results differ in a bit, but for those of a NaN; the size where they do not.
std::size_t first_difference(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0 && !(std::isnan(a[i]) && std::isnan(b[i]))) return i;
  }
  return a.size();
}

}  // namespace

TEST_CASE("functions of one element have the same bits on every instruction set") {
  const std::vector<float> x = numbers(9973);
  const std::vector<const KernelTable*> all = tables();
  for (const Unary function : every_unary) {
    if (function == Unary::identity) continue;
    for (const auto& [alpha, beta] : {std::pair(0.75F, 0.5F), std::pair(-1.25F, 3.0F)}) {
      std::vector<float> expected(x.size());
      std::vector<float> found(x.size());
      all[0]->unary[static_cast<std::size_t>(function)](x.data(), expected.data(), x.size(), alpha, beta);
      for (std::size_t number = 1; number < all.size(); ++number) {
        all[number]->unary[static_cast<std::size_t>(function)](x.data(), found.data(), x.size(), alpha, beta);
        const std::size_t where = first_difference(expected, found);
        check::report(where == x.size(), reference::name_of(function), __FILE__, __LINE__,
                      std::string(all[number]->name) +
                          (where == x.size()
                               ? ""
                               : ": other bits than " + std::string(all[0]->name) + " at " + std::to_string(x[where])));
      }
    }
  }
}

TEST_CASE("functions of two elements have the same bits on every instruction set") {
  const std::vector<float> some = numbers(24'000'001);
  std::vector<float> a;
  std::vector<float> b;
  for (const float x : some) {
    for (const float y : some) {
      a.push_back(x);
      b.push_back(y);
    }
  }
  const std::vector<const KernelTable*> all = tables();
  for (std::size_t function = 0; function < std::size(every_binary); ++function) {
    std::vector<std::vector<float>> results(all.size(), std::vector<float>(a.size()));
    for (std::size_t number = 0; number < all.size(); ++number) {
      Step step;
      step.in[0] = {a.data(), 0};
      step.in[1] = {b.data(), 0};
      step.out[0] = {results[number].data(), 0};
      step.in_size[0] = step.in_size[1] = step.size = a.size();
      all[number]->binary[function](step);
      const std::size_t where = first_difference(results[0], results[number]);
      check::report(
          where == a.size(), "function of two elements", __FILE__, __LINE__,
          std::string(all[number]->name) + ", function " + std::to_string(function) +
              (where == a.size() ? ""
                                 : ": other bits at " + std::to_string(a[where]) + ", " + std::to_string(b[where])));
    }
  }
}

int main() { return check::run_all(); }
