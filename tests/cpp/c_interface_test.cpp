// The C interface where it is misused, and what it gives: every call with null pointers, handles of another kind,
// structs of another size, numbers that there are not. Includes ganglion.h alone: what it links is libganglion.so.

#include <ganglion.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "check.hpp"

namespace {

std::string artifact(const char* name) { return std::string(GANGLION_ARTIFACTS) + "/" + name; }

std::array<char, 1000> sentence;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

bool says(const char* part) { return check::contains(sentence.data(), part); }

template <class Struct>
Struct sized() {
  Struct empty{};
  empty.size = sizeof(empty);
  return empty;
}

ganglion_policy* loaded(const char* name, const ganglion_load_options* options = nullptr) {
  ganglion_policy* policy = nullptr;
  const ganglion_status status =
      ganglion_policy_load(artifact(name).c_str(), options, &policy, sentence.data(), sentence.size());
  check::report(status == GANGLION_OK && policy != nullptr, "loads", __FILE__, __LINE__, sentence.data());
  return policy;
}

ganglion_policy_info info_of(const ganglion_policy* policy) {
  auto info = sized<ganglion_policy_info>();
  CHECK_EQUAL(ganglion_policy_get_info(policy, &info), GANGLION_OK);
  return info;
}

/// A struct of a caller with a newer header.
template <class Struct>
struct Newer {
  Struct known;
  std::uint64_t later;
};

}  // namespace

