#pragma once

// A switch, for any class that has the verbs of a policy.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "flight/exchange/candidate.hpp"
#include "flight/exchange/report.hpp"
#include "ganglion/error.hpp"
#include "ganglion/flight_recorder.hpp"
#include "ganglion/policy_switch.hpp"
#include "ganglion/realtime.hpp"

namespace ganglion::flight {

enum class Command : std::uint8_t { none, take_over, roll_back };

/// Nothing but the observation or the buffers: every policy would answer the same.
[[nodiscard]] constexpr bool is_of_the_call(Status status) noexcept GANGLION_NONBLOCKING {
  return status == Status::bad_size || status == Status::non_finite_observation || status == Status::moved_from;
}

/// The nearest finite float.
[[nodiscard]] constexpr float finite(double value) noexcept GANGLION_NONBLOCKING {
  constexpr double most = std::numeric_limits<float>::max();
  if (value > most) return std::numeric_limits<float>::max();
  return value < -most ? std::numeric_limits<float>::lowest() : static_cast<float>(value);
}

/// A policy in the loop, with all that the loop needs beside it.
template <class AnyPolicy>
struct Pilot {
  static constexpr bool is_nonblocking = PolicySwitch<AnyPolicy>::is_nonblocking;

  Pilot(AnyPolicy own, Exchange how)
      : policy(std::move(own)),
        exchange(std::move(how)),
        remembers_action(flight::remembers_action(policy.contract())),
        action(policy.batch() * policy.contract().action_size()),
        before(action.size()) {}

  /// One step into `action`.
  [[nodiscard]] Status step(std::span<const float> observation) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    action.swap(before);
    const Status status = policy.step(observation, action);
    if (status == Status::ok) {
      ++good;
    } else {
      action.swap(before);
    }
    return status;
  }

  /// Tells a policy that looks at its last action what went out in its place.
  void tell(std::span<const float> executed) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (remembers_action) static_cast<void>(policy.set_applied_action(executed));
  }

  AnyPolicy policy;
  Exchange exchange;
  bool remembers_action;
  std::vector<float> action;           ///< [batch, action_size], the newest one
  std::vector<float> before;           ///< the one before that
  std::uint64_t good = 0;              ///< steps into `action`
  const Pilot* copied_from = nullptr;  ///< that flew when it was staged
};

/// What a switch does, in its loop and beside it.
template <class AnyPolicy>
class SwitchLoop {
 public:
  static constexpr bool is_nonblocking = PolicySwitch<AnyPolicy>::is_nonblocking;
  using Seat = Pilot<AnyPolicy>;

  explicit SwitchLoop(AnyPolicy policy)
      : seat_(policy.contract()),
        rows_(policy.batch()),
        given_(rows_ * seat_.action_size()),
        offset_(given_.size()),
        flying_(new Seat(std::move(policy), {})) {
    seat_.golden.reset();
  }

  SwitchLoop(const SwitchLoop&) = delete;
  SwitchLoop& operator=(const SwitchLoop&) = delete;

  ~SwitchLoop() {
    free_retired();
    delete offered_.load();
    delete other_;
    delete flying_.load();
  }

  void stage(AnyPolicy candidate, const SwitchOptions& options) {
    const std::scoped_lock lock(staging_);
    if (candidate.batch() == 0) {
      throw Error(ErrorCode::bad_option, "the candidate was moved to another object; stage that one");
    }
    const Contract& own = candidate.contract();
    check_same_seat(seat_, rows_, own, candidate.batch());
    // It may be retired meanwhile, but it is freed under this lock alone.
    const Seat* const flying = flying_.load(std::memory_order_acquire);
    if (options.state == StateHandOver::copied) check_same_state(flying->policy.contract(), own);
    Exchange exchange = exchange_of(own, options);
    auto ready = std::make_unique<Seat>(std::move(candidate), std::move(exchange));
    ready->copied_from = flying;
    if (recorder_ != nullptr) ready->policy.attach(*recorder_);
    free_retired();
    // A command for the candidate before is none for this one.
    command_.store(Command::none, std::memory_order_relaxed);
    delete offered_.exchange(ready.release(), std::memory_order_acq_rel);
  }

