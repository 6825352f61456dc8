// The TorchScript file in a LibTorch program that has never heard of ganglion: forward() steps, reset() starts over.
//
//   05_plain_libtorch policy.pt
#include <torch/script.h>

#include <cstdint>
#include <cstdio>
#include <exception>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: 05_plain_libtorch policy.pt\n");
    return 2;
  }
  const c10::InferenceMode inference;
  torch::jit::Module policy = torch::jit::load(argv[1]);
  const std::int64_t size = policy.attr("input_size").toInt();
  const torch::Tensor observation = torch::full({size}, 0.1F);

  for (int run = 0; run < 2; ++run) {  // the second run repeats the first: reset() forgets everything
    policy.get_method("reset")({});
    for (int step = 0; step < 5; ++step) {
      const torch::Tensor action = policy.forward({observation}).toTensor();
      std::printf("%.9g\n", action[0].item<float>());
    }
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