// A null handle in each call that takes one; set-up calls say which argument it is.
TEST_CASE("null handles") {
  float* const floats = nullptr;
  const float* values = nullptr;
  std::size_t count = 0;
  std::int32_t number = 0;
  char* const text = sentence.data();
  const std::size_t size = sentence.size();
  const ganglion_status loop[] = {
      ganglion_policy_step(nullptr, floats, 0, floats, 0),
      ganglion_policy_burn_in(nullptr, floats, 0, &count),
      ganglion_policy_reset(nullptr),
      ganglion_policy_reset_rows(nullptr, nullptr, 0),
      ganglion_policy_output(nullptr, 0, &values, &count),
      ganglion_policy_state(nullptr, &values, &count),
      ganglion_policy_set_state(nullptr, floats, 0),
      ganglion_policy_set_applied_action(nullptr, floats, 0),
      ganglion_policy_mark(nullptr, GANGLION_EVENT_TOOK_OVER, 0),
      ganglion_policy_get_info(nullptr, nullptr),
      ganglion_policy_input(nullptr, 0, nullptr),
      ganglion_policy_output_spec(nullptr, 0, nullptr),
      ganglion_policy_slot(nullptr, 0, nullptr),
      ganglion_recorder_channel_record(nullptr, floats, 0),
      ganglion_recorder_set_time(nullptr, 0),
      ganglion_cadence_due(nullptr, 0, &number),
      ganglion_cadence_take(nullptr, floats, 0),
      ganglion_cadence_action(nullptr, 0, floats, 0),
      ganglion_cadence_reset(nullptr),
      ganglion_cadence_get_info(nullptr, nullptr),
      ganglion_tick_monitor_tick(nullptr, 0, &number),
      ganglion_tick_monitor_get_statistics(nullptr, nullptr),
      ganglion_tick_monitor_get_mismatch(nullptr, nullptr),
      ganglion_tick_monitor_reset(nullptr),
      ganglion_guard_engage(nullptr, floats, 0),
      ganglion_guard_apply(nullptr, floats, 0, 0, floats, 0, nullptr, nullptr),
      ganglion_guard_hold(nullptr, 0, floats, 0, nullptr, nullptr),
      ganglion_guard_disengage(nullptr),
      ganglion_switch_detach(nullptr),
      ganglion_switch_take_over(nullptr),
      ganglion_switch_roll_back(nullptr),
      ganglion_switch_get_report(nullptr, nullptr),
      ganglion_switch_step(nullptr, floats, 0, floats, 0),
      ganglion_switch_reset(nullptr),
      ganglion_switch_reset_rows(nullptr, nullptr, 0),
      ganglion_switch_output(nullptr, 0, &values, &count),
      ganglion_switch_state(nullptr, &values, &count),
      ganglion_switch_set_state(nullptr, floats, 0),
      ganglion_switch_set_applied_action(nullptr, floats, 0),
      ganglion_hints_init(nullptr, sizeof(ganglion_hints)),
      ganglion_load_options_init(nullptr, sizeof(ganglion_load_options)),
      ganglion_recorder_options_init(nullptr, sizeof(ganglion_recorder_options)),
      ganglion_cadence_options_init(nullptr, sizeof(ganglion_cadence_options)),
      ganglion_tick_options_init(nullptr, sizeof(ganglion_tick_options)),
      ganglion_guard_options_init(nullptr, sizeof(ganglion_guard_options)),
      ganglion_switch_options_init(nullptr, sizeof(ganglion_switch_options)),
  };
  for (const ganglion_status status : loop) CHECK_EQUAL(status, GANGLION_CALL_NULL_POINTER);

  const auto refused = [&](ganglion_status status, const char* what) {
    CHECK_EQUAL(status, GANGLION_CALL_NULL_POINTER);
    check::report(says(what) && says("is null"), what, __FILE__, __LINE__, sentence.data());
  };
  ganglion_policy* policy = nullptr;
  refused(ganglion_policy_load(nullptr, nullptr, &policy, text, size), "'path'");
  refused(ganglion_policy_load("x", nullptr, nullptr, text, size), "new handle");
  refused(ganglion_policy_load_memory(nullptr, 5, "x", nullptr, &policy, text, size), "'file'");
  refused(ganglion_policy_load_memory("x", 1, nullptr, nullptr, &policy, text, size), "'name'");
  refused(ganglion_policy_clone(nullptr, &policy, text, size), "'policy'");
  refused(ganglion_policy_attach(nullptr, nullptr, text, size), "'");
  refused(ganglion_policy_contract_json(nullptr, text, size, &count, text, size), "'policy'");
  refused(ganglion_policy_reading_json(nullptr, 0, text, size, &count, text, size), "'policy'");
  refused(ganglion_explain_json(nullptr, nullptr, text, size, &count, text, size), "'path'");
  refused(ganglion_explain_memory_json(nullptr, 5, "x", nullptr, text, size, &count, text, size), "'file'");
  refused(ganglion_policy_self_test(nullptr, nullptr, nullptr, 0, text, size), "'policy'");
  ganglion_recorder* recorder = nullptr;
  ganglion_recorder_channel* channel = nullptr;
  refused(ganglion_recorder_open(nullptr, nullptr, &recorder, text, size), "'path'");
  refused(ganglion_recorder_open_channel(nullptr, "x", 1, &channel, text, size), "'recorder'");
  refused(ganglion_recorder_flush(nullptr, text, size), "'recorder'");
  refused(ganglion_recorder_get_statistics(nullptr, nullptr, text, size), "'recorder'");
  refused(ganglion_recorder_close(nullptr, 0, text, size), "'recorder'");
  refused(ganglion_cadence_create(nullptr, 0.001, nullptr, nullptr, text, size), "new handle");
  refused(ganglion_tick_monitor_create(nullptr, nullptr, nullptr, text, size), "new handle");
  refused(ganglion_tick_monitor_mismatch_sentence(nullptr, text, size), "'monitor'");
  refused(ganglion_tick_monitor_attach(nullptr, nullptr, text, size), "'");
  refused(ganglion_guard_create(nullptr, nullptr, nullptr, text, size), "new handle");
  refused(ganglion_guard_attach(nullptr, nullptr, text, size), "'");
  ganglion_switch* made = nullptr;
  refused(ganglion_switch_create(nullptr, &made, text, size), "'policy'");
  refused(ganglion_switch_stage(nullptr, nullptr, nullptr, text, size), "'flight'");
  refused(ganglion_switch_collect(nullptr, &count, text, size), "'flight'");
  refused(ganglion_switch_attach(nullptr, nullptr, text, size), "'");
  refused(ganglion_switch_report_sentence(nullptr, text, size), "'flight'");
  refused(ganglion_instruction_set(nullptr, text, size), "'name'");
  CHECK(policy == nullptr && recorder == nullptr && channel == nullptr && made == nullptr);

  for (const ganglion_status status :
       {ganglion_policy_destroy(nullptr), ganglion_recorder_destroy(nullptr),
        ganglion_recorder_channel_destroy(nullptr), ganglion_cadence_destroy(nullptr),
        ganglion_tick_monitor_destroy(nullptr), ganglion_guard_destroy(nullptr), ganglion_switch_destroy(nullptr)}) {
    CHECK_EQUAL(status, GANGLION_OK);
  }
}