  std::size_t collect() {
    const std::scoped_lock lock(staging_);
    return free_retired();
  }

  void attach(FlightRecorder& recorder) {
    const std::scoped_lock lock(staging_);
    for (Seat* const seat : {flying_.load(), other_, offered_.load()}) {
      if (seat != nullptr) seat->policy.attach(recorder);
    }
    recorder_ = &recorder;
  }

  void detach() noexcept {
    const std::scoped_lock lock(staging_);
    recorder_ = nullptr;
  }

  void command(Command given) noexcept GANGLION_NONBLOCKING { command_.store(given, std::memory_order_release); }
  [[nodiscard]] SwitchReport report() const noexcept GANGLION_NONBLOCKING { return published_.read(); }

  // ---- the loop ----

  [[nodiscard]] Seat& flying() const noexcept GANGLION_NONBLOCKING { return *flying_.load(std::memory_order_relaxed); }

  [[nodiscard]] Status step(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    ++report_.steps;
    take_up();
    obey();
    const Status status = step_as(observation, action);
    if (status == Status::ok) {
      for (std::size_t i = 0; i < given_.size(); ++i) given_[i] = action[i];
      has_given_ = true;
    }
    published_.publish(report_);
    return status;
  }

  void reset() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    flying().policy.reset();
    if (other_ != nullptr) other_->policy.reset();
  }

  [[nodiscard]] Status reset(std::span<const std::uint8_t> rows) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (other_ != nullptr) static_cast<void>(other_->policy.reset(rows));
    return flying().policy.reset(rows);
  }

  [[nodiscard]] Status set_applied_action(std::span<const float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (other_ != nullptr) other_->tell(action);
    return flying().policy.set_applied_action(action);
  }

 private:
  // In a step three are alive beside the flying one at most (the other one, and one that is offered while another is
  // being collected), and every stage collects: there is always a place.
  static constexpr std::size_t places = 8;

  std::size_t free_retired() {
    std::size_t freed = 0;
    for (std::atomic<Seat*>& place : retired_) {
      const std::unique_ptr<Seat> seat(place.exchange(nullptr, std::memory_order_acquire));
      freed += seat ? 1 : 0;
    }
    return freed;
  }

  /// The other policy runs no more; whoever collects frees it.
  void retire_other() noexcept GANGLION_NONBLOCKING {
    for (std::atomic<Seat*>& place : retired_) {
      if (place.load(std::memory_order_relaxed) != nullptr) continue;
      place.store(other_, std::memory_order_release);
      break;
    }
    other_ = nullptr;
    report_.phase = SwitchPhase::flying;
  }

  /// Puts the other one into the seat of the flying one, and that beside it.
  void swap() noexcept GANGLION_NONBLOCKING {
    Seat* const before = &flying();
    flying_.store(other_, std::memory_order_release);
    other_ = before;
  }

  void reject(SwitchOutcome outcome) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    report_.outcome = outcome;
    ++report_.rejections;
    other_->policy.mark(FlightEvent::rejected, report_.steps);
    retire_other();
  }

  void reject_failed(Status status) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    report_.status = status;
    report_.step = report_.steps;
    reject(SwitchOutcome::failed);
  }

  void took_over() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    report_.outcome = SwitchOutcome::took_over;
    ++report_.exchanges;
    swap();
    flying().policy.mark(FlightEvent::took_over, report_.steps);
  }

  void rolled_back() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    report_.outcome = SwitchOutcome::rolled_back;
    ++report_.roll_backs;
    flying().policy.mark(FlightEvent::rolled_back, report_.steps);
    retire_other();
  }

  /// Takes up a candidate, where one was staged and no blend is under way.
  void take_up() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (report_.phase == SwitchPhase::blending || report_.phase == SwitchPhase::returning) return;
    if (offered_.load(std::memory_order_relaxed) == nullptr) return;
    Seat* const candidate = offered_.exchange(nullptr, std::memory_order_acq_rel);
    if (report_.phase == SwitchPhase::shadowing) reject(SwitchOutcome::withdrawn);
    if (report_.phase == SwitchPhase::keeping) retire_other();
    other_ = candidate;
    report_.phase = SwitchPhase::shadowing;
    report_.outcome = SwitchOutcome::none;
    report_.status = Status::ok;
    report_.agreeing = report_.step = 0;
    report_.row = report_.element = 0;
    report_.difference = 0.0F;
    worst_ = 0.0F;
    beside_ = 0;
    if (candidate->exchange.state != StateHandOver::copied) return;
    // Another one may fly by now than when it was staged.
    if (candidate->copied_from != &flying()) {
      reject(SwitchOutcome::withdrawn);
    } else if (const Status status = candidate->policy.set_state(flying().policy.state()); status != Status::ok) {
      reject_failed(status);
    }
  }

  void obey() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    const Command given = command_.load(std::memory_order_acquire);
    if (given == Command::none || report_.phase == SwitchPhase::returning) return;
    // It may be meant for a candidate that waits for the end of a blend.
    const bool is_shadowing = report_.phase == SwitchPhase::shadowing;
    if (given == Command::take_over && !is_shadowing && offered_.load(std::memory_order_relaxed) != nullptr) return;
    // One that came meanwhile stays for the next step.
    Command done = given;
    command_.compare_exchange_strong(done, Command::none, std::memory_order_acq_rel);
    if (given == Command::take_over) {
      if (is_shadowing) begin_blend();
    } else if (is_shadowing) {
      reject(SwitchOutcome::withdrawn);
    } else if (report_.phase == SwitchPhase::blending) {
      rolled_back();
    } else if (report_.phase == SwitchPhase::keeping) {
      swap();
      rolled_back();
    }
  }

  [[nodiscard]] Status step_as(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    switch (report_.phase) {
      case SwitchPhase::flying:
        break;
      case SwitchPhase::shadowing:
        return shadow(observation, action);
      case SwitchPhase::blending:
        return blend(observation, action);
      case SwitchPhase::returning:
        return return_from_blend(observation, action);
      case SwitchPhase::keeping:
        return keep(observation, action);
    }
    return flying().policy.step(observation, action);
  }

  [[nodiscard]] Status shadow(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    const Status status = flying().policy.step(observation, action);
    if (is_of_the_call(status)) return status;
    const Status its = other_->step(observation);
    if (its != Status::ok) {
      reject_failed(its);
      return status;
    }
    if (status == Status::ok) {
      report_.agreeing = compare(action) ? report_.agreeing + 1 : 0;
      other_->tell(action);
    } else {
      report_.agreeing = 0;
    }
    ++beside_;
    const Exchange& exchange = other_->exchange;
    if (exchange.gate.empty()) return status;
    if (report_.agreeing >= exchange.agreeing_steps) {
      begin_blend();
    } else if (beside_ >= exchange.patience) {
      reject(SwitchOutcome::diverged);
    }
    return status;
  }

  /// True where the candidate agrees with the action; notes where it was farthest from it.
  [[nodiscard]] bool compare(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
    const std::vector<float>& gate = other_->exchange.gate;
    const std::size_t size = action.size() / rows_;
    bool agree = true;
    for (std::size_t i = 0; i < action.size(); ++i) {
      const float apart = other_->action[i] - action[i];
      const float off = apart < 0.0F ? -apart : apart;
      float part = off;
      if (!gate.empty()) {
        const float most = gate[i % size];
        if (off > most) agree = false;
        // Where nothing may differ, what does is farther than anything else.
        if (off > 0.0F) part = most > 0.0F ? off / most : std::numeric_limits<float>::infinity();
      }
      if (part <= worst_) continue;
      worst_ = part;
      report_.step = report_.steps;
      report_.row = i / size;
      report_.element = i % size;
      report_.difference = off;
    }
    return agree;
  }

  void begin_blend() noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (other_->exchange.state == StateHandOver::fresh) other_->policy.reset();
    report_.phase = SwitchPhase::blending;
    blended_ = 0;
    blend_steps_ = other_->exchange.blend_steps + 1;
  }

  [[nodiscard]] Status blend(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (action.size() != given_.size()) return Status::bad_size;
    Seat& old = flying();
    Seat& its = *other_;
    const Status old_status = old.step(observation);
    if (is_of_the_call(old_status)) return old_status;
    const Status new_status = its.step(observation);
    if (new_status != Status::ok) {
      reject_failed(new_status);
      if (old_status == Status::ok) begin_return(blended_, action);
      return old_status;
    }
    if (old_status != Status::ok) {
      took_over();
      retire_other();
      begin_return(blend_steps_ - blended_, action);
      return new_status;
    }
    ++blended_;
    const bool is_there = blended_ == blend_steps_;
    const double done = static_cast<double>(blended_) / static_cast<double>(blend_steps_);
    for (std::size_t i = 0; i < action.size(); ++i) {
      const auto from = static_cast<double>(old.action[i]);
      const double way = static_cast<double>(its.action[i]) - from;
      action[i] = is_there ? its.action[i] : static_cast<float>(from + done * way);
    }
    old.tell(action);
    if (!is_there) {
      its.tell(action);
      return Status::ok;
    }
    took_over();
    kept_ = 0;
    report_.phase = SwitchPhase::keeping;
    if (its.exchange.keep_steps == 0) retire_other();
    return Status::ok;
  }

  /// One of the two failed. The other one flies, and what went out last is left in so many steps.
  void begin_return(std::size_t steps, std::span<float> action) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    report_.phase = SwitchPhase::returning;
    return_steps_ = return_left_ = steps > 0 && has_given_ ? steps : 1;
    // From where it was itself when that went out, or its own way since would count twice.
    const std::vector<float>& then = flying().good > 1 ? flying().before : flying().action;
    for (std::size_t i = 0; i < offset_.size(); ++i) {
      offset_[i] = static_cast<double>(given_[i]) - static_cast<double>(then[i]);
    }
    give_returning(action);
  }

  [[nodiscard]] Status return_from_blend(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    if (action.size() != given_.size()) return Status::bad_size;
    const Status status = flying().step(observation);
    if (status == Status::ok) give_returning(action);
    return status;
  }

  void give_returning(std::span<float> action) noexcept GANGLION_NONBLOCKING_IF(is_nonblocking) {
    --return_left_;
    const double part = static_cast<double>(return_left_) / static_cast<double>(return_steps_);
    for (std::size_t i = 0; i < action.size(); ++i) {
      action[i] = finite(static_cast<double>(flying().action[i]) + part * offset_[i]);
    }
    if (return_left_ == 0) {
      report_.phase = SwitchPhase::flying;
    } else {
      flying().tell(action);
    }
  }

  [[nodiscard]] Status keep(std::span<const float> observation, std::span<float> action) noexcept
      GANGLION_NONBLOCKING_IF(is_nonblocking) {
    const Status status = flying().policy.step(observation, action);
    if (is_of_the_call(status)) return status;
    const bool still_flies = other_->step(observation) == Status::ok;
    if (still_flies && status == Status::ok) other_->tell(action);
    if (!still_flies || ++kept_ >= flying().exchange.keep_steps) retire_other();
    return status;
  }

  // Of those that stage, under their lock; the loop never takes it.
  std::mutex staging_;
  FlightRecorder* recorder_ = nullptr;
  Contract seat_;  ///< of the first policy, without its golden run: how every other one is fed, read and timed
  std::size_t rows_;

  // Between the two.
  std::atomic<Seat*> offered_ = nullptr;
  std::array<std::atomic<Seat*>, places> retired_{};
  std::atomic<Command> command_ = Command::none;
  PublishedReport published_;

  // Of the loop; those that stage may look at what flies.
  std::vector<float> given_;    ///< [batch, action_size]: what went out last
  std::vector<double> offset_;  ///< as many: what of that is left, while returning
  bool has_given_ = false;
  std::atomic<Seat*> flying_;
  Seat* other_ = nullptr;  ///< the candidate, or the one before
  SwitchReport report_;
  float worst_ = 0.0F;
  std::size_t beside_ = 0;  ///< steps of the candidate so far
  std::size_t blended_ = 0;
  std::size_t blend_steps_ = 1;
  std::size_t return_left_ = 0;
  std::size_t return_steps_ = 1;
  std::size_t kept_ = 0;
};

}  // namespace ganglion::flight
