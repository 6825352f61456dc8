// A controller of somebody else's: built once against an installed ganglion, once with ganglion as a subdirectory.

#include <cstdio>
#include <ganglion/policy.hpp>
#include <ganglion/version.hpp>
#include <vector>

int main(int count, char** values) {
  if (count != 2) return 2;
  try {
    auto policy = ganglion::Policy::load(values[1]);
    std::vector<float> observation(policy.contract().observation_size(), 0.1F);
    std::vector<float> action(policy.contract().action_size());
    for (int i = 0; i < 100; ++i) {
      if (policy.step(observation, action) != ganglion::Status::ok) return 3;
    }
    std::printf("ganglion %s, %s: %.9g\n", ganglion::version, to_string(policy.engine()), action[0]);
    return 0;
  } catch (const ganglion::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
