// One artifact steers several robots. Two of them start over; the others never notice.
//
//   04_batch_masked_reset robots.ganglion
#include <cstdint>
#include <cstdio>
#include <ganglion/policy.hpp>
#include <vector>

namespace {

constexpr int kStepsBefore = 50;
constexpr int kStepsAfter = 5;

// What robot `row` sees at `step`: every robot something else.
void observe(std::vector<float>& observations, std::size_t rows, int step) {
  const std::size_t size = observations.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t element = 0; element < size; ++element) {
      observations[row * size + element] = 0.001F * static_cast<float>(row + 1) * static_cast<float>(step % 20);
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: 04_batch_masked_reset ARTIFACT\n");
    return 2;
  }
  auto policy = ganglion::Policy::load(argv[1]);
  auto undisturbed = policy.clone();  // the same weights with a state of its own, for comparison
  const std::size_t rows = policy.batch();
  std::vector<float> observations(rows * policy.contract().observation_size());
  std::vector<float> forces(rows * policy.contract().action_size());
  std::vector<float> expected(forces.size());

  std::vector<std::uint8_t> starts_over(rows, 0);  // robots 1, 4, 7, ...
  for (std::size_t row = 1; row < rows; row += 3) starts_over[row] = 1;

  for (int step = 0; step < kStepsBefore + kStepsAfter; ++step) {
    if (step == kStepsBefore && policy.reset(starts_over) != ganglion::Status::ok) return 1;
    observe(observations, rows, step);
    if (policy.step(observations, forces) != ganglion::Status::ok) return 1;
    if (undisturbed.step(observations, expected) != ganglion::Status::ok) return 1;
  }

  bool as_promised = true;
  for (std::size_t row = 0; row < rows; ++row) {
    const bool continued = forces[row] == expected[row];
    std::printf("robot %zu %s force %.9g N\n", row, continued ? "continued" : "started over", forces[row]);
    as_promised = as_promised && continued == (starts_over[row] == 0);
  }
  return as_promised ? 0 : 1;
} catch (const ganglion::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
