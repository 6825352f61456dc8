// The policy as a header: nothing to load, nothing to link, no heap. The same lines run on a microcontroller.
//
//   c++ -std=c++17 -O2 -I <folder of policy.hpp> 06_header.cpp -o 06_header && ./06_header
#include <cstdio>

#include "policy.hpp"

int main() {
  const policy::SelfTest test = policy::Policy::self_test();  // once at start-up: replays a run of the Python policy
  if (!test.ok) {
    std::fprintf(stderr, "self-test failed at step %zu, element %zu\n", test.bad_step, test.bad_element);
    return 1;
  }

  static policy::Policy pilot;  // all memory that there is: sizeof(policy::Policy) bytes
  float observation[policy::observation_size];
  float action[policy::action_size];
  for (float& element : observation) element = 0.1F;
  for (int step = 0; step < 5; ++step) {  // the same observation every time: what changes is the memory
    if (pilot.step(observation, action) != policy::Status::ok) return 1;
    std::printf("%.6f %s\n", static_cast<double>(action[0]), policy::output_elements[0].unit);
  }
  return 0;
}
