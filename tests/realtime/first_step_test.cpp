// first_step_test FILE 0|1: with 1, actions are drawn. The first call of every verb after a load takes no page fault.
// In a process of its own: whatever ran before would have brought the pages in.

#include <sys/resource.h>

#include <cstdio>
#include <exception>
#include <vector>

#include "ganglion/native_policy.hpp"

namespace {

long faults() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

/// The pages that `verb` brought in.
template <class Verb>
long taken(const char* name, const Verb& verb) {
  const long before = faults();
  verb();
  const long found = faults() - before;
  if (found != 0) std::printf("%s: %ld page faults\n", name, found);
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    ganglion::NativeOptions options;
    if (argv[2][0] == '1') options.sample_seed = 1;
    ganglion::NativePolicy policy = ganglion::NativePolicy::load(argv[1], options);
    const std::vector<float> observation(policy.batch() * policy.contract().observation_size(), 0.1F);
    const std::vector<float> state(policy.state().begin(), policy.state().end());
    const std::vector<std::uint8_t> rows(policy.batch(), 1);
    std::vector<float> action(policy.batch() * policy.contract().action_size(), 0.0F);
    static_cast<void>(taken("nothing", [] {}));
    long found = 0;
    ganglion::Status status = ganglion::Status::ok;
    found += taken("step", [&] { status = policy.step(observation, action); });
    found += taken("second step", [&] { static_cast<void>(policy.step(observation, action)); });
    found += taken("reset(rows)", [&] { static_cast<void>(policy.reset(rows)); });
    found += taken("set_state", [&] { static_cast<void>(policy.set_state(state)); });
    found += taken("set_applied_action", [&] { static_cast<void>(policy.set_applied_action(action)); });
    found += taken("output", [&] { static_cast<void>(policy.output(0)); });
    found += taken("reset", [&] { policy.reset(); });
    if (status != ganglion::Status::ok) std::printf("step: %s\n", to_string(status));
    return found == 0 && status == ganglion::Status::ok ? 0 : 1;
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
