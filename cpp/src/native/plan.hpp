#pragma once

// Where every value of a program lives. Values of the caller's buffers are used in place, slices and concatenations
// become views, and everything else shares one arena by lifetime.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "native/program.hpp"

namespace ganglion::native {

/// The memory that an address is relative to; `next_*` are the buffers that a step writes.
enum class Area : std::uint8_t { constants, observation, state, next_state, next_outputs, arena };
inline constexpr std::size_t area_count = 6;

/// Address of a value's first row, in floats from the start of its area, and the distance between rows.
struct Place {
  Area area = Area::arena;
  std::size_t offset = 0;
  std::size_t stride = 0;
};

/// `size` neighbouring floats that have to be moved.
struct Copy {
  Place from;
  Place to;
  std::size_t size = 0;
};

/// Single floats that have to be moved: pairs of where each one is, and where it goes.
struct Pick {
  Place from;
  std::vector<std::int32_t> index;
};

/// What is left to do of a gather once its output has a place: copies, then a read through the index from `source`; or
/// else picks from each input.
struct GatherPlan {
  std::vector<Copy> copies;
  bool indexed = false;
  Place source;
  std::vector<Pick> picks;
};

/// Floats of the arena that no kernel may touch.
struct Guard {
  std::size_t offset = 0;
  std::size_t size = 0;
};

struct Plan {
  std::vector<Place> places;         ///< by value
  std::vector<GatherPlan> gathers;   ///< by operation; empty for every other kind
  std::vector<std::size_t> scratch;  ///< by operation: offset of its scratch in the arena
  std::vector<Copy> final_copies;    ///< values with a second destination, or that no operation writes
  std::vector<Guard> guards;         ///< only under AddressSanitizer (guards.hpp)
  std::size_t arena_floats = 0;
};

/// Plans a checked program for `batch` rows. `constants`: offset of each constant value; `scratch`: floats that each
/// operation needs beside its operands. Nothing where the arena would be unreasonably large.
[[nodiscard]] std::optional<Plan> make_plan(const Program& program, std::size_t batch,
                                            const std::vector<std::size_t>& constants,
                                            std::vector<std::size_t> scratch);

}  // namespace ganglion::native
