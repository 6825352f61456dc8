#pragma once

#include "ganglion/contract.hpp"
#include "io/json.hpp"

namespace ganglion::detail {

/// The entry `observation_profile` of a contract. Throws `Error` (bad_artifact) on anything that FORMAT.md rules out,
/// and `Json::Mismatch`.
[[nodiscard]] ObservationProfile read_profile(const Json& document);
[[nodiscard]] Json write_profile(const ObservationProfile& profile);

}  // namespace ganglion::detail
