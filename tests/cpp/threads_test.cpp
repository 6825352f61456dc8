// Clones share weights: many of them step at once in threads of their own, and agree. Run under ThreadSanitizer too.

#include <cstdlib>
#include <ganglion/policy.hpp>
#include <thread>

#include "check.hpp"

TEST_CASE("clones step in parallel and agree") {
  const auto original = ganglion::Policy::load(std::filesystem::path(GANGLION_ARTIFACTS) / "lstm.onnx");
  constexpr std::size_t threads = 4;
  std::vector<ganglion::Policy> policies;
  std::vector<std::vector<float>> actions(threads);
  for (std::size_t i = 0; i < threads; ++i) policies.push_back(original.clone());
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i) {
    running.emplace_back([&policy = policies[i], &all = actions[i]] {
      std::vector<float> action(2);
      for (int step = 0; step < 200; ++step) {
        const std::vector<float> observation{0.01F * static_cast<float>(step), 0.5F, -0.5F};
        if (policy.step(observation, action) != ganglion::Status::ok) return;
        all.insert(all.end(), action.begin(), action.end());
        if (step == 100) policy.reset();
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  for (const auto& all : actions) {
    CHECK_EQUAL(all.size(), 400U);
    CHECK(all == actions[0]);
  }
}

int main() {
  const char* library = std::getenv("GANGLION_ONNXRUNTIME");
  if (library == nullptr || *library == '\0') {
    std::cout << "skipped: no libonnxruntime\n";
    return 77;
  }
  return check::run_all();
}
