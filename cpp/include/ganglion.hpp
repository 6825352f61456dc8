// ganglion.h for C++17: the same calls as classes that destroy what they hold and throw what set-up calls say. For
// controllers whose compiler has no C++20; one that has includes <ganglion/policy.hpp> instead.
//
// Header only, over libganglion.so. Nouns and verbs are those of the C++20 interface, in the namespace ganglion::c.
// Loop verbs are noexcept and answer a ganglion_status.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "ganglion.h"

namespace ganglion {
namespace c {

/// What a set-up call answered, with its sentence.
class Error : public std::runtime_error {
 public:
  Error(ganglion_status status, const std::string& sentence) : std::runtime_error(sentence), status_(status) {}

  ganglion_status status() const noexcept { return status_; }

 private:
  ganglion_status status_;
};

namespace detail {

constexpr std::size_t longest_sentence = 4096;

/// Makes a set-up call, which is given its buffer for a sentence.
template <class Call>
void set_up(const Call& call) {
  char sentence[longest_sentence];
  sentence[0] = '\0';
  const ganglion_status status = call(sentence, longest_sentence);
  if (status != GANGLION_OK) throw Error(status, sentence[0] != '\0' ? sentence : ganglion_status_name(status));
}

/// A sentence that a call gives.
template <class Call>
std::string sentence_of(const Call& call) {
  char sentence[longest_sentence];
  const ganglion_status status = call(sentence, longest_sentence);
  if (status != GANGLION_OK) throw Error(status, ganglion_status_name(status));
  return sentence;
}

/// A text of any length: asked for its size first.
template <class Call>
std::string text_of(const Call& call) {
  std::size_t needed = 0;
  set_up([&](char* sentence, std::size_t size) {
    const ganglion_status status = call(nullptr, 0, &needed, sentence, size);
    return status == GANGLION_CALL_BUFFER_TOO_SMALL ? GANGLION_OK : status;
  });
  std::string text(needed, '\0');
  set_up([&](char* sentence, std::size_t size) { return call(&text[0], needed, nullptr, sentence, size); });
  text.resize(needed - 1);
  return text;
}

template <class Options>
Options defaults(ganglion_status (*init)(Options*, std::size_t) noexcept) noexcept {
  Options options;
  static_cast<void>(init(&options, sizeof(options)));
  return options;
}

struct Destroy {
  void operator()(ganglion_policy* handle) const noexcept { ganglion_policy_destroy(handle); }
  void operator()(ganglion_recorder* handle) const noexcept { ganglion_recorder_destroy(handle); }
  void operator()(ganglion_recorder_channel* handle) const noexcept { ganglion_recorder_channel_destroy(handle); }
  void operator()(ganglion_cadence* handle) const noexcept { ganglion_cadence_destroy(handle); }
  void operator()(ganglion_tick_monitor* handle) const noexcept { ganglion_tick_monitor_destroy(handle); }
  void operator()(ganglion_guard* handle) const noexcept { ganglion_guard_destroy(handle); }
  void operator()(ganglion_switch* handle) const noexcept { ganglion_switch_destroy(handle); }
};

template <class Type>
using Held = std::unique_ptr<Type, Destroy>;

/// A handle that a call makes.
template <class Type, class Call>
Held<Type> made(const Call& call) {
  Type* handle = nullptr;
  set_up([&](char* sentence, std::size_t size) { return call(&handle, sentence, size); });
  return Held<Type>(handle);
}

}  // namespace detail

/// Floats that the library holds.
struct Floats {
  const float* values = nullptr;
  std::size_t size = 0;

  const float* begin() const noexcept { return values; }
  const float* end() const noexcept { return values + size; }
  const float& operator[](std::size_t index) const noexcept { return values[index]; }
};

inline ganglion_load_options load_options() noexcept { return detail::defaults(ganglion_load_options_init); }
inline ganglion_hints hints() noexcept { return detail::defaults(ganglion_hints_init); }

/// Records a flight; see ganglion.h.
class FlightRecorder {
 public:
  /// Values of one's own; see ganglion.h.
  class Channel {
   public:
    ganglion_status record(const std::vector<float>& values) noexcept {
      return ganglion_recorder_channel_record(held_.get(), values.data(), values.size());
    }