TEST_CASE("handles of another kind, and arrays that are null") {
  ganglion_policy* const policy = loaded("lstm.ganglion");
  auto* const wrong = reinterpret_cast<ganglion_guard*>(policy);
  CHECK_EQUAL(ganglion_guard_disengage(wrong), GANGLION_CALL_BAD_HANDLE);
  CHECK_EQUAL(ganglion_guard_destroy(wrong), GANGLION_CALL_BAD_HANDLE);
  CHECK_EQUAL(ganglion_policy_attach(policy, reinterpret_cast<ganglion_recorder*>(policy), sentence.data(), 1000),
              GANGLION_CALL_BAD_HANDLE);
  CHECK(says("'recorder' is no such handle"));
  std::array<float, 3> observation{};
  std::array<float, 2> action{7.0F, 7.0F};
  CHECK_EQUAL(ganglion_policy_step(policy, nullptr, 3, action.data(), 2), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_step(policy, observation.data(), 3, nullptr, 2), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_step(policy, observation.data(), 2, action.data(), 2), GANGLION_STATUS_BAD_SIZE);
  CHECK_EQUAL(ganglion_policy_step(policy, observation.data(), SIZE_MAX, action.data(), 2), GANGLION_STATUS_BAD_SIZE);
  CHECK_EQUAL(ganglion_policy_step(policy, nullptr, 0, nullptr, 0), GANGLION_STATUS_BAD_SIZE);
  observation[1] = NAN;
  CHECK_EQUAL(ganglion_policy_step(policy, observation.data(), 3, action.data(), 2),
              GANGLION_STATUS_NON_FINITE_OBSERVATION);
  CHECK(action[0] == 7.0F && action[1] == 7.0F);
  CHECK_EQUAL(ganglion_policy_set_state(policy, nullptr, 1), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_set_applied_action(policy, nullptr, 1), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_burn_in(policy, nullptr, 1, nullptr), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_reset_rows(policy, nullptr, 1), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_state(policy, nullptr, nullptr), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_policy_mark(policy, 3, 0), GANGLION_CALL_OUT_OF_RANGE);
  CHECK_EQUAL(ganglion_policy_mark(policy, -1, 0), GANGLION_CALL_OUT_OF_RANGE);
  const float* values = nullptr;
  std::size_t count = 0;
  CHECK_EQUAL(ganglion_policy_output(policy, 100, &values, &count), GANGLION_CALL_OUT_OF_RANGE);
  auto tensor = sized<ganglion_tensor>();
  CHECK_EQUAL(ganglion_policy_input(policy, 100, &tensor), GANGLION_CALL_OUT_OF_RANGE);
  CHECK_EQUAL(ganglion_policy_output_spec(policy, 100, &tensor), GANGLION_CALL_OUT_OF_RANGE);
  auto slot = sized<ganglion_slot>();
  CHECK_EQUAL(ganglion_policy_slot(policy, 100, &slot), GANGLION_CALL_OUT_OF_RANGE);
  CHECK_EQUAL(ganglion_policy_destroy(policy), GANGLION_OK);
}

