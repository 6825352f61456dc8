#include "ganglion/cadence.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "facade/c_interface/asked.hpp"
#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"

struct ganglion_cadence final : ganglion::c_interface::Handle<ganglion::Cadence, 'c'> {
  using Handle::Handle;
};

struct ganglion_tick_monitor final : ganglion::c_interface::Handle<ganglion::TickMonitor, 't'> {
  using Handle::Handle;
};

namespace ganglion::c_interface {

namespace {

ganglion_cadence_options cadence_defaults() noexcept {
  const CadenceOptions options;
  ganglion_cadence_options known{};
  known.size = sizeof(known);
  known.rows = options.rows;
  known.between = static_cast<std::int32_t>(options.between);
  return known;
}

ganglion_tick_options tick_defaults() noexcept {
  const TickOptions options;
  ganglion_tick_options known{};
  known.size = sizeof(known);
  known.tolerance = options.tolerance;
  known.mismatch_tolerance = options.mismatch_tolerance;
  return known;
}

}  // namespace

}  // namespace ganglion::c_interface

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_cadence_options_init(ganglion_cadence_options* options, size_t size) noexcept {
  return c::give(c::cadence_defaults(), options, size);
}

ganglion_status ganglion_cadence_create(const ganglion_policy* policy, double loop_period_s,
                                        const ganglion_cadence_options* options, ganglion_cadence** cadence,
                                        char* message, size_t message_size) noexcept {
  return c::make_handle(__func__, cadence, {message, message_size}, [&] {
    const ganglion_cadence_options known = c::taken(options, c::cadence_defaults(), "options");
    ganglion::CadenceOptions asked;
    asked.rows = known.rows;
    asked.between = c::enumerator_of(known.between, ganglion::Between::linear, "between");
    const ganglion::Contract contract = c::contract_of(policy, known.action_size, known.period_s);
    return new ganglion_cadence(contract, loop_period_s, asked);
  });
}

ganglion_status ganglion_cadence_due(ganglion_cadence* cadence, int64_t now_ns, int32_t* due) noexcept {
  return c::with(cadence, [&](ganglion::Cadence& held) noexcept -> ganglion_status {
    if (due == nullptr) return GANGLION_CALL_NULL_POINTER;
    *due = held.due(now_ns) ? 1 : 0;
    return GANGLION_OK;
  });
}

ganglion_status ganglion_cadence_take(ganglion_cadence* cadence, const float* action, size_t elements) noexcept {
  return c::with(cadence, [&](ganglion::Cadence& held) noexcept -> ganglion_status {
    if (!c::is_array(action, elements)) return GANGLION_CALL_NULL_POINTER;
    return c::status_of(held.take({action, elements}));
  });
}

ganglion_status ganglion_cadence_action(const ganglion_cadence* cadence, int64_t now_ns, float* action,
                                        size_t elements) noexcept {
  return c::with(cadence, [&](const ganglion::Cadence& held) noexcept -> ganglion_status {
    if (!c::is_array(action, elements)) return GANGLION_CALL_NULL_POINTER;
    if (elements != held.size()) return GANGLION_STATUS_BAD_SIZE;
    return held.action(now_ns, {action, elements}) ? GANGLION_OK : GANGLION_CALL_NO_VALUE;
  });
}

