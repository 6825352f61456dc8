#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ganglion/adapter_check.hpp"
#include "wiring/npz.hpp"

namespace ganglion::wiring {

/// Names that mean the same in every recording.
inline constexpr std::string_view observation_name = "observation";
inline constexpr std::string_view reset_name = "reset";
inline constexpr std::string_view action_name = "action";
inline constexpr std::string_view names_name = "names";

/// The states of a recording, whatever file they were in.
class RawRecording {
 public:
  /// `name` is the file, for errors. Throws `Error` (bad_artifact): nothing in it is one row for each step.
  RawRecording(std::string name, Arrays arrays);

  [[nodiscard]] std::size_t steps() const { return steps_; }
  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] RawState state(std::size_t step, std::size_t row) const;

  [[nodiscard]] bool has(std::string_view array) const;
  [[nodiscard]] std::span<const double> at(std::string_view array, std::size_t step, std::size_t row) const;
  [[nodiscard]] std::span<const float> float_at(std::string_view array, std::size_t step, std::size_t row) const;

  /// Writes what an adapter made of the states: `observations` is [steps, rows, observation_size], and what is known of
  /// the recording beside it is taken over. Throws `Error` (recording_failed).
  void write(const std::filesystem::path& path, std::span<const float> observations,
             std::size_t observation_size) const;

 private:
  /// The numbers of an array, made when they are asked for first.
  struct Numbers {
    bool is_by_row = false;
    std::size_t size = 0;  ///< of one state
    std::vector<double> wide{};
    std::vector<float> narrow{};
  };

  [[noreturn]] void refuse(const std::string& why) const;
  [[nodiscard]] const Npy* find(std::string_view array) const;
  [[nodiscard]] std::size_t count_steps() const;
  [[nodiscard]] Arrays taken_over(std::size_t observation_size) const;
  void read_resets();
  [[nodiscard]] Numbers& numbers(std::string_view array) const;

  std::string name_;
  Arrays arrays_;
  std::size_t steps_ = 0;
  std::size_t rows_ = 1;
  bool has_rows_ = false;     ///< observations are [steps, rows, n], and not [steps, n]
  std::vector<bool> resets_;  ///< [steps, rows]
  mutable std::map<std::string, Numbers, std::less<>> numbers_;
};

/// The states of a .npz or .mcap file in memory; `name` stands for its path. Throws `Error` (bad_artifact) naming it.
[[nodiscard]] RawRecording read_raw(std::span<const std::byte> bytes, const std::string& name);
/// Reads a .npz or .mcap file. Throws `Error` (file_not_found, bad_artifact) naming it.
[[nodiscard]] RawRecording read_raw(const std::filesystem::path& path);

}  // namespace ganglion::wiring
