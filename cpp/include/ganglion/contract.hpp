#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ganglion/realtime.hpp"

namespace ganglion {

/// One input or output vector, without its batch axis. Optional lists are empty where unknown, else `size` long.
struct TensorSpec {
  std::string name;
  std::size_t size = 0;
  std::vector<std::string> element_names;
  std::vector<std::string> units;    ///< SI units: "rad", "m/s", ...
  std::vector<double> low;           ///< -infinity where unbounded
  std::vector<double> high;          ///< +infinity where unbounded
  std::vector<std::size_t> shape{};  ///< of one row in the file, [3, 64, 64] of an image; empty for a vector [size]
};

/// A named slice of the flat hidden vector, without its batch axis: h [layers, hidden], prev_action [actions], ...
struct StateSlot {
  std::string name;
  std::vector<std::size_t> shape;

  [[nodiscard]] std::size_t size() const noexcept GANGLION_NONBLOCKING;
};

/// A short recorded run with a reset inside. Row r of a batch artifact replays the recorded row r % rows.
struct Golden {
  std::size_t steps = 0;
  std::size_t rows = 0;
  std::vector<float> observation;    ///< [steps, rows, observation_size]
  std::vector<unsigned char> reset;  ///< [steps, rows]; the row is reset before that step where set
  std::vector<float> outputs;        ///< [steps, rows, output_size], all outputs side by side
  double tolerance = 1e-5;           ///< accepted |difference| / max(1, |recorded|)
  /// [steps, rows, output_size]: |difference| that is accepted beside that, for float32 holds no less; empty: nothing
  /// is
  std::optional<std::vector<float>> rounding = std::nullopt;
  /// [rows]: SHA-256 over the outputs and states of the row on the native engine, step by step; empty: not recorded
  std::vector<std::string> bits = {};
};

/// One step on the way from what a policy itself gives or draws to a command: clip(scale * x + offset, low, high), with
/// tanh(x) in place of x where `squash`. Lists have one number per element of the action, or none.
struct ActionStage {
  bool squash = false;
  std::vector<double> scale;   ///< none: 1
  std::vector<double> offset;  ///< none: 0
  std::vector<double> low;     ///< -infinity where unbounded
  std::vector<double> high;    ///< +infinity where unbounded
};

/// Neighbours in the observation whose squares add up to 1: a quaternion, a direction.
struct UnitNormGroup {
  std::size_t first = 0;
  std::size_t size = 0;
};

/// An element with few values; one of a constant.
struct DiscreteElement {
  std::size_t element = 0;
  std::vector<double> values;  ///< ascending
};

/// Linear relations between elements of neighbouring steps and the actions before them, P of up to K terms:
/// x[of] = intercept + sum of coefficient * column. FORMAT.md lists the columns.
struct ProfileRelations {
  std::size_t terms = 0;                  ///< K
  std::vector<std::uint16_t> of;          ///< [P], the element that is told
  std::vector<std::uint16_t> columns;     ///< [P, K], 65535 where there are fewer terms
  std::vector<float> coefficients;        ///< [P, K]
  std::vector<float> intercept;           ///< [P], as all that follow
  std::vector<float> residual;            ///< standard deviation of what is left
  std::vector<float> told;                ///< standard deviation of what the relation says
  std::vector<float> mean_deviation;      ///< what the mean of what is left varies by
  std::vector<float> slope_deviation;     ///< what the slope over what the relation says varies by
  std::vector<float> residual_deviation;  ///< what the logarithm of what is left varies by
};

/// What observations looked like in training: statistics of a recording. Correlations stand in steps of 1/32767, and
/// how far those of single segments of the recording are from them (root mean square) in steps of 1/255.
struct ObservationProfile {
  std::size_t steps = 0;               ///< that were recorded
  std::size_t size = 0;                ///< n, elements of the observation
  std::size_t segments = 0;            ///< pieces of the recording, of the same length
  std::size_t actions = 0;             ///< m, elements of the action; 0 where no responses are known
  std::vector<double> levels;          ///< shares of the steps, from 0 (the least value) to 1 (the largest)
  std::vector<int> lags;               ///< steps of autocorrelation
  std::vector<int> response_lags;      ///< steps of response; negative: the action came later
  std::vector<float> quantiles;        ///< [levels, n]
  std::vector<float> mean;             ///< [n]
  std::vector<float> spread;           ///< [n], standard deviation
  std::vector<float> skewness;         ///< [n]
  std::vector<float> change;           ///< [levels, n], quantiles of |x[t] - x[t - 1]|
  std::vector<float> autocorrelation;  ///< [lags, n]
  std::vector<float> segment_means;    ///< [segments, n]
  std::vector<float> segment_spreads;  ///< [segments, n]
  /// [n (n - 1) / 2], the pairs (0, 1), (0, 2), ...; none where there are too many
  std::optional<std::vector<std::int16_t>> correlation = std::nullopt;
  std::vector<std::uint8_t> correlation_deviation;  ///< as long
  std::vector<std::int16_t> response;               ///< [response_lags, n, m], of x[t] and action[t - lag]
  std::vector<std::uint8_t> response_deviation;     ///< as long
  std::vector<UnitNormGroup> unit_norm;
  std::vector<DiscreteElement> discrete;
  std::vector<float> starts;  ///< [3, n], least, median and largest of the first steps of episodes; or empty
  std::optional<ProfileRelations> relations = std::nullopt;
};

/// Everything a controller must know about a policy; the same data as `ganglion.Contract` in Python.
struct Contract {
  std::vector<TensorSpec> inputs;   ///< the observation vector is their concatenation, in this order
  std::vector<TensorSpec> outputs;  ///< the first is the action
  std::vector<StateSlot> state;
  std::vector<float> initial_state;  ///< [hidden_size], restored by reset()
  std::optional<std::size_t> batch;  ///< rows of one step; none where the file takes any number
  std::optional<double> period_s;    ///< control period the policy was trained at, in seconds
  std::map<std::string, std::string> provenance;
  std::string sha256;  ///< over program and weights; empty in a file that carries no contract
  /// From an action that is drawn, or that the slot prev_action holds, to a command. Drawn around the output
  /// `unmapped_mean` where there is one, else around the first. None: not known, so nothing is drawn or told.
  std::optional<std::vector<ActionStage>> action_map = std::vector<ActionStage>();
  std::optional<Golden> golden;
  /// What observations looked like in training; none where no recording told.
  std::optional<ObservationProfile> observation_profile = std::nullopt;

  [[nodiscard]] std::size_t observation_size() const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::size_t action_size() const noexcept GANGLION_NONBLOCKING;
  [[nodiscard]] std::size_t output_size() const noexcept GANGLION_NONBLOCKING;  ///< all outputs together
  [[nodiscard]] std::size_t hidden_size() const noexcept GANGLION_NONBLOCKING;

  /// The JSON document that Python's `Contract.from_json` reads, with the digest over its text inside.
  [[nodiscard]] std::string to_json() const;
  /// Throws `Error` (bad_artifact, newer_format, digest_mismatch) on anything that is not a whole, consistent contract.
  [[nodiscard]] static Contract from_json(std::string_view text);
};

}  // namespace ganglion
