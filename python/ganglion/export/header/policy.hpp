// The part of the header target (text.py) that is the same for every policy, but for the statements of the step.
// Not a header of its own. A written policy.h has `memory` and `loop`, in the C99 that c99.py makes of them, behind the
// types of policy.h.

// --- types
/// What a step answers; the numbers are those of ganglion::Status.
enum class Status : std::uint8_t {
  ok = 0,                      ///< the action is written and the state has advanced
  non_finite_observation = 2,  ///< an observation element is NaN or infinite
  non_finite_action = 3,       ///< the policy produced a NaN or infinite action, other output or next state
  non_finite_state = 5,        ///< an element of a state handed in is NaN or infinite
};

/// The outcome of a replay of the golden trajectory.
struct SelfTest {
  bool ok = false;
  Status status = Status::ok;           ///< not ok: the step that was refused; nothing behind it was replayed
  std::size_t steps = 0;                ///< steps replayed
  float max_error = 0.0F;               ///< largest |difference| / max(1, |recorded|)
  float tolerance = golden::tolerance;  ///< accepted value of max_error
  std::size_t bad_step = 0;             ///< where the tolerance was first exceeded: step
  std::size_t bad_element = 0;          ///< and element of the outputs side by side
};

// --- memory
/// All memory of one robot.
struct Memory {
  float state[hidden_size > 0 ? hidden_size : 1];
  float outputs[output_size];
  float scratch[scratch_size];
  bool has_stepped;
};

// --- loop
/// True where every output can be acted on. Behind the first, the action, an output may have -infinity beside finite
/// elements: the logit of a choice that is masked out.
inline bool good_outputs(const float* values) noexcept {
  const std::uint32_t minus_infinity = 0xFF800000U;
  if (all_finite(values, output_size)) return true;
  if (!all_finite(values, action_size)) return false;
  for (std::size_t index = 1; index < num_outputs; ++index) {
    bool has_finite = false;
    for (std::size_t element = 0; element < outputs[index].size; ++element) {
      const float* const value = values + outputs[index].offset + element;
      const bool is_finite = all_finite(value, 1);
      if (!is_finite && bits_of(*value) != minus_infinity) return false;
      has_finite = has_finite || is_finite;
    }
    if (!has_finite) return false;
  }
  return true;
}

/// From outputs and state of the last step to those of the next one, side by side in `scratch_`.
inline void compute(const float* observation, const float* state_, float* scratch_) noexcept {
  static_cast<void>(observation);
  static_cast<void>(state_);
  // @step@
}

/// Restores the initial state.
inline void reset(Memory* policy) noexcept { copy(initial_state, policy->state, hidden_size); }

/// Makes memory a policy in the initial state. Once, before anything else.
inline void init(Memory* policy) noexcept {
  std::memset(policy, 0, sizeof *policy);
  reset(policy);
}

/// One control step. observation: [observation_size], action: [action_size]; they may overlap.
/// On any status but ok, `action`, the outputs and the state keep their old bytes.
inline Status step(Memory* policy, const float* observation, float* action) noexcept {
  const float* const next = policy->scratch + next_offset;
  const float* const next_state = next + output_size;
  if (!all_finite(observation, observation_size)) return Status::non_finite_observation;
  const Register mode = enter_mode();
  compute(observation, policy->state, policy->scratch);
  leave_mode(mode);
  if (!good_outputs(next) || !all_finite(next_state, hidden_size)) return Status::non_finite_action;
  copy(next, policy->outputs, output_size);
  copy(next_state, policy->state, hidden_size);
  copy(policy->outputs, action, action_size);
  policy->has_stepped = true;
  return Status::ok;
}

/// Output `index` of the last ok step, outputs[index].size elements; null before the first one or out of range.
inline const float* output(const Memory* policy, std::size_t index) noexcept {
  return policy->has_stepped && index < num_outputs ? policy->outputs + outputs[index].offset : nullptr;
}

/// The hidden state, [hidden_size], in the order of `state_slots`.
inline const float* state(const Memory* policy) noexcept { return policy->state; }