   private:
    friend class FlightRecorder;
    explicit Channel(detail::Held<ganglion_recorder_channel> held) noexcept : held_(std::move(held)) {}
    detail::Held<ganglion_recorder_channel> held_;
  };

  static ganglion_recorder_options options() noexcept { return detail::defaults(ganglion_recorder_options_init); }

  explicit FlightRecorder(const std::string& path, const ganglion_recorder_options& asked = options())
      : held_(detail::made<ganglion_recorder>([&](ganglion_recorder** made, char* sentence, std::size_t size) {
          return ganglion_recorder_open(path.c_str(), &asked, made, sentence, size);
        })) {}

  Channel channel(const std::string& name, std::size_t elements) {
    return Channel(detail::made<ganglion_recorder_channel>([&](auto** made, char* sentence, std::size_t size) {
      return ganglion_recorder_open_channel(held_.get(), name.c_str(), elements, made, sentence, size);
    }));
  }
  void flush() {
    detail::set_up(
        [&](char* sentence, std::size_t size) { return ganglion_recorder_flush(held_.get(), sentence, size); });
  }
  void close(std::int32_t compression = GANGLION_COMPRESSION_NONE) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_recorder_close(held_.get(), compression, sentence, size);
    });
  }
  ganglion_status set_time(std::int64_t now_ns) noexcept { return ganglion_recorder_set_time(held_.get(), now_ns); }
  ganglion_recorder* get() const noexcept { return held_.get(); }

 private:
  detail::Held<ganglion_recorder> held_;
};

/// A loaded policy that owns its hidden state; see ganglion.h.
class Policy {
 public:
  static Policy load(const std::string& path, const ganglion_load_options& options = load_options()) {
    return Policy(detail::made<ganglion_policy>([&](ganglion_policy** made, char* sentence, std::size_t size) {
      return ganglion_policy_load(path.c_str(), &options, made, sentence, size);
    }));
  }
  static Policy load(const void* file, std::size_t file_size, const std::string& name,
                     const ganglion_load_options& options = load_options()) {
    return Policy(detail::made<ganglion_policy>([&](ganglion_policy** made, char* sentence, std::size_t size) {
      return ganglion_policy_load_memory(file, file_size, name.c_str(), &options, made, sentence, size);
    }));
  }
  Policy clone() const {
    return Policy(detail::made<ganglion_policy>([&](ganglion_policy** made, char* sentence, std::size_t size) {
      return ganglion_policy_clone(held_.get(), made, sentence, size);
    }));
  }

  ganglion_status step(const float* observation, std::size_t observations, float* action,
                       std::size_t actions) noexcept {
    return ganglion_policy_step(held_.get(), observation, observations, action, actions);
  }
  ganglion_status step(const std::vector<float>& observation, std::vector<float>& action) noexcept {
    return step(observation.data(), observation.size(), action.data(), action.size());
  }
  ganglion_status burn_in(const std::vector<float>& observations, std::size_t* steps = nullptr) noexcept {
    return ganglion_policy_burn_in(held_.get(), observations.data(), observations.size(), steps);
  }
  ganglion_status reset() noexcept { return ganglion_policy_reset(held_.get()); }
  ganglion_status reset(const std::vector<std::uint8_t>& rows) noexcept {
    return ganglion_policy_reset_rows(held_.get(), rows.data(), rows.size());
  }
  Floats output(std::size_t index) const noexcept {
    Floats found;
    static_cast<void>(ganglion_policy_output(held_.get(), index, &found.values, &found.size));
    return found;
  }
  Floats state() const noexcept {
    Floats found;
    static_cast<void>(ganglion_policy_state(held_.get(), &found.values, &found.size));
    return found;
  }
  ganglion_status set_state(const std::vector<float>& state) noexcept {
    return ganglion_policy_set_state(held_.get(), state.data(), state.size());
  }
  ganglion_status set_applied_action(const std::vector<float>& action) noexcept {
    return ganglion_policy_set_applied_action(held_.get(), action.data(), action.size());
  }

