// Policies of every family that ganglion knows, in the same loop.
//
//   07_policy_families ARTIFACT...
#include <cstdio>
#include <filesystem>
#include <ganglion/policy.hpp>
#include <string>
#include <vector>

namespace {

constexpr int kSteps = 50;
constexpr std::uint64_t kSeed = 7;

bool fly(const std::filesystem::path& artifact) {
  // Where the outputs are a distribution, actions are drawn; the same seed draws the same in Python.
  ganglion::LoadOptions options;
  const auto outputs = ganglion::inspect(artifact).outputs;
  if (outputs[0].name == "mean") options.sample_seed = kSeed;
  auto policy = ganglion::Policy::load(artifact, options);

  std::vector<float> observation(policy.contract().observation_size());
  std::vector<float> action(policy.contract().action_size());
  for (int step = 0; step < kSteps; ++step) {
    for (float& element : observation) element = 0.1F * static_cast<float>(step % 20);
    if (policy.step(observation, action) != ganglion::Status::ok) return false;
  }

  std::string text = artifact.filename().string() + ": outputs";
  for (const auto& output : outputs) text += " " + output.name;
  text += "; state";
  for (const auto& slot : policy.contract().state) text += " " + slot.name;
  std::printf("%s; %s", text.c_str(), options.sample_seed ? "drew" : "action");
  for (const float value : action) std::printf(" %.9g", value);
  std::printf("\n");
  return true;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) {
    std::fprintf(stderr, "usage: 07_policy_families ARTIFACT...\n");
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    if (!fly(argv[i])) return 1;
  }
  return 0;
} catch (const ganglion::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
