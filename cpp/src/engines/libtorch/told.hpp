#pragma once

// What the user said of a TorchScript file. Part of the LibTorch engine's translation unit.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engines/engine.hpp"
#include "engines/libtorch/module.hpp"

namespace ganglion::detail {

struct Told {
  std::optional<std::vector<std::string>> state;            ///< what holds the state, and all of it
  std::vector<std::pair<std::string, std::int64_t>> sizes;  ///< of observations; "" where there is one

  Told() = default;
  explicit Told(const InferenceHints& hints) {
    if (hints.state_names != nullptr) state.emplace(hints.state_names->begin(), hints.state_names->end());
    for (const NamedSize& size : hints.observation) {
      sizes.emplace_back(size.name, static_cast<std::int64_t>(size.size));
    }
  }

  [[nodiscard]] bool names_state(const std::string& name) const {
    return state && std::ranges::find(*state, name) != state->end();
  }

  /// Elements of an observation, of `count` in all; 0 where nothing was said.
  [[nodiscard]] std::int64_t size_of(const std::string& name, std::size_t count) const {
    for (const auto& [known, size] : sizes) {
      if (known == name || (count == 1 && (known.empty() || known == "obs"))) return size;
    }
    return 0;
  }

  /// Every size that was said must be of an observation that there is.
  void check_parts(const std::vector<std::string>& parts) const {
    for (const auto& [known, size] : sizes) {
      const bool is_only = parts.size() == 1 && (known.empty() || known == "obs");
      if (is_only || std::ranges::find(parts, known) != parts.end()) continue;
      throw ModuleRefusal("observation-unknown",
                          known.empty() ? "forward takes the observations " + join(parts) + ": say the size of each"
                                        : "forward takes no observation '" + known + "'; it takes " + join(parts));
    }
  }
};

}  // namespace ganglion::detail
