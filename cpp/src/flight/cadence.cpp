#include "ganglion/cadence.hpp"

#include "flight/numbers.hpp"
#include "flight/options.hpp"
#include "ganglion/error.hpp"

namespace ganglion {

namespace {

double period_of(const Contract& contract, const CadenceOptions& options) {
  if (!options.period_s) return flight::trained_period(contract, "CadenceOptions::period_s");
  return flight::positive(*options.period_s, "the period of the policy (CadenceOptions::period_s)", " of seconds");
}

}  // namespace

Cadence::Cadence(const Contract& contract, double loop_period_s, const CadenceOptions& options)
    : period_ns_(period_of(contract, options) * 1e9),
      half_tick_ns_(flight::positive(loop_period_s, "the period of the loop", " of seconds") * 1e9 / 2.0),
      between_(options.between),
      before_(options.rows * contract.action_size()),
      action_(before_.size()) {
  // What the two differ by in the last digits of a period is no slower loop.
  if (2.0 * half_tick_ns_ > 1.001 * period_ns_) {
    throw Error(ErrorCode::bad_option, "the loop takes " + std::to_string(loop_period_s) +
                                           " s a tick and the policy was trained at " + std::to_string(period_s()) +
                                           " s a step: it would step too seldom; run the loop at least as fast");
  }
}

bool Cadence::due(std::int64_t now_ns) noexcept GANGLION_NONBLOCKING {
  if (!has_begun_) {
    has_begun_ = true;
    begin_ns_ = stepped_ns_ = newest_ns_ = now_ns;
    next_ = 1;
    return true;
  }
  if (now_ns < newest_ns_) {
    // The clock was set back. All that was planned moves with it, or the policy would not step for as long.
    const auto back = static_cast<std::uint64_t>(newest_ns_) - static_cast<std::uint64_t>(now_ns);
    begin_ns_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(begin_ns_) - back);
    stepped_ns_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(stepped_ns_) - back);
    newest_ns_ = now_ns;
    return false;
  }
  newest_ns_ = now_ns;
  const double reached = (flight::elapsed(begin_ns_, now_ns) + half_tick_ns_) / period_ns_;
  if (reached < static_cast<double>(next_)) return false;
  const auto number = static_cast<std::uint64_t>(reached);
  skipped_ += number - next_;
  next_ = number + 1;
  stepped_ns_ = now_ns;
  return true;
}

Status Cadence::take(std::span<const float> action) noexcept GANGLION_NONBLOCKING {
  if (action.size() != action_.size()) return Status::bad_size;
  for (const float value : action) {
    if (!flight::is_finite(value)) return Status::non_finite_action;
  }
  for (std::size_t i = 0; i < action.size(); ++i) {
    before_[i] = has_action_ ? action_[i] : action[i];
    action_[i] = action[i];
  }
  has_action_ = true;
  return Status::ok;
}

bool Cadence::action(std::int64_t now_ns, std::span<float> out) const noexcept GANGLION_NONBLOCKING {
  if (!has_action_ || out.size() != action_.size()) return false;
  const double done = now_ns > stepped_ns_ ? flight::elapsed(stepped_ns_, now_ns) / period_ns_ : 0.0;
  const bool is_there = between_ == Between::hold || done >= 1.0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double way = static_cast<double>(action_[i]) - static_cast<double>(before_[i]);
    out[i] = is_there ? action_[i] : static_cast<float>(static_cast<double>(before_[i]) + done * way);
  }
  return true;
}

void Cadence::reset() noexcept GANGLION_NONBLOCKING {
  has_begun_ = false;
  has_action_ = false;
}

}  // namespace ganglion
