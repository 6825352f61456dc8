#include "flight/schemas.hpp"

#include <string_view>

#include "ganglion/action_guard.hpp"
#include "ganglion/cadence.hpp"
#include "ganglion/status.hpp"

namespace ganglion::flight {

namespace {

constexpr const char* package = "ganglion_msgs/msg/";
constexpr const char* time_and_sequence =
    "int64 time_ns                # of the recorder's clock; see clock_offset_ns in the metadata ganglion.recording\n"
    "uint64 sequence              # of the event in the recording; a hole is what was dropped\n";
constexpr const char* digest = "uint64 state_digest          # XXH64 of the state afterwards\n";

/// "# 0 ok, 1 bad_size, ..." of an enumeration.
template <class Enumeration>
std::string values_of(std::size_t count) {
  std::string text = "  #";
  for (std::size_t i = 0; i < count; ++i) {
    text += (i == 0 ? " " : ", ") + std::to_string(i) + " " + to_string(static_cast<Enumeration>(i));
  }
  return text + "\n";
}

std::string status_field() {
  std::size_t count = 0;
  while (to_string(static_cast<Status>(count)) != std::string_view("unknown")) ++count;
  return "uint8 status" + values_of<Status>(count);
}

/// An array; nothing where it has no elements, which ROS does not know.
std::string array(const char* type, const std::string& name, std::size_t size) {
  return size == 0 ? "" : std::string(type) + "[" + std::to_string(size) + "] " + name + "\n";
}

/// Text that stays in one line of comments.
std::string in_one_line(std::string text) {
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < ' ' || letter == '\x7F') letter = ' ';
  }
  return text;
}

/// The names of a vector, of its elements, and how many rows it has.
std::string comments(const std::vector<TensorSpec>& specs, std::size_t rows) {
  std::string text;
  for (const TensorSpec& spec : specs) {
    text += "# " + in_one_line(spec.name) + " [" + (rows == 1 ? "" : std::to_string(rows) + ", ") +
            std::to_string(spec.size) + "]";
    for (std::size_t i = 0; i < spec.element_names.size(); ++i) {
      text += (i == 0 ? ": " : ", ") + in_one_line(spec.element_names[i]);
      if (i < spec.units.size() && !spec.units[i].empty()) text += " (" + in_one_line(spec.units[i]) + ")";
    }
    text += '\n';
  }
  return text;
}

std::string state_comments(const Contract& contract, std::size_t rows) {
  std::string text = rows == 1 ? "# of each slot:" : "# " + std::to_string(rows) + " rows, in each:";
  for (const StateSlot& slot : contract.state) {
    text += " " + in_one_line(slot.name) + " " + std::to_string(slot.size());
  }
  return text + "\n";
}

}  // namespace

Topic events_of_flight() {
  return {"/events", std::string(package) + "Event",
          std::string(time_and_sequence) +
              "uint64 count                 # of a gap: the events that were dropped here\n"
              "uint32 policy                # its number; 4294967295 for none\n"
              "uint8 kind" +
              values_of<realtime::EventKind>(5)};
}

std::vector<Topic> topics_of(const detail::RecordedPolicy& policy, std::uint32_t number) {
  const realtime::LoopSizes& sizes = policy.sizes;
  const Contract& contract = *policy.contract;
  const std::string place = "/policy" + std::to_string(number) + "/";
  const std::string type = package + std::string("Policy") + std::to_string(number);
  const std::string status = status_field();
  const std::string begin = time_and_sequence;
  std::string step = begin + digest + status + comments(contract.inputs, sizes.batch) +
                     array("float32", "observation", sizes.observation) +
                     comments({contract.outputs.front()}, sizes.batch) + array("float32", "action", sizes.action);
  for (std::size_t i = sizes.draws ? 0 : 1; i < contract.outputs.size(); ++i) {
    step += comments({contract.outputs[i]}, sizes.batch) +
            array("float32", "output_" + std::to_string(i), sizes.batch * contract.outputs[i].size);
  }
  const std::string state = state_comments(contract, sizes.batch) + array("float32", "state", sizes.state);
  const std::string draws =
      sizes.draws ? array("uint64", "sample_step", sizes.batch) + array("uint32", "sample_episode", sizes.batch) : "";
  return {{place + "step", type + "Step", step},
          {place + "reset", type + "Reset",
           begin + status + "# 1 where a row was reset\n" + array("uint8", "rows", sizes.batch)},
          {place + "set_state", type + "SetState", begin + digest + status + state},
          {place + "applied_action", type + "AppliedAction",
           begin + digest + status + comments({contract.outputs.front()}, sizes.batch) +
               array("float32", "action", sizes.action)},
          {place + "snapshot", type + "Snapshot", begin + digest + draws + state}};
}

Topic ticks_topic(const std::string& name) {
  return {name, std::string(package) + "Tick",
          std::string(time_and_sequence) +
              "float64 off_s                # later than its period; less than 0: earlier\n" + "uint8 tick" +
              values_of<Tick>(5)};
}

Topic guard_topic(const std::string& name, std::size_t action_size) {
  return {name, std::string(package) + "Guard" + std::to_string(action_size),
          std::string(time_and_sequence) + "uint32 element               # the first one that the reason is about\n" +
              "uint8 reason" + values_of<GuardReason>(9) + array("float32", "command", action_size)};
}

Topic values_topic(const std::string& name, std::size_t size) {
  return {name, std::string(package) + "Values" + std::to_string(size),
          time_and_sequence + array("float32", "values", size)};
}

}  // namespace ganglion::flight
