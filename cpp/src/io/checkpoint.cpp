#include "io/checkpoint.hpp"

#include <string_view>

#include "io/first_bytes.hpp"

namespace ganglion::detail {

namespace {

using namespace std::string_view_literals;

bool is_pickle(std::string_view text) {
  return text.size() > 2 && text[0] == '\x80' && text[1] >= '\x02' && text[1] <= '\x05';
}

}  // namespace

const char* checkpoint_kind(std::span<const std::byte> bytes) {
  const std::string_view text = as_text(bytes);
  const auto names = [&](std::string_view name) { return text.find(name) != std::string_view::npos; };
  if (is_safetensors(bytes)) return nullptr;  // it may begin as a pickle does
  if (is_zip(bytes)) {
    if (names("constants.pkl"sv)) return nullptr;  // TorchScript
    if (names("policy.pth"sv)) return "a checkpoint of Stable-Baselines3";
    if (names("data.pkl"sv)) return "a checkpoint of torch.save";
    return names(".npy"sv) ? "a file of numpy.savez" : nullptr;
  }
  if (text.starts_with("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv))
    return "a checkpoint of torch.save";
  if (is_pickle(text)) return "a pickle";
  if (text.starts_with("\x93NUMPY"sv)) return "a file of numpy.save";
  return text.starts_with("\x89HDF"sv) ? "an HDF5 file" : nullptr;
}

}  // namespace ganglion::detail