  ganglion_policy_info info() const noexcept {
    ganglion_policy_info found = {};
    found.size = sizeof(found);
    static_cast<void>(ganglion_policy_get_info(held_.get(), &found));
    return found;
  }
  std::string contract_json() const {
    return detail::text_of([&](char* text, std::size_t size, std::size_t* needed, char* sentence, std::size_t room) {
      return ganglion_policy_contract_json(held_.get(), text, size, needed, sentence, room);
    });
  }
  /// Throws where the golden trajectory is missed.
  ganglion_self_test self_test() const {
    ganglion_self_test found = {};
    found.size = sizeof(found);
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_policy_self_test(held_.get(), &found, nullptr, 0, sentence, size);
    });
    return found;
  }
  void attach(FlightRecorder& recorder) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_policy_attach(held_.get(), recorder.get(), sentence, size);
    });
  }
  ganglion_policy* get() const noexcept { return held_.get(); }

 private:
  explicit Policy(detail::Held<ganglion_policy> held) noexcept : held_(std::move(held)) {}
  detail::Held<ganglion_policy> held_;
};

/// When a policy is to step in a faster loop; see ganglion.h.
class Cadence {
 public:
  static ganglion_cadence_options options() noexcept { return detail::defaults(ganglion_cadence_options_init); }

  Cadence(const Policy& policy, double loop_period_s, const ganglion_cadence_options& asked = options())
      : held_(detail::made<ganglion_cadence>([&](ganglion_cadence** made, char* sentence, std::size_t size) {
          return ganglion_cadence_create(policy.get(), loop_period_s, &asked, made, sentence, size);
        })) {}

  bool due(std::int64_t now_ns) noexcept {
    std::int32_t due = 0;
    return ganglion_cadence_due(held_.get(), now_ns, &due) == GANGLION_OK && due != 0;
  }
  ganglion_status take(const std::vector<float>& action) noexcept {
    return ganglion_cadence_take(held_.get(), action.data(), action.size());
  }
  ganglion_status action(std::int64_t now_ns, std::vector<float>& out) const noexcept {
    return ganglion_cadence_action(held_.get(), now_ns, out.data(), out.size());
  }
  ganglion_status reset() noexcept { return ganglion_cadence_reset(held_.get()); }

 private:
  detail::Held<ganglion_cadence> held_;
};

/// Watches when the ticks of a loop come; see ganglion.h.
class TickMonitor {
 public:
  static ganglion_tick_options options() noexcept { return detail::defaults(ganglion_tick_options_init); }

  explicit TickMonitor(const Policy& policy, const ganglion_tick_options& asked = options())
      : held_(detail::made<ganglion_tick_monitor>([&](ganglion_tick_monitor** made, char* sentence, std::size_t size) {
          return ganglion_tick_monitor_create(policy.get(), &asked, made, sentence, size);
        })) {}

  /// GANGLION_TICK_...
  std::int32_t tick(std::int64_t now_ns) noexcept {
    std::int32_t came = GANGLION_TICK_ON_TIME;
    static_cast<void>(ganglion_tick_monitor_tick(held_.get(), now_ns, &came));
    return came;
  }
  ganglion_tick_statistics statistics() const noexcept {
    ganglion_tick_statistics found = {};
    found.size = sizeof(found);
    static_cast<void>(ganglion_tick_monitor_get_statistics(held_.get(), &found));
    return found;
  }
  /// Empty where there is none.
  std::string mismatch() const {
    return detail::sentence_of([&](char* sentence, std::size_t size) {
      return ganglion_tick_monitor_mismatch_sentence(held_.get(), sentence, size);
    });
  }
  void attach(FlightRecorder& recorder) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_tick_monitor_attach(held_.get(), recorder.get(), sentence, size);
    });
  }

 private:
  detail::Held<ganglion_tick_monitor> held_;
};

