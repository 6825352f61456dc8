// The part of the header target (header.py) that is the same for every policy, but for the statements of the step.
// Not a header of its own.

// --- policy
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

/// The policy with its state: one robot. A copy is a second robot, in the same state. One thread at a time.
class Policy {
 public:
  Policy() noexcept { reset(); }

  /// One control step. observation: [observation_size], action: [action_size]; they may overlap.
  /// On any status but ok, `action`, the outputs and the state keep their old bytes.
  [[nodiscard]] Status step(const float* observation, float* action) noexcept {
    if (!detail::all_finite(observation, observation_size)) return Status::non_finite_observation;
    const detail::FloatMode mode;
    // @step@
    const float* const next = scratch_ + next_offset;
    const float* const next_state = next + output_size;
    if (!good_outputs(next) || !detail::all_finite(next_state, hidden_size)) return Status::non_finite_action;
    detail::copy(next, outputs_, output_size);
    detail::copy(next_state, state_, hidden_size);
    detail::copy(outputs_, action, action_size);
    has_stepped_ = true;
    return Status::ok;
  }

  /// Restores the initial state.
  void reset() noexcept { detail::copy(initial_state, state_, hidden_size); }

  /// Output `index` of the last ok step, outputs[index].size elements; null before the first one or out of range.
  [[nodiscard]] const float* output(std::size_t index) const noexcept {
    return has_stepped_ && index < num_outputs ? outputs_ + outputs[index].offset : nullptr;
  }

  /// The hidden state, [hidden_size], in the order of `state_slots`.
  [[nodiscard]] const float* state() const noexcept { return state_; }

  /// Takes over a hidden state, [hidden_size]; non_finite_state refuses NaN and infinity.
  [[nodiscard]] Status set_state(const float* state) noexcept {
    if (!detail::all_finite(state, hidden_size)) return Status::non_finite_state;
    const detail::FloatMode mode;
    detail::take(state, state_, hidden_size);
    return Status::ok;
  }

  /// Replays the golden trajectory on a policy of its own, which takes sizeof(Policy) bytes of stack. Not for the loop.
  [[nodiscard]] static SelfTest self_test() noexcept {
    SelfTest result;
    Policy policy;
    float action[action_size];
    bool good = true;
    for (std::size_t step = 0; step < golden::steps; ++step) {
      if (golden::reset[step]) policy.reset();
      result.status = policy.step(golden::observation + step * observation_size, action);
      if (result.status != Status::ok) {
        if (good) result.bad_step = step;
        return result;
      }
      ++result.steps;
      for (std::size_t element = 0; element < output_size; ++element) {
        const float recorded = golden::outputs[step * output_size + element];
        const float size = std::fabs(recorded);
        const float difference = std::fabs(policy.outputs_[element] - recorded);
        const float error = difference / (size > 1.0F ? size : 1.0F);
        const float allowed = golden::has_rounding ? golden::rounding[step * output_size + element] : 0.0F;
        // Not "error > tolerance": a NaN must count as a difference.
        if (good && !(error <= result.tolerance) && !(difference <= allowed)) {
          good = false;
          result.bad_step = step;
          result.bad_element = element;
        }
        if (!(error <= result.max_error)) result.max_error = error;
      }
    }
    result.ok = good;
    return result;
  }

 private:
  /// True where every output can be acted on. Behind the first, the action, an output may have -infinity beside finite
  /// elements: the logit of a choice that is masked out.
  [[nodiscard]] static bool good_outputs(const float* values) noexcept {
    if (detail::all_finite(values, output_size)) return true;
    if (!detail::all_finite(values, action_size)) return false;
    for (std::size_t index = 1; index < num_outputs; ++index) {
      bool has_finite = false;
      for (std::size_t element = 0; element < outputs[index].size; ++element) {
        const float* const value = values + outputs[index].offset + element;
        const bool is_finite = detail::all_finite(value, 1);
        constexpr std::uint32_t minus_infinity = 0xFF800000U;
        if (!is_finite && detail::bits_of(*value) != minus_infinity) return false;
        has_finite = has_finite || is_finite;
      }
      if (!has_finite) return false;
    }
    return true;
  }

  float state_[hidden_size > 0 ? hidden_size : 1] = {};
  float outputs_[output_size] = {};
  float scratch_[scratch_size] = {};
  bool has_stepped_ = false;
};
