// The smallest controller: load, reset, step.
//
//   03_minimal_embed policy.ganglion
#include <cstdio>
#include <ganglion/policy.hpp>
#include <vector>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: 03_minimal_embed ARTIFACT\n");
    return 2;
  }
  auto policy = ganglion::Policy::load(argv[1]);  // set-up: may allocate, throws ganglion::Error

  std::vector<float> observation(policy.contract().observation_size(), 0.1F);
  std::vector<float> action(policy.contract().action_size());
  policy.reset();
  for (int step = 0; step < 5; ++step) {  // the same observation every time: what changes is the memory
    if (policy.step(observation, action) != ganglion::Status::ok) return 1;
    std::printf("%.9g\n", action[0]);
  }
  return 0;
} catch (const ganglion::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
