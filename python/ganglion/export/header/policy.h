// The types of the C header, which C99 writes otherwise than C++. Not a header of its own: text.py puts the name of the
// policy where @ stands.

// --- types
/// What a step answers; the numbers are those of ganglion_status.
typedef enum @_status {
  @_ok = 0,                      ///< the action is written and the state has advanced
  @_non_finite_observation = 2,  ///< an observation element is NaN or infinite
  @_non_finite_action = 3,       ///< the policy produced a NaN or infinite action, other output or next state
  @_non_finite_state = 5         ///< an element of a state handed in is NaN or infinite
} @_status;

/// The outcome of a replay of the golden trajectory.
typedef struct @_self_test_result {
  bool ok;
  @_status status;     ///< not ok: the step that was refused; nothing behind it was replayed
  size_t steps;        ///< steps replayed
  float max_error;     ///< largest |difference| / max(1, |recorded|)
  float tolerance;     ///< accepted value of max_error
  size_t bad_step;     ///< where the tolerance was first exceeded: step
  size_t bad_element;  ///< and element of the outputs side by side
} @_self_test_result;
