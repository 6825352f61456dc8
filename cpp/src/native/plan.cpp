#include "native/plan.hpp"

#include <algorithm>
#include <cstring>
#include <map>

#include "realtime/guards.hpp"
#include "realtime/memory.hpp"

namespace ganglion::native {

namespace {

constexpr std::size_t line = realtime::cache_line / sizeof(float);

/// A piece of one input that stays together in the output of a gather.
struct Run {
  std::size_t input = 0;  ///< position in Op::in
  std::size_t from = 0;
  std::size_t to = 0;
  std::size_t size = 0;
};

std::size_t index_at(const Tensor& tensor, std::size_t i) {
  std::int32_t value = 0;
  std::memcpy(&value, tensor.bytes.data() + i * sizeof value, sizeof value);
  return static_cast<std::size_t>(value);
}

std::vector<Run> runs_of(const Program& program, const Op& op) {
  std::vector<std::size_t> begins;
  std::size_t total = 0;
  for (const Index value : op.in) {
    begins.push_back(total);
    total += program.values[value].size;
  }
  std::vector<Run> runs;
  const Tensor& tensor = program.tensors[op.index];
  for (std::size_t i = 0; i < program.values[op.out[0]].size; ++i) {
    const std::size_t at = index_at(tensor, i);
    const auto input =
        static_cast<std::size_t>(std::upper_bound(begins.begin(), begins.end(), at) - begins.begin()) - 1;
    const std::size_t from = at - begins[input];
    if (!runs.empty() && runs.back().input == input && runs.back().from + runs.back().size == from) {
      ++runs.back().size;
    } else {
      runs.push_back({input, from, i, 1});
    }
  }
  return runs;
}

/// Memory given out and taken back in the order of the program: first fit among the holes.
class ArenaAllocator {
 public:
  std::size_t take(std::size_t size) {
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
      if (hole->second < size) continue;
      const std::size_t offset = hole->first;
      if (hole->second > size) holes_.emplace(offset + size, hole->second - size);
      holes_.erase(hole);
      return offset;
    }
    const std::size_t offset = end_;
    end_ += size;
    return offset;
  }

  void give_back(std::size_t offset, std::size_t size) {
    if (realtime::has_guards) return;
    auto next = holes_.lower_bound(offset);
    if (next != holes_.end() && offset + size == next->first) {
      size += next->second;
      next = holes_.erase(next);
    }
    if (next != holes_.begin()) {
      const auto previous = std::prev(next);
      if (previous->first + previous->second == offset) {
        previous->second += size;
        return;
      }
    }
    holes_.emplace(offset, size);
  }

  [[nodiscard]] std::size_t end() const { return end_; }

 private:
  std::map<std::size_t, std::size_t> holes_;  ///< size by offset
  std::size_t end_ = 0;
};

class Planner {
 public:
  Planner(const Program& program, std::size_t batch, std::vector<std::size_t> scratch)
      : program_(program),
        batch_(batch),
        homes_(program.values.size()),
        writer_(program.values.size(), none),
        runs_(program.ops.size()),
        scratch_(std::move(scratch)) {
    for (std::size_t i = 0; i < program.ops.size(); ++i) {
      for (const Index value : program.ops[i].out) writer_[value] = static_cast<Index>(i);
      if (program.ops[i].kind == OpKind::gather) plan_runs(i);
    }
  }

  std::optional<Plan> plan(const std::vector<std::size_t>& constants) {
    fix_given_values(constants);
    fix_results();
    for (std::size_t i = program_.ops.size(); i-- > 0;) write_in_place(i);
    for (std::size_t i = 0; i < program_.ops.size(); ++i) make_view(i);
    if (!fill_arena()) return std::nullopt;
    Plan plan;
    plan.arena_floats = arena_floats_;
    for (Index value = 0; value < homes_.size(); ++value) plan.places.push_back(place_of(value));
    for (std::size_t i = 0; i < program_.ops.size(); ++i) plan.gathers.push_back(gather_plan(i));
    for (const auto& [value, to] : second_homes_) {
      plan.final_copies.push_back({place_of(value), to, program_.values[value].size});
    }
    plan.scratch = scratch_offset_;
    plan.guards = guards_;
    return plan;
  }

 private:
  struct Home {
    bool fixed = false;   ///< `place` is the answer
    Index parent = none;  ///< else, if not none: inside of that value, at `place.offset`
    Place place;
  };

  [[nodiscard]] bool is_free(Index value) const {
    return writer_[value] != none && !homes_[value].fixed && homes_[value].parent == none;
  }

  [[nodiscard]] bool is_copied(std::size_t op) const {
    return program_.ops[op].kind == OpKind::gather && indexed_[op] == 0;
  }

