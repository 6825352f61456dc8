#include "wiring/flight_states.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "ganglion/error.hpp"
#include "ganglion/status.hpp"
#include "io/bytes.hpp"
#include "wiring/mcap_messages.hpp"
#include "wiring/raw_recording.hpp"

namespace ganglion::wiring {

namespace {

constexpr std::string_view user = "/user/";
constexpr std::string_view policy = "/policy";

/// Vectors with the numbers of their events.
struct Series {
  std::size_t size = 0;
  std::vector<std::uint64_t> sequence{};
  std::vector<float> values{};

  void add(std::uint64_t number, std::span<const float> vector) {
    size = vector.size();
    sequence.push_back(number);
    values.insert(values.end(), vector.begin(), vector.end());
  }
};

struct Steps {
  Series observation;
  Series action;
  std::vector<bool> is_ok;
  std::vector<std::uint64_t> resets;
};

struct Flight {
  std::map<std::string, Series, std::less<>> channels;
  std::map<std::string, Steps, std::less<>> policies;
  std::vector<std::uint64_t> sequences;  ///< of every event
};

template <class Number>
Number number_in(std::span<const std::byte> fields, const MessageLayout::Field& field) {
  Number number{};
  std::memcpy(&number, fields.data() + field.offset, sizeof(number));
  return number;
}

std::vector<float> floats_in(std::span<const std::byte> fields, const MessageLayout::Field& field) {
  std::vector<float> numbers(field.count);
  std::memcpy(numbers.data(), fields.data() + field.offset, numbers.size() * sizeof(float));
  return numbers;
}

[[noreturn]] void refuse(const std::string& why) { throw Error(ErrorCode::bad_artifact, why); }

void take_message(Flight& flight, const std::string& topic, const MessageLayout& layout,
                  std::span<const std::byte> fields) {
  const auto* const sequence = layout.find("sequence", "uint64");
  if (sequence == nullptr) return;  // another program's
  const auto number = number_in<std::uint64_t>(fields, *sequence);
  flight.sequences.push_back(number);
  if (topic.starts_with(user)) {
    const auto* const values = layout.find("values", "float32");
    if (values == nullptr) return;
    Series& series = flight.channels[topic.substr(user.size())];
    if (series.size != 0 && series.size != values->count) refuse("channel '" + topic + "' has two sizes");
    series.add(number, floats_in(fields, *values));
    return;
  }
  const auto* const status = layout.find("status", "uint8");
  const std::size_t verb = topic.rfind('/');
  if (!topic.starts_with(policy) || status == nullptr || verb < policy.size()) return;
  const bool is_ok = number_in<std::uint8_t>(fields, *status) == static_cast<std::uint8_t>(Status::ok);
  const std::string name = topic.substr(0, verb);
  const auto* const observation = layout.find("observation", "float32");
  const auto* const action = layout.find("action", "float32");
  const auto* const rows = layout.find("rows", "uint8");
  if (topic.ends_with("/step") && observation != nullptr && action != nullptr) {
    Steps& steps = flight.policies[name];
    steps.observation.add(number, floats_in(fields, *observation));
    steps.action.add(number, floats_in(fields, *action));
    steps.is_ok.push_back(is_ok);
  } else if (topic.ends_with("/reset") && rows != nullptr && is_ok) {
    if (rows->count != 1) {
      refuse("the policy of this flight steps " + std::to_string(rows->count) +
             " robots, and a channel does not say which values are whose; write the states with numpy.savez, "
             "[steps, robots, n]");
    }
    flight.policies[name].resets.push_back(number);
  }
}

Npy floats(const std::vector<float>& values, std::size_t steps) {
  return make_npy("<f4", {steps, values.size() / std::max<std::size_t>(steps, 1)}, std::as_bytes(std::span(values)));
}

/// The rows of a vector that are kept.
std::vector<float> kept(const Series& series, const std::vector<bool>& is_ok) {
  std::vector<float> values;
  for (std::size_t i = 0; i < is_ok.size(); ++i) {
    const auto row = std::span(series.values).subspan(i * series.size, series.size);
    if (is_ok[i]) values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

/// The values of a channel for each step.
Series by_step(const std::string& name, const Series& channel, const Series& steps) {
  if (channel.sequence.size() == steps.sequence.size()) return channel;
  Series found;
  for (const std::uint64_t number : steps.sequence) {
    const auto behind = std::lower_bound(channel.sequence.begin(), channel.sequence.end(), number);
    if (behind == channel.sequence.begin()) {
      refuse("channel '" + name + "' has no values before the first step of the policy; record it before each step");
    }
    const auto index = static_cast<std::size_t>(behind - channel.sequence.begin()) - 1;
    found.add(number, std::span(channel.values).subspan(index * channel.size, channel.size));
  }
  return found;
}

/// Whether something lies between two steps after which nothing before is known: a reset, or a hole.
std::vector<std::uint8_t> resets_of(const Steps& steps, std::vector<std::uint64_t> sequences) {
  std::vector<std::uint64_t> begins = steps.resets;
  std::sort(sequences.begin(), sequences.end());
  for (std::size_t i = 1; i < sequences.size(); ++i) {
    if (sequences[i] > sequences[i - 1] + 1) begins.push_back(sequences[i]);
  }
  std::sort(begins.begin(), begins.end());
  std::vector<std::uint8_t> resets;
  std::size_t next = 0;
  bool is_pending = true;  // the first step begins an episode
  for (std::size_t i = 0; i < steps.is_ok.size(); ++i) {
    for (; next < begins.size() && begins[next] <= steps.observation.sequence[i]; ++next) is_pending = true;
    if (!steps.is_ok[i]) continue;
    resets.push_back(is_pending ? 1 : 0);
    is_pending = false;
  }
  return resets;
}

}  // namespace

bool is_flight(std::span<const std::byte> bytes) {
  return detail::as_text(bytes).starts_with(std::string_view("\x89MCAP0\r\n", 8));
}

Arrays read_flight_states(std::span<const std::byte> bytes) {
  Flight flight;
  for_each_message(
      bytes, [](std::string_view) { return true; },
      [&flight](const std::string& topic, const MessageLayout& layout, std::span<const std::byte> fields) {
        take_message(flight, topic, layout, fields);
      });
  const auto flown = std::find_if(flight.policies.begin(), flight.policies.end(), [](const auto& named) {
    const std::vector<bool>& is_ok = named.second.is_ok;
    return std::find(is_ok.begin(), is_ok.end(), true) != is_ok.end();
  });
  if (flight.channels.empty()) {
    refuse("this flight has no channels with raw states; record them with FlightRecorder::channel");
  }
  Arrays arrays;
  if (flown == flight.policies.end()) {
    for (const auto& [name, channel] : flight.channels) {
      arrays.emplace(name, floats(channel.values, channel.sequence.size()));
    }
    // One flag for each step is of one robot, and not of several in an axis of their own.
    const auto reset = flight.channels.find(reset_name);
    if (reset != flight.channels.end() && reset->second.size == 1) {
      const std::vector<float>& flags = reset->second.values;
      arrays.insert_or_assign(reset->first, make_npy("<f4", {flags.size()}, std::as_bytes(std::span(flags))));
    }
    return arrays;
  }
  const Steps& steps = flown->second;
  const std::vector<std::uint8_t> resets = resets_of(steps, std::move(flight.sequences));
  arrays.emplace(observation_name, floats(kept(steps.observation, steps.is_ok), resets.size()));
  arrays.emplace(action_name, floats(kept(steps.action, steps.is_ok), resets.size()));
  arrays.emplace(reset_name, make_npy("|b1", {resets.size()}, std::as_bytes(std::span(resets))));
  for (const auto& [name, channel] : flight.channels) {
    arrays.emplace(name, floats(kept(by_step(name, channel, steps.observation), steps.is_ok), resets.size()));
  }
  return arrays;
}

}  // namespace ganglion::wiring