ganglion_status ganglion_cadence_reset(ganglion_cadence* cadence) noexcept {
  return c::with(cadence, [](ganglion::Cadence& held) noexcept -> ganglion_status {
    held.reset();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_cadence_get_info(const ganglion_cadence* cadence, ganglion_cadence_info* info) noexcept {
  return c::with(cadence, [&](const ganglion::Cadence& held) noexcept {
    ganglion_cadence_info found{};
    found.period_s = held.period_s();
    found.skipped = held.skipped();
    return c::give(found, info);
  });
}

ganglion_status ganglion_cadence_destroy(ganglion_cadence* cadence) noexcept { return c::destroy(cadence); }

ganglion_status ganglion_tick_options_init(ganglion_tick_options* options, size_t size) noexcept {
  return c::give(c::tick_defaults(), options, size);
}

ganglion_status ganglion_tick_monitor_create(const ganglion_policy* policy, const ganglion_tick_options* options,
                                             ganglion_tick_monitor** monitor, char* message,
                                             size_t message_size) noexcept {
  return c::make_handle(__func__, monitor, {message, message_size}, [&] {
    const ganglion_tick_options known = c::taken(options, c::tick_defaults(), "options");
    const ganglion::TickOptions asked{.tolerance = known.tolerance, .mismatch_tolerance = known.mismatch_tolerance};
    return new ganglion_tick_monitor(c::contract_of(policy, 0, known.period_s), asked);
  });
}

ganglion_status ganglion_tick_monitor_tick(ganglion_tick_monitor* monitor, int64_t now_ns, int32_t* tick) noexcept {
  return c::with(monitor, [&](ganglion::TickMonitor& held) noexcept -> ganglion_status {
    const auto came = static_cast<std::int32_t>(held.tick(now_ns));
    if (tick != nullptr) *tick = came;
    return GANGLION_OK;
  });
}

ganglion_status ganglion_tick_monitor_get_statistics(const ganglion_tick_monitor* monitor,
                                                     ganglion_tick_statistics* statistics) noexcept {
  return c::with(monitor, [&](const ganglion::TickMonitor& held) noexcept {
    const ganglion::TickStatistics& seen = held.statistics();
    ganglion_tick_statistics found{};
    found.ticks = seen.ticks;
    found.early = seen.early;
    found.late = seen.late;
    found.missed = seen.missed;
    found.clock_set_back = seen.clock_set_back;
    found.longest_run = seen.longest_run;
    found.mean_s = seen.mean_s;
    found.shortest_s = seen.shortest_s;
    found.longest_s = seen.longest_s;
    static_assert(sizeof(found.off_ns) == sizeof(seen.off_ns));
    std::copy(seen.off_ns.begin(), seen.off_ns.end(), found.off_ns);
    return c::give(found, statistics);
  });
}

ganglion_status ganglion_tick_monitor_get_mismatch(const ganglion_tick_monitor* monitor,
                                                   ganglion_mismatch* mismatch) noexcept {
  return c::with(monitor, [&](const ganglion::TickMonitor& held) noexcept -> ganglion_status {
    if (!held.mismatch()) return mismatch == nullptr ? GANGLION_CALL_NULL_POINTER : GANGLION_CALL_NO_VALUE;
    ganglion_mismatch found{};
    found.trained_s = held.mismatch()->trained_s;
    found.found_s = held.mismatch()->found_s;
    return c::give(found, mismatch);
  });
}

ganglion_status ganglion_tick_monitor_mismatch_sentence(const ganglion_tick_monitor* monitor, char* message,
                                                        size_t message_size) noexcept {
  const c::Message to{message, message_size};
  return c::set_up(__func__, to, [&] {
    const auto& mismatch = c::held_in(monitor, "monitor").mismatch();
    if (mismatch) to.say(mismatch->sentence());
    return GANGLION_OK;
  });
}

ganglion_status ganglion_tick_monitor_reset(ganglion_tick_monitor* monitor) noexcept {
  return c::with(monitor, [](ganglion::TickMonitor& held) noexcept -> ganglion_status {
    held.reset();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_tick_monitor_attach(ganglion_tick_monitor* monitor, ganglion_recorder* recorder, char* message,
                                             size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::held_in(monitor, "monitor").attach(c::held_in(recorder, "recorder"));
    return GANGLION_OK;
  });
}

ganglion_status ganglion_tick_monitor_destroy(ganglion_tick_monitor* monitor) noexcept { return c::destroy(monitor); }
}
