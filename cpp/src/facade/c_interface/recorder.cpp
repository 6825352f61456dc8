#include <cstddef>
#include <cstdint>
#include <utility>

#include "facade/c_interface/handles.hpp"
#include "facade/c_interface/loop.hpp"
#include "facade/c_interface/set_up.hpp"
#include "ganglion.h"
#include "ganglion/flight_recorder.hpp"

struct ganglion_recorder_channel final : ganglion::c_interface::Handle<ganglion::RecorderChannel, 'v'> {
  using Handle::Handle;
};

namespace ganglion::c_interface {

namespace {

ganglion_recorder_options recorder_defaults() noexcept {
  const RecorderOptions options;
  ganglion_recorder_options known{};
  known.size = sizeof(known);
  known.seconds = options.seconds;
  known.snapshot_s = options.snapshot_s;
  known.overwrite = options.overwrite ? 1 : 0;
  return known;
}

}  // namespace

}  // namespace ganglion::c_interface

namespace c = ganglion::c_interface;

extern "C" {

ganglion_status ganglion_recorder_options_init(ganglion_recorder_options* options, size_t size) noexcept {
  return c::give(c::recorder_defaults(), options, size);
}

ganglion_status ganglion_recorder_open(const char* path, const ganglion_recorder_options* options,
                                       ganglion_recorder** recorder, char* message, size_t message_size) noexcept {
  return c::make_handle(__func__, recorder, {message, message_size}, [&] {
    c::require_pointer(path, "path");
    const ganglion_recorder_options known = c::taken(options, c::recorder_defaults(), "options");
    ganglion::RecorderOptions asked;
    asked.seconds = known.seconds;
    asked.snapshot_s = known.snapshot_s;
    asked.overwrite = known.overwrite != 0;
    // C has no noexcept: a clock of C throws nothing.
    asked.clock = reinterpret_cast<decltype(asked.clock)>(known.clock);
    return new ganglion_recorder(ganglion::FlightRecorder::open(path, asked));
  });
}

ganglion_status ganglion_recorder_open_channel(ganglion_recorder* recorder, const char* name, size_t elements,
                                               ganglion_recorder_channel** channel, char* message,
                                               size_t message_size) noexcept {
  return c::make_handle(__func__, channel, {message, message_size}, [&] {
    auto& held = c::held_in(recorder, "recorder");
    c::require_pointer(name, "name");
    return new ganglion_recorder_channel(held.channel(name, elements));
  });
}

ganglion_status ganglion_recorder_channel_record(ganglion_recorder_channel* channel, const float* values,
                                                 size_t elements) noexcept {
  return c::with(channel, [&](ganglion::RecorderChannel& held) noexcept -> ganglion_status {
    if (!c::is_array(values, elements)) return GANGLION_CALL_NULL_POINTER;
    return c::status_of(held.record({values, elements}));
  });
}

ganglion_status ganglion_recorder_channel_destroy(ganglion_recorder_channel* channel) noexcept {
  return c::destroy(channel);
}

ganglion_status ganglion_recorder_set_time(ganglion_recorder* recorder, int64_t now_ns) noexcept {
  return c::with(recorder, [&](ganglion::FlightRecorder& held) noexcept -> ganglion_status {
    held.set_time(now_ns);
    return GANGLION_OK;
  });
}

ganglion_status ganglion_recorder_flush(ganglion_recorder* recorder, char* message, size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    c::held_in(recorder, "recorder").flush();
    return GANGLION_OK;
  });
}

ganglion_status ganglion_recorder_get_statistics(const ganglion_recorder* recorder,
                                                 ganglion_recorder_statistics* statistics, char* message,
                                                 size_t message_size) noexcept {
  const c::Message to{message, message_size};
  return c::set_up(__func__, to, [&] {
    const ganglion::RecorderStatistics found = c::held_in(recorder, "recorder").statistics();
    ganglion_recorder_statistics given{};
    given.events = found.events;
    given.dropped = found.dropped;
    given.bytes = found.bytes;
    c::require(c::give(given, statistics), "statistics");
    to.say(found.error);
    return GANGLION_OK;
  });
}

ganglion_status ganglion_recorder_close(ganglion_recorder* recorder, int32_t compression, char* message,
                                        size_t message_size) noexcept {
  return c::set_up(__func__, {message, message_size}, [&] {
    auto& held = c::held_in(recorder, "recorder");
    held.close(c::enumerator_of(compression, ganglion::Compression::lz4, "compression"));
    return GANGLION_OK;
  });
}

ganglion_status ganglion_recorder_destroy(ganglion_recorder* recorder) noexcept { return c::destroy(recorder); }
}