/// Takes over a hidden state, [hidden_size]; non_finite_state refuses NaN and infinity.
inline Status set_state(Memory* policy, const float* hidden) noexcept {
  if (!all_finite(hidden, hidden_size)) return Status::non_finite_state;
  const Register mode = enter_mode();
  take(hidden, policy->state, hidden_size);
  leave_mode(mode);
  return Status::ok;
}

/// Replays the golden trajectory in memory that no robot uses now; it is in the initial state afterwards, and has not
/// stepped. Not for the loop.
inline SelfTest self_test(Memory* policy) noexcept {
  SelfTest result = {true, Status::ok, 0, 0.0F, golden::tolerance, 0, 0};
  float action[action_size];
  init(policy);
  for (std::size_t at = 0; at < golden::steps; ++at) {
    const float* const recorded = golden::outputs + at * output_size;
    if (golden::reset[at]) reset(policy);
    result.status = step(policy, golden::observation + at * observation_size, action);
    if (result.status != Status::ok) {
      if (result.ok) result.bad_step = at;
      result.ok = false;
      break;
    }
    ++result.steps;
    for (std::size_t element = 0; element < output_size; ++element) {
      const float size = std::fabs(recorded[element]);
      const float difference = std::fabs(policy->outputs[element] - recorded[element]);
      const float error = difference / (size > 1.0F ? size : 1.0F);
      const float allowed = golden::has_rounding ? golden::rounding[at * output_size + element] : 0.0F;
      // Not "error > tolerance": a NaN must count as a difference.
      if (result.ok && !(error <= result.tolerance) && !(difference <= allowed)) {
        result.ok = false;
        result.bad_step = at;
        result.bad_element = element;
      }
      if (!(error <= result.max_error)) result.max_error = error;
    }
  }
  init(policy);
  return result;
}

// --- command
/// Makes a command of an action that the policy itself gives (what the slot prev_action holds), or that is
/// drawn around the output unmapped_mean, or around mean where there is none. What step() gives is a command
/// already. Both are [action_size] and may be the same.
inline void to_command(const float* own, float* command) noexcept {
  const detail::Register mode = detail::enter_mode();
  for (std::size_t i = 0; i < action_size; ++i) {
    double value = static_cast<double>(own[i]);
    for (std::size_t s = 0; s < num_action_stages; ++s) {
      const ActionStage* const stage = action_stages + s;
      if (stage->squash) value = detail::squashed(value);
      value = detail::product(stage->scale[i], value) + stage->offset[i];
      if (value < stage->low[i]) value = stage->low[i];
      if (value > stage->high[i]) value = stage->high[i];
    }
    command[i] = static_cast<float>(value);
  }
  detail::leave_mode(mode);
}

// --- class
/// The policy with its state: one robot. A copy is a second robot, in the same state. One thread at a time.
class Policy {
 public:
  Policy() noexcept { detail::init(&memory_); }

  /// One control step. observation: [observation_size], action: [action_size]; they may overlap.
  /// On any status but ok, `action`, the outputs and the state keep their old bytes.
  [[nodiscard]] Status step(const float* observation, float* action) noexcept {
    return detail::step(&memory_, observation, action);
  }

  /// Restores the initial state.
  void reset() noexcept { detail::reset(&memory_); }

  /// Output `index` of the last ok step, outputs[index].size elements; null before the first one or out of range.
  [[nodiscard]] const float* output(std::size_t index) const noexcept { return detail::output(&memory_, index); }

  /// The hidden state, [hidden_size], in the order of `state_slots`.
  [[nodiscard]] const float* state() const noexcept { return memory_.state; }

  /// Takes over a hidden state, [hidden_size]; non_finite_state refuses NaN and infinity.
  [[nodiscard]] Status set_state(const float* state) noexcept { return detail::set_state(&memory_, state); }

  /// Replays the golden trajectory on a policy of its own, which takes sizeof(Policy) bytes of stack. Not for the loop.
  [[nodiscard]] static SelfTest self_test() noexcept {
    Policy policy;
    return detail::self_test(&policy.memory_);
  }

 private:
  detail::Memory memory_;
};