TEST_CASE("structs of another size") {
  Newer<ganglion_load_options> options{};
  CHECK_EQUAL(ganglion_load_options_init(&options.known, sizeof(options)), GANGLION_OK);
  CHECK_EQUAL(options.known.size, sizeof(options));
  CHECK(options.known.self_test == 1 && options.known.threads == 1 && options.known.warmup_steps == 20);
  ganglion_policy_destroy(loaded("lstm.ganglion", &options.known));  // what it does not know is zero
  ganglion_policy* policy = nullptr;
  const auto refused = [&](ganglion_status expected, const char* part) {
    const std::string path = artifact("lstm.ganglion");
    CHECK_EQUAL(ganglion_policy_load(path.c_str(), &options.known, &policy, sentence.data(), sentence.size()),
                expected);
    check::report(says(part) && policy == nullptr, part, __FILE__, __LINE__, sentence.data());
  };
  options.later = std::uint64_t{1} << 63U;
  refused(GANGLION_CALL_NEWER_STRUCT, "take a newer libganglion");
  options.known.size = sizeof(options.known);
  options.known.reserved = 1;
  refused(GANGLION_CALL_NEWER_STRUCT, "'options'");
  options.known.reserved = 0;
  for (const std::size_t size : {std::size_t{0}, sizeof(options.known) - 8, SIZE_MAX}) {
    options.known.size = size;
    refused(GANGLION_CALL_BAD_STRUCT, "'size'");
  }
  options.known.size = sizeof(options.known);
  ganglion_hints hints{};  // size not set
  options.known.hints = &hints;
  refused(GANGLION_CALL_BAD_STRUCT, "'hints'");
  CHECK_EQUAL(ganglion_hints_init(&hints, sizeof(hints)), GANGLION_OK);
  hints.state_count = 1;
  refused(GANGLION_CALL_NULL_POINTER, "'hints.state'");
  options.known.hints = nullptr;
  options.known.engine = "warp";
  refused(GANGLION_ERROR_BAD_OPTION, "'warp'");

  policy = loaded("lstm.ganglion");
  Newer<ganglion_policy_info> info{};
  info.known.size = sizeof(info);
  info.later = 7;
  CHECK_EQUAL(ganglion_policy_get_info(policy, &info.known), GANGLION_OK);
  CHECK(info.later == 0 && info.known.size == sizeof(info) && info.known.observation_size == 3);
  info.known.size = 8;
  CHECK_EQUAL(ganglion_policy_get_info(policy, &info.known), GANGLION_CALL_BAD_STRUCT);
  ganglion_policy_destroy(policy);
}

