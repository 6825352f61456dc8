// A process that loads a policy and forks, as supervisors and launchers do: in the child a step answers, the policy can
// be destroyed, and another one loaded.

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <ganglion/policy.hpp>
#include <optional>

#include "check.hpp"

namespace {

using ganglion::Policy;
using ganglion::Status;

std::string engine;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

std::filesystem::path artifact() {
  const char* const suffix = engine == "native" ? ".ganglion" : engine == "onnxruntime" ? ".onnx" : ".pt";
  return std::filesystem::path(GANGLION_ARTIFACTS) / (std::string("lstm") + suffix);
}

Status step(Policy& policy) {
  const std::vector<float> observation(policy.contract().observation_size(), 0.1F);
  std::vector<float> action(policy.contract().action_size());
  return policy.step(observation, action);
}

/// What the child has to say, as its exit status.
int child(std::optional<Policy>& policy, const ganglion::LoadOptions& options, Status expected) {
  alarm(30);
  if (step(*policy) != expected) return 10;
  policy->reset();
  policy.reset();
  if (engine == "libtorch" && options.threads > 1) return 0;  // its pool of threads is gone; LibTorch would wait for it
  Policy fresh = Policy::load(artifact(), options);
  return step(fresh) == Status::ok ? 0 : 11;
}

}  // namespace

TEST_CASE("a fork after a load") {
  for (const int threads : {1, 4}) {
    if (engine == "native" && threads > 1) continue;  // refused
    ganglion::LoadOptions options;
    options.threads = threads;
    std::optional policy = Policy::load(artifact(), options);
    CHECK_EQUAL(step(*policy), Status::ok);
    const Status expected = engine == "onnxruntime" ? Status::engine_failure : Status::ok;
    const pid_t number = fork();
    if (number == 0) {
      const int result = child(policy, options, expected);
      // What ONNX Runtime itself cleans up behind main waits for threads of the parent (SECURITY.md).
      engine == "onnxruntime" ? _exit(result) : std::exit(result);
    }
    int status = 0;
    CHECK_EQUAL(waitpid(number, &status, 0), number);
    check::report(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ends well", __FILE__, __LINE__,
                  engine + ", " + std::to_string(threads) + " threads: wait status " + std::to_string(status));
    CHECK_EQUAL(step(*policy), Status::ok);
  }
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  engine = argv[1];
  const char* variable = engine == "onnxruntime" ? "GANGLION_ONNXRUNTIME" : "GANGLION_LIBTORCH";
  const char* library = std::getenv(variable);
  if (engine != "native" && (library == nullptr || *library == '\0')) {
    std::cout << "skipped: no library for " << engine << '\n';
    return 77;
  }
  return check::run_all();
}