  void plan_runs(std::size_t op) {
    indexed_.resize(program_.ops.size(), 0);
    runs_[op] = runs_of(program_, program_.ops[op]);
    const std::size_t size = program_.values[program_.ops[op].out[0]].size;
    if (runs_[op].size() <= std::max<std::size_t>(4, size / 8)) return;
    indexed_[op] = 1;
    runs_[op].clear();
    if (is_laid_together(op)) scratch_[op] = batch_ * inputs_of(op);
  }

  [[nodiscard]] std::size_t inputs_of(std::size_t op) const {
    std::size_t total = 0;
    for (const Index value : program_.ops[op].in) total += program_.values[value].size;
    return total;
  }

  /// Several inputs that are smaller than what is made of them are laid side by side first.
  [[nodiscard]] bool is_laid_together(std::size_t op) const {
    return program_.ops[op].in.size() > 1 && inputs_of(op) <= program_.values[program_.ops[op].out[0]].size;
  }

  void fix(Index value, Area area, std::size_t offset, std::size_t stride) {
    homes_[value].fixed = true;
    homes_[value].place = {area, offset, stride};
  }

  void fix_given_values(const std::vector<std::size_t>& constants) {
    indexed_.resize(program_.ops.size(), 0);
    for (Index value = 0; value < homes_.size(); ++value) {
      if (program_.values[value].constant != none) fix(value, Area::constants, constants[value], 0);
    }
    std::size_t observation = 0;
    for (const Index value : program_.inputs) observation += program_.values[value].size;
    std::size_t offset = 0;
    for (const Index value : program_.inputs) {
      fix(value, Area::observation, offset, observation);
      offset += program_.values[value].size;
    }
    for (const StatePair& pair : program_.state) hidden_ += program_.values[pair.in].size;
    offset = 0;
    for (const StatePair& pair : program_.state) {
      fix(pair.in, Area::state, offset, hidden_);
      offset += program_.values[pair.in].size;
    }
  }

  /// A result is written where the caller wants it; its second destination gets a copy.
  void fix_results() {
    std::size_t offset = 0;
    for (const StatePair& pair : program_.state) {
      fix_result(pair.out, {Area::next_state, offset, hidden_});
      offset += program_.values[pair.out].size;
    }
    offset = 0;
    for (const Index value : program_.outputs) {
      const std::size_t size = program_.values[value].size;
      fix_result(value, {Area::next_outputs, offset, size});
      offset += batch_ * size;
    }
  }

  void fix_result(Index value, const Place& place) {
    if (is_free(value)) {
      fix(value, place.area, place.offset, place.stride);
    } else {
      second_homes_.emplace_back(value, place);
    }
  }

  /// Lets the writers of whole pieces of a concatenation write into it.
  void write_in_place(std::size_t op) {
    if (!is_copied(op)) return;
    const Index out = program_.ops[op].out[0];
    const bool will_be_view = runs_[op].size() == 1 && is_free(out);
    if (will_be_view) return;
    for (const Run& run : runs_[op]) {
      const Index input = program_.ops[op].in[run.input];
      if (!is_free(input) || run.from != 0 || run.size != program_.values[input].size) continue;
      homes_[input].parent = out;
      homes_[input].place.offset = run.to;
    }
  }

  /// A slice is read where its input lies.
  void make_view(std::size_t op) {
    if (!is_copied(op) || runs_[op].size() != 1) return;
    const Index out = program_.ops[op].out[0];
    if (!is_free(out)) return;
    homes_[out].parent = program_.ops[op].in[runs_[op][0].input];
    homes_[out].place.offset = runs_[op][0].from;
  }

  [[nodiscard]] Index root_of(Index value) const {
    while (!homes_[value].fixed && homes_[value].parent != none) value = homes_[value].parent;
    return value;
  }

  [[nodiscard]] Place place_of(Index value) const {
    std::size_t offset = 0;
    while (!homes_[value].fixed && homes_[value].parent != none) {
      offset += homes_[value].place.offset;
      value = homes_[value].parent;
    }
    Place place = homes_[value].place;
    place.offset += offset;
    return place;
  }