TEST_CASE("what a file is refused for comes with its code and a sentence in any buffer") {
  ganglion_policy* policy = nullptr;
  CHECK_EQUAL(ganglion_policy_load("/nowhere/at.all", nullptr, &policy, sentence.data(), 12),
              GANGLION_ERROR_FILE_NOT_FOUND);
  CHECK(std::strlen(sentence.data()) <= 11 && says("'/nowhere"));
  CHECK_EQUAL(ganglion_policy_load("/nowhere/\xC3\xA9", nullptr, &policy, sentence.data(), 12),
              GANGLION_ERROR_FILE_NOT_FOUND);
  CHECK_EQUAL(std::string(sentence.data()), "'/nowhere/");  // no half of a character
  CHECK_EQUAL(ganglion_policy_load("/nowhere/at.all", nullptr, &policy, nullptr, 1000), GANGLION_ERROR_FILE_NOT_FOUND);
  CHECK_EQUAL(ganglion_policy_load("/nowhere/at.all", nullptr, &policy, sentence.data(), 0),
              GANGLION_ERROR_FILE_NOT_FOUND);
  CHECK_EQUAL(ganglion_policy_load_memory("rubbish", 7, "x.ganglion", nullptr, &policy, sentence.data(), 1000),
              GANGLION_ERROR_BAD_ARTIFACT);
  CHECK_EQUAL(ganglion_policy_load_memory(nullptr, 0, "x.ganglion", nullptr, &policy, sentence.data(), 1000),
              GANGLION_ERROR_BAD_ARTIFACT);
  CHECK(says("x.ganglion") && policy == nullptr);
  CHECK_EQUAL(std::string(ganglion_status_name(GANGLION_ERROR_BAD_ARTIFACT)), "bad_artifact");
  CHECK_EQUAL(std::string(ganglion_status_name(GANGLION_CALL_NEWER_STRUCT)), "newer_struct");
  for (const ganglion_status none : {-1, 7, 99, 0x10C, 0x1FF, 0x209, INT32_MAX, INT32_MIN}) {
    CHECK_EQUAL(std::string(ganglion_status_name(none)), "unknown");
    CHECK_EQUAL(std::string(ganglion_guard_reason_name(none == 7 ? 99 : none)), "unknown");
  }
  CHECK_EQUAL(std::string(ganglion_tick_name(GANGLION_TICK_MISSED)), "missed");
  CHECK_EQUAL(std::string(ganglion_switch_phase_name(GANGLION_SWITCH_BLENDING)), "blending");
  CHECK_EQUAL(std::string(ganglion_switch_outcome_name(GANGLION_OUTCOME_DIVERGED)), "diverged");
}

TEST_CASE("the contract, by accessors and as JSON") {
  ganglion_policy* const policy = loaded("gru_batch4.ganglion");
  const ganglion_policy_info info = info_of(policy);
  CHECK(info.batch == 4 && info.realtime_safe == 1 && info.has_golden == 1);
  CHECK_EQUAL(std::string(info.engine), "native");
  std::size_t inputs = 0;
  for (std::size_t i = 0; i < info.input_count; ++i) {
    auto input = sized<ganglion_tensor>();
    CHECK_EQUAL(ganglion_policy_input(policy, i, &input), GANGLION_OK);
    CHECK(input.name != nullptr && *input.name != '\0');
    inputs += input.elements;
  }
  CHECK_EQUAL(inputs, info.observation_size);
  std::size_t hidden = 0;
  for (std::size_t i = 0; i < info.slot_count; ++i) {
    auto slot = sized<ganglion_slot>();
    CHECK_EQUAL(ganglion_policy_slot(policy, i, &slot), GANGLION_OK);
    std::size_t elements = 1;
    for (std::size_t axis = 0; axis < slot.rank; ++axis) elements *= slot.shape[axis];
    CHECK_EQUAL(elements, slot.elements);
    hidden += slot.elements;
  }
  CHECK(hidden == info.hidden_size && hidden > 0);

  std::size_t needed = 0;
  CHECK_EQUAL(ganglion_policy_contract_json(policy, nullptr, 0, &needed, sentence.data(), 1000),
              GANGLION_CALL_BUFFER_TOO_SMALL);
  std::vector<char> text(needed, 'x');
  CHECK_EQUAL(ganglion_policy_contract_json(policy, text.data(), needed - 1, nullptr, nullptr, 0),
              GANGLION_CALL_BUFFER_TOO_SMALL);
  CHECK_EQUAL(text[0], 'x');
  CHECK_EQUAL(ganglion_policy_contract_json(policy, text.data(), needed, nullptr, nullptr, 0), GANGLION_OK);
  CHECK(std::strlen(text.data()) + 1 == needed && check::contains(text.data(), info.sha256));

  auto test = sized<ganglion_self_test>();
  std::vector<char> digests(65 * info.batch);
  CHECK_EQUAL(ganglion_policy_self_test(policy, &test, digests.data(), digests.size(), sentence.data(), 1000),
              GANGLION_OK);
  CHECK(test.steps > 0 && test.max_error <= test.tolerance && *sentence.data() != '\0');
  if (test.digest_count > 0) CHECK_EQUAL(std::strlen(digests.data()), 64U);
  ganglion_policy_destroy(policy);
}

