#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ganglion::detail {

/// The program of a TorchScript archive, read as text: nothing of it is run.
///
/// A TorchScript file is a program that its first load already runs (`__setstate__`), and TorchScript can read and
/// write files. A policy needs tensors, numbers, strings and containers of them, and calls between its own functions:
/// what goes beyond is found by name.
class TorchScriptCode {
 public:
  /// `files`: what lies in the folder `code` of the archive, by name.
  explicit TorchScriptCode(const std::map<std::string, std::string>& files);

  /// The first thing that no policy needs, with the place: "'torch.save' (code/__torch__.py, line 7)". None if all is
  /// well.
  [[nodiscard]] const std::optional<std::string>& stranger() const { return stranger_; }

 private:
  std::optional<std::string> stranger_;
};

/// Whether a policy needs the custom C++ classes of this name space of PyTorch ("quantized", "rnn").
[[nodiscard]] bool is_known_class(std::string_view name);

}  // namespace ganglion::detail