  bool fill_arena() {
    const std::size_t end = program_.ops.size();
    std::vector<std::size_t> first(homes_.size(), end + 1);
    std::vector<std::size_t> last(homes_.size(), 0);
    const auto touch = [&](Index value, std::size_t when) {
      const Index root = root_of(value);
      first[root] = std::min(first[root], when);
      last[root] = std::max(last[root], when);
    };
    for (std::size_t i = 0; i < end; ++i) {
      for (const Index value : program_.ops[i].in) touch(value, i);
      for (const Index value : program_.ops[i].out) touch(value, i);
    }
    for (const auto& [value, place] : second_homes_) touch(value, end);

    std::vector<std::vector<Index>> begins(end + 1);
    std::vector<std::vector<Index>> ends(end + 1);
    for (Index value = 0; value < homes_.size(); ++value) {
      if (root_of(value) != value || homes_[value].fixed || first[value] > end) continue;
      homes_[value].place.stride =
          realtime::round_up(program_.values[value].size, line) + (realtime::has_guards ? line : 0);
      begins[first[value]].push_back(value);
      ends[last[value]].push_back(value);
    }
    ArenaAllocator arena;
    scratch_offset_.assign(end, 0);
    for (std::size_t i = 0; i <= end; ++i) {
      for (const Index value : begins[i]) {
        homes_[value].place.offset = arena.take(batch_ * homes_[value].place.stride);
        homes_[value].fixed = true;
        if (arena.end() > realtime::most_floats) return false;
      }
      if (i < end && scratch_[i] != 0) {
        const std::size_t size = realtime::round_up(scratch_[i], line);
        scratch_offset_[i] = arena.take(size);
        if (arena.end() > realtime::most_floats) return false;
        arena.give_back(scratch_offset_[i], size);
      }
      for (const Index value : ends[i]) {
        arena.give_back(homes_[value].place.offset, batch_ * homes_[value].place.stride);
      }
    }
    arena_floats_ = arena.end();
    if (realtime::has_guards) place_guards(begins);
    return true;
  }

  /// Behind every row of every value.
  void place_guards(const std::vector<std::vector<Index>>& values) {
    for (const std::vector<Index>& some : values) {
      for (const Index value : some) {
        const Place& place = homes_[value].place;
        const std::size_t size = program_.values[value].size;
        for (std::size_t row = 0; row < batch_; ++row) {
          guards_.push_back({place.offset + row * place.stride + size, place.stride - size});
        }
      }
    }
  }

  /// From each input what it gives, in the order in which it lies there: it is large, and what is written is not.
  [[nodiscard]] std::vector<Pick> picks_of(const Op& op) const {
    std::vector<std::size_t> begins;
    std::size_t total = 0;
    for (const Index value : op.in) {
      begins.push_back(total);
      total += program_.values[value].size;
    }
    std::vector<std::pair<std::size_t, std::size_t>> all;  // from, to
    for (std::size_t to = 0; to < program_.values[op.out[0]].size; ++to) {
      all.emplace_back(index_at(program_.tensors[op.index], to), to);
    }
    std::sort(all.begin(), all.end());
    std::vector<Pick> picks;
    for (std::size_t input = 0, i = 0; input < op.in.size(); ++input) {
      Pick pick{place_of(op.in[input]), {}};
      const std::size_t end = begins[input] + program_.values[op.in[input]].size;
      for (; i < all.size() && all[i].first < end; ++i) {
        pick.index.push_back(static_cast<std::int32_t>(all[i].first - begins[input]));
        pick.index.push_back(static_cast<std::int32_t>(all[i].second));
      }
      if (!pick.index.empty()) picks.push_back(std::move(pick));
    }
    return picks;
  }

  [[nodiscard]] GatherPlan gather_plan(std::size_t i) const {
    GatherPlan result;
    const Op& op = program_.ops[i];
    if (op.kind != OpKind::gather) return result;
    result.indexed = indexed_[i] != 0;
    if (result.indexed) {
      result.source = place_of(op.in[0]);
      if (op.in.size() == 1) return result;
      if (!is_laid_together(i)) {
        result.picks = picks_of(op);
        return result;
      }
      const std::size_t total = inputs_of(i);
      result.source = {Area::arena, scratch_offset_[i], total};
      std::size_t offset = 0;
      for (const Index value : op.in) {
        const std::size_t size = program_.values[value].size;
        result.copies.push_back({place_of(value), {Area::arena, scratch_offset_[i] + offset, total}, size});
        offset += size;
      }
      return result;
    }
    const Place out = place_of(op.out[0]);
    for (const Run& run : runs_[i]) {
      Place from = place_of(op.in[run.input]);
      from.offset += run.from;
      const Place to{out.area, out.offset + run.to, out.stride};
      const bool is_there = from.area == to.area && from.offset == to.offset;
      if (!is_there) result.copies.push_back({from, to, run.size});
    }
    return result;
  }

  const Program& program_;
  std::size_t batch_;
  std::vector<Home> homes_;
  std::vector<Index> writer_;  ///< by value: the operation that writes it
  std::vector<std::vector<Run>> runs_;
  std::vector<std::uint8_t> indexed_;
  std::vector<std::size_t> scratch_;
  std::vector<std::size_t> scratch_offset_;
  std::vector<std::pair<Index, Place>> second_homes_;
  std::vector<Guard> guards_;
  std::size_t hidden_ = 0;
  std::size_t arena_floats_ = 0;
};

}  // namespace

std::optional<Plan> make_plan(const Program& program, std::size_t batch, const std::vector<std::size_t>& constants,
                              std::vector<std::size_t> scratch) {
  return Planner(program, batch, std::move(scratch)).plan(constants);
}

}  // namespace ganglion::native