TEST_CASE("a file in memory and its clone step as the one on the disk does") {
  std::ifstream file(artifact("lstm.ganglion"), std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ganglion_policy* memory = nullptr;
  CHECK_EQUAL(ganglion_policy_load_memory(bytes.data(), bytes.size(), "lstm", nullptr, &memory, sentence.data(), 1000),
              GANGLION_OK);
  bytes.assign(bytes.size(), 0);
  ganglion_policy* const disk = loaded("lstm.ganglion");
  const std::array<float, 3> observation{0.1F, 0.2F, 0.3F};
  std::array<std::array<float, 2>, 3> action{};
  ganglion_policy* clone = nullptr;
  for (int step = 0; step < 5; ++step) {
    CHECK_EQUAL(ganglion_policy_step(disk, observation.data(), 3, action[0].data(), 2), GANGLION_OK);
    CHECK_EQUAL(ganglion_policy_step(memory, observation.data(), 3, action[1].data(), 2), GANGLION_OK);
    CHECK(action[0] == action[1]);
  }
  CHECK_EQUAL(ganglion_policy_clone(disk, &clone, sentence.data(), 1000), GANGLION_OK);
  CHECK_EQUAL(ganglion_policy_destroy(disk), GANGLION_OK);
  CHECK_EQUAL(ganglion_policy_step(memory, observation.data(), 3, action[1].data(), 2), GANGLION_OK);
  CHECK_EQUAL(ganglion_policy_step(clone, observation.data(), 3, action[2].data(), 2), GANGLION_OK);
  CHECK(action[1] == action[2]);
  ganglion_policy_destroy(memory);
  ganglion_policy_destroy(clone);
}

TEST_CASE("what stands around a step is refused by code and sentence") {
  ganglion_policy* const policy = loaded("lstm.ganglion");
  ganglion_cadence* cadence = nullptr;
  auto slow = sized<ganglion_cadence_options>();
  CHECK_EQUAL(ganglion_cadence_options_init(&slow, sizeof(slow)), GANGLION_OK);
  slow.between = 2;
  CHECK_EQUAL(ganglion_cadence_create(policy, 0.001, &slow, &cadence, sentence.data(), 1000),
              GANGLION_ERROR_BAD_OPTION);
  CHECK(says("'between' is 2"));
  slow.between = GANGLION_BETWEEN_LINEAR;
  slow.period_s = NAN;
  CHECK_EQUAL(ganglion_cadence_create(policy, 0.001, &slow, &cadence, sentence.data(), 1000),
              GANGLION_ERROR_BAD_OPTION);
  slow.period_s = 0.02;
  slow.action_size = 2;
  CHECK_EQUAL(ganglion_cadence_create(policy, 0.001, &slow, &cadence, sentence.data(), 1000),
              GANGLION_ERROR_BAD_OPTION);
  CHECK_EQUAL(ganglion_cadence_create(nullptr, 0.001, &slow, &cadence, sentence.data(), 1000), GANGLION_OK);
  std::array<float, 2> command{5.0F, 5.0F};
  CHECK_EQUAL(ganglion_cadence_action(cadence, 0, command.data(), 2), GANGLION_CALL_NO_VALUE);
  CHECK_EQUAL(ganglion_cadence_action(cadence, 0, command.data(), 1), GANGLION_STATUS_BAD_SIZE);
  CHECK_EQUAL(ganglion_cadence_action(cadence, 0, nullptr, 2), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(ganglion_cadence_due(cadence, 0, nullptr), GANGLION_CALL_NULL_POINTER);
  CHECK_EQUAL(command[0], 5.0F);
  ganglion_cadence_destroy(cadence);

  ganglion_guard* guard = nullptr;
  CHECK_EQUAL(ganglion_guard_create(policy, nullptr, &guard, sentence.data(), 1000), GANGLION_ERROR_BAD_OPTION);
  ganglion_guard_options options{};
  CHECK_EQUAL(ganglion_guard_options_init(&options, sizeof(options)), GANGLION_OK);
  options.rate_count = 1;
  CHECK_EQUAL(ganglion_guard_create(policy, &options, &guard, sentence.data(), 1000), GANGLION_CALL_NULL_POINTER);
  const double rate = 1.0;
  options.rate = &rate;
  options.longest_tick_s = 0.1;
  CHECK_EQUAL(ganglion_guard_create(policy, &options, &guard, sentence.data(), 1000), GANGLION_OK);
  std::int32_t reason = -1;
  CHECK_EQUAL(ganglion_guard_apply(guard, command.data(), 2, 0, command.data(), 2, &reason, nullptr),
              GANGLION_CALL_NOT_ENGAGED);
  CHECK_EQUAL(reason, GANGLION_GUARD_NOT_ENGAGED);
  std::array<float, 2> position{0.0F, INFINITY};
  CHECK_EQUAL(ganglion_guard_engage(guard, position.data(), 2), GANGLION_STATUS_NON_FINITE_ACTION);
  CHECK_EQUAL(ganglion_guard_engage(guard, position.data(), 1), GANGLION_STATUS_BAD_SIZE);
  position[1] = 0.0F;
  CHECK_EQUAL(ganglion_guard_engage(guard, position.data(), 2), GANGLION_OK);
  CHECK_EQUAL(ganglion_guard_apply(guard, command.data(), 1, 0, command.data(), 2, &reason, nullptr),
              GANGLION_STATUS_BAD_SIZE);
  ganglion_guard_destroy(guard);

  ganglion_switch* flight = nullptr;
  CHECK_EQUAL(ganglion_switch_create(policy, &flight, sentence.data(), 1000), GANGLION_OK);
  ganglion_policy* const other = loaded("gru_batch4.ganglion");
  CHECK_EQUAL(ganglion_switch_stage(flight, other, nullptr, sentence.data(), 1000), GANGLION_ERROR_BAD_OPTION);
  CHECK(*sentence.data() != '\0');
  ganglion_switch_options staging{};
  CHECK_EQUAL(ganglion_switch_options_init(&staging, sizeof(staging)), GANGLION_OK);
  staging.state = 3;
  CHECK_EQUAL(ganglion_switch_stage(flight, policy, &staging, sentence.data(), 1000), GANGLION_ERROR_BAD_OPTION);
  CHECK_EQUAL(ganglion_switch_report_sentence(flight, sentence.data(), 1000), GANGLION_OK);
  CHECK(*sentence.data() != '\0');
  ganglion_switch_destroy(flight);
  ganglion_policy_destroy(other);

  ganglion_recorder* recorder = nullptr;
  CHECK_EQUAL(ganglion_recorder_open("/nowhere/at/all.mcap", nullptr, &recorder, sentence.data(), 1000),
              GANGLION_ERROR_RECORDING_FAILED);
  ganglion_policy_destroy(policy);
}

#ifdef GANGLION_KEEPS_DESTROYED
TEST_CASE("a debug build answers where a destroyed handle is used") {
  ganglion_policy* const policy = loaded("lstm.ganglion");
  CHECK_EQUAL(ganglion_policy_destroy(policy), GANGLION_OK);
  CHECK_EQUAL(ganglion_policy_reset(policy), GANGLION_CALL_BAD_HANDLE);
  CHECK_EQUAL(ganglion_policy_destroy(policy), GANGLION_CALL_BAD_HANDLE);
  ganglion_policy* clone = nullptr;
  CHECK_EQUAL(ganglion_policy_clone(policy, &clone, sentence.data(), sentence.size()), GANGLION_CALL_BAD_HANDLE);
  CHECK(says("was destroyed before") && clone == nullptr);
}
#endif

int main() { return check::run_all(); }