/// Stands between a policy and the motors; see ganglion.h.
class ActionGuard {
 public:
  static ganglion_guard_options options() noexcept { return detail::defaults(ganglion_guard_options_init); }

  ActionGuard(const Policy& policy, const ganglion_guard_options& asked)
      : held_(detail::made<ganglion_guard>([&](ganglion_guard** made, char* sentence, std::size_t size) {
          return ganglion_guard_create(policy.get(), &asked, made, sentence, size);
        })) {}

  ganglion_status engage(const std::vector<float>& position) noexcept {
    return ganglion_guard_engage(held_.get(), position.data(), position.size());
  }
  ganglion_status apply(const std::vector<float>& action, std::int64_t now_ns, std::vector<float>& command,
                        std::int32_t* reason = nullptr) noexcept {
    return ganglion_guard_apply(held_.get(), action.data(), action.size(), now_ns, command.data(), command.size(),
                                reason, nullptr);
  }
  ganglion_status hold(std::int64_t now_ns, std::vector<float>& command, std::int32_t* reason = nullptr) noexcept {
    return ganglion_guard_hold(held_.get(), now_ns, command.data(), command.size(), reason, nullptr);
  }
  ganglion_status disengage() noexcept { return ganglion_guard_disengage(held_.get()); }
  void attach(FlightRecorder& recorder) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_guard_attach(held_.get(), recorder.get(), sentence, size);
    });
  }

 private:
  detail::Held<ganglion_guard> held_;
};

/// Exchanges the policy of a loop while it flies; see ganglion.h for which thread may call what.
class PolicySwitch {
 public:
  static ganglion_switch_options options() noexcept { return detail::defaults(ganglion_switch_options_init); }

  explicit PolicySwitch(const Policy& policy)
      : held_(detail::made<ganglion_switch>([&](ganglion_switch** made, char* sentence, std::size_t size) {
          return ganglion_switch_create(policy.get(), made, sentence, size);
        })) {}

  void stage(const Policy& candidate, const ganglion_switch_options& asked = options()) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_switch_stage(held_.get(), candidate.get(), &asked, sentence, size);
    });
  }
  std::size_t collect() {
    std::size_t freed = 0;
    detail::set_up(
        [&](char* sentence, std::size_t size) { return ganglion_switch_collect(held_.get(), &freed, sentence, size); });
    return freed;
  }
  void attach(FlightRecorder& recorder) {
    detail::set_up([&](char* sentence, std::size_t size) {
      return ganglion_switch_attach(held_.get(), recorder.get(), sentence, size);
    });
  }
  void detach() noexcept { static_cast<void>(ganglion_switch_detach(held_.get())); }

  ganglion_status take_over() noexcept { return ganglion_switch_take_over(held_.get()); }
  ganglion_status roll_back() noexcept { return ganglion_switch_roll_back(held_.get()); }
  ganglion_switch_report report() const noexcept {
    ganglion_switch_report found = {};
    found.size = sizeof(found);
    static_cast<void>(ganglion_switch_get_report(held_.get(), &found));
    return found;
  }

  ganglion_status step(const std::vector<float>& observation, std::vector<float>& action) noexcept {
    return ganglion_switch_step(held_.get(), observation.data(), observation.size(), action.data(), action.size());
  }
  ganglion_status reset() noexcept { return ganglion_switch_reset(held_.get()); }
  ganglion_status set_applied_action(const std::vector<float>& action) noexcept {
    return ganglion_switch_set_applied_action(held_.get(), action.data(), action.size());
  }

 private:
  detail::Held<ganglion_switch> held_;
};

}  // namespace c
}  // namespace ganglion
