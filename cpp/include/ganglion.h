/*
 * ganglion's C interface: libganglion.so, for every controller that is not compiled together with ganglion. C11, and
 * valid C++.
 *
 * It only grows: a function, a number or a field that is here stays as it is, for programs that were built with an
 * older header, and for programs that meet an older library. docs/c_interface.md has the rules and an example.
 *
 * Every call answers a ganglion_status, and nothing else comes out of it: no C++ exception, no signal, no text on the
 * terminal. On anything but GANGLION_OK the caller's memory and the policy stay as they were; where a new
 * handle would be, a null is.
 *
 * Set-up calls may allocate and read files. They take `message`, a buffer of `message_size` bytes for one sentence that
 * says what is wrong, where, and what to do; it always ends in a zero byte and may be null. It is empty on GANGLION_OK.
 *
 * Loop calls are marked GANGLION_LOOP. With the native engine they take no heap, no lock and no system call.
 *
 * One thread at a time for each handle, whichever it is; calls for two handles may run at once. A switch has rules of
 * its own, see there. Pointers that are given back belong to the library and are valid as long as it says there.
 */
#ifndef GANGLION_H
#define GANGLION_H

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "ganglion: this CPU is big-endian, libganglion is not. Export the policy as policy.h or policy.hpp: both run."
#endif

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define GANGLION_API __attribute__((visibility("default")))
#else
#define GANGLION_API
#endif

/* Marks the calls that a control loop may make. */
#define GANGLION_LOOP

#ifdef __cplusplus
#define GANGLION_NOEXCEPT noexcept
extern "C" {
#else
#define GANGLION_NOEXCEPT
#endif

/* NOLINTBEGIN(cppcoreguidelines-use-enum-class,modernize-redundant-void-arg): C has neither */

/* ---- status ------------------------------------------------------------------------------------------------------ */

/* What every call answers. The low byte of the first two groups is the number that ganglion::Status and
 * ganglion::ErrorCode have in C++. */
typedef int32_t ganglion_status;

enum {
  GANGLION_OK = 0,
  GANGLION_STATUS_BAD_SIZE = 1,               /* an array has the wrong number of elements */
  GANGLION_STATUS_NON_FINITE_OBSERVATION = 2, /* an observation element is NaN or infinite */
  GANGLION_STATUS_NON_FINITE_ACTION = 3,      /* an action, another output or the next state is NaN or infinite */
  GANGLION_STATUS_ENGINE_FAILURE = 4,         /* the engine reported an error of its own in a step */
  GANGLION_STATUS_NON_FINITE_STATE = 5,       /* an element of a state handed in is NaN or infinite */
  GANGLION_STATUS_MOVED_FROM = 6,             /* the policy holds nothing; cannot happen through this interface */

  /* Set-up; the message says more. */
  GANGLION_ERROR_FILE_NOT_FOUND = 0x100,     /* nothing readable at that path */
  GANGLION_ERROR_BAD_ARTIFACT = 0x101,       /* damaged, truncated, or not what its name says */
  GANGLION_ERROR_NEWER_FORMAT = 0x102,       /* the file was written by a newer ganglion */
  GANGLION_ERROR_DIGEST_MISMATCH = 0x103,    /* contract, program or weights changed after export */
  GANGLION_ERROR_BAD_CONTRACT = 0x104,       /* contract and program disagree, or the state cannot be recognised */
  GANGLION_ERROR_BAD_OPTION = 0x105,         /* an option makes no sense here */
  GANGLION_ERROR_ENGINE_UNAVAILABLE = 0x106, /* the engine's library is missing or too old */
  GANGLION_ERROR_ENGINE_FAILURE = 0x107,     /* the engine refused the program */
  GANGLION_ERROR_SELF_TEST_FAILED = 0x108,   /* the golden trajectory was missed */
  GANGLION_ERROR_OUT_OF_MEMORY = 0x109,      /* the system had no memory for it */
  GANGLION_ERROR_NOT_SIGNED = 0x10A,         /* the file is signed with none of the keys that the caller insists on */
  GANGLION_ERROR_RECORDING_FAILED = 0x10B,   /* a recording of a flight cannot be written, or is not whole */

  /* Of this interface alone. */
  GANGLION_CALL_NULL_POINTER = 0x200,     /* a pointer that is needed is null */
  GANGLION_CALL_BAD_HANDLE = 0x201,       /* a handle of another kind, or one that was destroyed (debug builds) */
  GANGLION_CALL_BAD_STRUCT = 0x202,       /* the field `size` of a struct is the size of none; see its _init call */
  GANGLION_CALL_NEWER_STRUCT = 0x203,     /* a field that this library does not know is set; take a newer library */
  GANGLION_CALL_BUFFER_TOO_SMALL = 0x204, /* nothing written; the size that is needed was */
  GANGLION_CALL_OUT_OF_RANGE = 0x205,     /* an index is too large */
  GANGLION_CALL_NOT_ENGAGED = 0x206,      /* the guard must be engaged first; nothing was written */
  GANGLION_CALL_NO_VALUE = 0x207,         /* there is none yet; nothing was written */
  GANGLION_CALL_INTERNAL = 0x208          /* a fault of ganglion; please report it with the message */
};

/* "bad_size", ...; "unknown" for a number that this library does not have. A string with static storage, as all that
 * calls ending in _name give. */
GANGLION_API GANGLION_LOOP const char* ganglion_status_name(ganglion_status status) GANGLION_NOEXCEPT;

/* The version of the library, "0.1.0"; a string with static storage. */
GANGLION_API GANGLION_LOOP const char* ganglion_version(void) GANGLION_NOEXCEPT;

/* The kernels that the native engine uses where a load does not say: "avx2", ...; a string with static storage. */
GANGLION_API ganglion_status ganglion_instruction_set(const char** name, char* message,
                                                      size_t message_size) GANGLION_NOEXCEPT;

/* ---- structs ----------------------------------------------------------------------------------------------------- */

/* Every struct begins with its own size in bytes, so that it can grow. An _init call, with sizeof of the struct, sets
 * it and every default. Of structs that the library fills in, only `size` must be set. A field that the library does
 * not know must be zero bytes, else it answers GANGLION_CALL_NEWER_STRUCT; fields that the caller's struct does not
 * have yet are at their defaults. Flags are 0 or 1. */

/* A state input of a file without a contract, and the output that feeds it. */
typedef struct ganglion_state_pair {
  const char* input;
  const char* output;
} ganglion_state_pair;

/* An input that always holds one value, such as a sequence length of 1. */
typedef struct ganglion_constant {
  const char* name;
  double value;
} ganglion_constant;

/* Elements of the observation called `name`; of the only one under "". */
typedef struct ganglion_observation_size {
  const char* name;
  size_t elements;
} ganglion_observation_size;

/* What the names in a file without a contract do not tell. All zero: recognise everything. */
typedef struct ganglion_hints {
  size_t size;
  const ganglion_state_pair* state; /* exactly these are state, also where there are none; null: recognise */
  size_t state_count;
  const ganglion_constant* constants;
  size_t constant_count;
  const char* action; /* the output that is the action; null: recognise */
  const ganglion_observation_size* observation;
  size_t observation_count;
} ganglion_hints;

/* Strings and arrays are read during the call. */
typedef struct ganglion_load_options {
  size_t size;
  const char* engine;              /* "native", "onnxruntime", "libtorch"; null: by the kind of the file */
  const char* isa;                 /* native: "avx2", ...; null: GANGLION_ISA, else the fastest of this CPU */
  size_t batch;                    /* rows for a file that takes any number; 0: what the contract says, else 1 */
  const uint64_t* sample_seed;     /* draw actions with this seed; null: the mean, the best index */
  const char* public_key;          /* PEM file of Ed25519 keys: refuse a file signed with none of them; null: any */
  const char* onnxruntime_library; /* libonnxruntime; null: GANGLION_ONNXRUNTIME, then the loader's path */
  const char* libtorch_library;    /* libganglion_libtorch; null: GANGLION_LIBTORCH, then the loader's path */
  const ganglion_hints* hints;     /* null: none */
  int32_t threads;                 /* inside one step; the native engine has one */
  int32_t warmup_steps;            /* run at load; they leave no trace in the state */
  int32_t self_test;               /* refuse a file that does not follow its golden trajectory */
  int32_t lock_memory;             /* native: mlock weights and buffers; refuses to load where that is not allowed */
  int32_t trust;                   /* LibTorch: run a .pt file whose program has what no policy needs */
  int32_t reserved;                /* 0 */
} ganglion_load_options;

GANGLION_API ganglion_status ganglion_hints_init(ganglion_hints* hints, size_t size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_load_options_init(ganglion_load_options* options, size_t size) GANGLION_NOEXCEPT;

/* ---- policy ------------------------------------------------------------------------------------------------------ */

/* A loaded policy that owns its hidden state. */
typedef struct ganglion_policy ganglion_policy;
typedef struct ganglion_recorder ganglion_recorder;

/* Opens a file (.ganglion, .onnx, .pt). options: null for the defaults. */
GANGLION_API ganglion_status ganglion_policy_load(const char* path, const ganglion_load_options* options,
                                                  ganglion_policy** policy, char* message,
                                                  size_t message_size) GANGLION_NOEXCEPT;
/* Opens a .ganglion file in memory, which may go away afterwards; `name` stands for its path in messages. */
GANGLION_API ganglion_status ganglion_policy_load_memory(const void* file, size_t file_size, const char* name,
                                                         const ganglion_load_options* options, ganglion_policy** policy,
                                                         char* message, size_t message_size) GANGLION_NOEXCEPT;
/* A second policy with the same weights and a copy of the state. */
GANGLION_API ganglion_status ganglion_policy_clone(const ganglion_policy* policy, ganglion_policy** clone,
                                                   char* message, size_t message_size) GANGLION_NOEXCEPT;
/* Null does nothing, as in every _destroy. Set-up. */
GANGLION_API ganglion_status ganglion_policy_destroy(ganglion_policy* policy) GANGLION_NOEXCEPT;

/* One control step. observation: [batch, observation_size]; action: [batch, action_size]; each with its number of
 * elements. On any status but GANGLION_OK, `action` and the state keep their old bytes. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_step(ganglion_policy* policy, const float* observation,
                                                                size_t observation_elements, float* action,
                                                                size_t action_elements) GANGLION_NOEXCEPT;
/* Steps along live observations, [steps, batch, observation_size], the oldest first, without acting on them. `steps`
 * (or null) gets how many were taken, before the first one that was refused: they stay in the state. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_burn_in(ganglion_policy* policy, const float* observations,
                                                                   size_t elements, size_t* steps) GANGLION_NOEXCEPT;
/* Restores the initial state of every row; also the state right after load. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_reset(ganglion_policy* policy) GANGLION_NOEXCEPT;
/* Restores the initial state of the rows whose byte is not zero; rows: [batch]. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_reset_rows(ganglion_policy* policy, const uint8_t* rows,
                                                                      size_t count) GANGLION_NOEXCEPT;
/* Output `index` of the last good step, [batch, elements of the output]; null and 0 before the first one. Valid until
 * the next step. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_output(const ganglion_policy* policy, size_t index,
                                                                  const float** values,
                                                                  size_t* elements) GANGLION_NOEXCEPT;
/* The hidden state, [batch, hidden_size]. Valid until the next call for the policy. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_state(const ganglion_policy* policy, const float** values,
                                                                 size_t* elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_set_state(ganglion_policy* policy, const float* state,
                                                                     size_t elements) GANGLION_NOEXCEPT;
/* Tells a policy with a slot prev_action what was executed in place of its last action, [batch, action_size].
 * GANGLION_STATUS_BAD_SIZE where it has no such slot, or no known action map. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_set_applied_action(ganglion_policy* policy,
                                                                              const float* action,
                                                                              size_t elements) GANGLION_NOEXCEPT;

/* What may be noted of a policy in a recording. */
enum { GANGLION_EVENT_TOOK_OVER = 0, GANGLION_EVENT_REJECTED = 1, GANGLION_EVENT_ROLLED_BACK = 2 };

/* Records every call for the policy from now on, and the policy itself. Clones are not recorded. */
GANGLION_API ganglion_status ganglion_policy_attach(ganglion_policy* policy, ganglion_recorder* recorder, char* message,
                                                    size_t message_size) GANGLION_NOEXCEPT;
/* Notes in the recording what became of this policy; nothing where it is not attached. `count` is the caller's. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_mark(ganglion_policy* policy, int32_t event,
                                                                uint64_t count) GANGLION_NOEXCEPT;

/* ---- contract ---------------------------------------------------------------------------------------------------- */

typedef struct ganglion_policy_info {
  size_t size;
  size_t batch;            /* rows of one step */
  size_t observation_size; /* elements of one row, as the three below */
  size_t action_size;
  size_t output_size; /* all outputs together */
  size_t hidden_size;
  size_t input_count;         /* of ganglion_policy_input */
  size_t output_count;        /* of ganglion_policy_output_spec; the first is the action */
  size_t slot_count;          /* of ganglion_policy_slot */
  const float* initial_state; /* [hidden_size] */
  double period_s;            /* that it was trained at; 0: not known */
  const char* engine;         /* "native", ... */
  const char* sha256;         /* over program and weights; "" for a file without a contract */
  int32_t realtime_safe;      /* a step takes no heap, no lock and no system call */
  int32_t has_golden;         /* the file has a golden trajectory */
} ganglion_policy_info;

/* One input or output. Pointers are null where that is not known, and valid as long as the policy. */
typedef struct ganglion_tensor {
  size_t size;
  const char* name;
  size_t elements;                  /* of one row */
  const char* const* element_names; /* [elements], as the three below */
  const char* const* units;         /* SI units: "rad", "m/s", ... */
  const double* low;                /* -infinity where unbounded */
  const double* high;               /* +infinity where unbounded */
  const size_t* shape;              /* of one row in the file, [3, 64, 64] of an image; null for a vector */
  size_t rank;                      /* of shape */
} ganglion_tensor;

/* A slice of the flat hidden state: "h" [layers, hidden], "prev_action" [actions], ... */
typedef struct ganglion_slot {
  size_t size;
  const char* name;
  size_t elements;
  const size_t* shape;
  size_t rank;
} ganglion_slot;

GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_get_info(const ganglion_policy* policy,
                                                                    ganglion_policy_info* info) GANGLION_NOEXCEPT;
/* The observation is the concatenation of the inputs, in this order. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_input(const ganglion_policy* policy, size_t index,
                                                                 ganglion_tensor* input) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_output_spec(const ganglion_policy* policy, size_t index,
                                                                       ganglion_tensor* output) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_policy_slot(const ganglion_policy* policy, size_t index,
                                                                ganglion_slot* slot) GANGLION_NOEXCEPT;

/* JSON documents, UTF-8, with a zero byte at the end: the contract alone, or how the file was understood. `needed` (or
 * null) gets the bytes that the text takes; GANGLION_CALL_BUFFER_TOO_SMALL, and nothing written, where `text_size` is
 * less. */
GANGLION_API ganglion_status ganglion_policy_contract_json(const ganglion_policy* policy, char* text, size_t text_size,
                                                           size_t* needed, char* message,
                                                           size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_policy_reading_json(const ganglion_policy* policy, int32_t with_golden,
                                                          char* text, size_t text_size, size_t* needed, char* message,
                                                          size_t message_size) GANGLION_NOEXCEPT;
/* How a file is understood, without running it; the second of a file in memory, whose name says what kind it is. */
GANGLION_API ganglion_status ganglion_explain_json(const char* path, const ganglion_load_options* options, char* text,
                                                   size_t text_size, size_t* needed, char* message,
                                                   size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_explain_memory_json(const void* file, size_t file_size, const char* name,
                                                          const ganglion_load_options* options, char* text,
                                                          size_t text_size, size_t* needed, char* message,
                                                          size_t message_size) GANGLION_NOEXCEPT;

typedef struct ganglion_self_test {
  size_t size;
  size_t steps;          /* replayed; 0: the file carries no golden trajectory */
  double max_error;      /* largest |difference| / max(1, |recorded|) */
  double tolerance;      /* accepted value of it */
  size_t step;           /* where it was first exceeded: step, */
  size_t row;            /* row, */
  size_t element;        /* and element in the concatenated outputs */
  double median_step_us; /* of the replayed steps, microseconds */
  double worst_step_us;
  size_t digest_count; /* rows that have a digest; 0 on another engine than the native one */
} ganglion_self_test;

/* Replays the golden trajectory on a copy of the state. GANGLION_ERROR_SELF_TEST_FAILED where it is missed: `result` is
 * filled in then, too. `message` gets a sentence in both cases. `digests` (or null) gets the SHA-256 of every row, 64
 * hexadecimal digits and a zero byte each; rows that find no room in `digests_size` bytes are left out. */
GANGLION_API ganglion_status ganglion_policy_self_test(const ganglion_policy* policy, ganglion_self_test* result,
                                                       char* digests, size_t digests_size, char* message,
                                                       size_t message_size) GANGLION_NOEXCEPT;

/* ---- recorder ---------------------------------------------------------------------------------------------------- */

/* Records a flight into an MCAP file. A thread of its own writes; what finds no room is dropped and counted. All that
 * is attached to one recorder is used by one thread at a time, the loop's. */
typedef struct ganglion_recorder_channel ganglion_recorder_channel;

typedef struct ganglion_recorder_options {
  size_t size;
  double seconds;         /* so much of a flight waits in memory where the disk is slow */
  double snapshot_s;      /* between two copies of a policy's state; a replay can begin at each */
  int64_t (*clock)(void); /* nanoseconds of a clock of your own, called in the loop; null: CLOCK_MONOTONIC */
  int32_t overwrite;      /* a file that is there already is replaced; else it is refused */
  int32_t reserved;       /* 0 */
} ganglion_recorder_options;

typedef struct ganglion_recorder_statistics {
  size_t size;
  uint64_t events;  /* that happened, recorded or not */
  uint64_t dropped; /* those of them that are not in the file */
  uint64_t bytes;   /* in the file */
} ganglion_recorder_statistics;

enum { GANGLION_COMPRESSION_NONE = 0, GANGLION_COMPRESSION_ZSTD = 1, GANGLION_COMPRESSION_LZ4 = 2 };

GANGLION_API ganglion_status ganglion_recorder_options_init(ganglion_recorder_options* options,
                                                            size_t size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_recorder_open(const char* path, const ganglion_recorder_options* options,
                                                    ganglion_recorder** recorder, char* message,
                                                    size_t message_size) GANGLION_NOEXCEPT;
/* Values of one's own, `elements` float32 each time, as /user/<name>: letters, digits, _ and /. */
GANGLION_API ganglion_status ganglion_recorder_open_channel(ganglion_recorder* recorder, const char* name,
                                                            size_t elements, ganglion_recorder_channel** channel,
                                                            char* message, size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_recorder_channel_record(ganglion_recorder_channel* channel,
                                                                            const float* values,
                                                                            size_t elements) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_recorder_channel_destroy(ganglion_recorder_channel* channel) GANGLION_NOEXCEPT;
/* The time of what follows, where it is simulated: no clock is read any more. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_recorder_set_time(ganglion_recorder* recorder,
                                                                      int64_t now_ns) GANGLION_NOEXCEPT;
/* Waits until everything so far is in the file. */
GANGLION_API ganglion_status ganglion_recorder_flush(ganglion_recorder* recorder, char* message,
                                                     size_t message_size) GANGLION_NOEXCEPT;
/* `message` gets a sentence where the file cannot be written any more, and the call is GANGLION_OK nevertheless. */
GANGLION_API ganglion_status ganglion_recorder_get_statistics(const ganglion_recorder* recorder,
                                                              ganglion_recorder_statistics* statistics, char* message,
                                                              size_t message_size) GANGLION_NOEXCEPT;
/* Ends the recording; a second call does nothing. The handle lives on until _destroy. */
GANGLION_API ganglion_status ganglion_recorder_close(ganglion_recorder* recorder, int32_t compression, char* message,
                                                     size_t message_size) GANGLION_NOEXCEPT;
/* Closes without compression where that was not done; what goes wrong is not said. What was attached may live on. */
GANGLION_API ganglion_status ganglion_recorder_destroy(ganglion_recorder* recorder) GANGLION_NOEXCEPT;

/* ---- cadence ----------------------------------------------------------------------------------------------------- */

/* When a policy is to step in a loop that runs faster than it was trained. Times are nanoseconds of any clock that goes
 * on steadily, such as CLOCK_MONOTONIC. */
typedef struct ganglion_cadence ganglion_cadence;

enum { GANGLION_BETWEEN_HOLD = 0, GANGLION_BETWEEN_LINEAR = 1 };

typedef struct ganglion_cadence_options {
  size_t size;
  double period_s;    /* of the policy; 0: what its contract says */
  size_t rows;        /* robots in one policy */
  size_t action_size; /* where there is no policy to ask; else 0 */
  int32_t between;    /* what a robot is given between two steps: the newest action, or a line to it */
  int32_t reserved;   /* 0 */
} ganglion_cadence_options;

typedef struct ganglion_cadence_info {
  size_t size;
  double period_s;
  uint64_t skipped; /* steps that the loop was too late for */
} ganglion_cadence_info;

GANGLION_API ganglion_status ganglion_cadence_options_init(ganglion_cadence_options* options,
                                                           size_t size) GANGLION_NOEXCEPT;
/* policy: whose contract is read, during the call; null where the options say it. */
GANGLION_API ganglion_status ganglion_cadence_create(const ganglion_policy* policy, double loop_period_s,
                                                     const ganglion_cadence_options* options,
                                                     ganglion_cadence** cadence, char* message,
                                                     size_t message_size) GANGLION_NOEXCEPT;
/* `due` gets 1 in the tick in which the policy must step. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_cadence_due(ganglion_cadence* cadence, int64_t now_ns,
                                                                int32_t* due) GANGLION_NOEXCEPT;
/* Takes over the action of the step that was due, [rows, action_size]. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_cadence_take(ganglion_cadence* cadence, const float* action,
                                                                 size_t elements) GANGLION_NOEXCEPT;
/* Writes what to do now. GANGLION_CALL_NO_VALUE before the first action. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_cadence_action(const ganglion_cadence* cadence, int64_t now_ns,
                                                                   float* action, size_t elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_cadence_reset(ganglion_cadence* cadence) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_cadence_get_info(const ganglion_cadence* cadence,
                                                                     ganglion_cadence_info* info) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_cadence_destroy(ganglion_cadence* cadence) GANGLION_NOEXCEPT;

/* ---- tick monitor ------------------------------------------------------------------------------------------------ */

/* Watches when the ticks of a loop come. */
typedef struct ganglion_tick_monitor ganglion_tick_monitor;

enum {
  GANGLION_TICK_ON_TIME = 0,
  GANGLION_TICK_EARLY = 1,
  GANGLION_TICK_LATE = 2,
  GANGLION_TICK_MISSED = 3,        /* so late that at least one tick before it never came */
  GANGLION_TICK_CLOCK_SET_BACK = 4 /* earlier than the tick before */
};

typedef struct ganglion_tick_options {
  size_t size;
  double period_s;           /* 0: that of the policy */
  double tolerance;          /* of the period: what is nearer to it is on time */
  double mismatch_tolerance; /* of the period: a loop whose mean is farther from it runs at another one */
} ganglion_tick_options;

typedef struct ganglion_tick_statistics {
  size_t size;
  uint64_t ticks;
  uint64_t early;
  uint64_t late;
  uint64_t missed; /* ticks that never came */
  uint64_t clock_set_back;
  uint64_t longest_run; /* most ticks in a row that never came or came late */
  double mean_s;        /* between two ticks, as the two below; 0 before there are two */
  double shortest_s;
  double longest_s;
  uint64_t off_ns[40]; /* ticks by how far they were from on time: number i counts 2^i to 2^(i+1) nanoseconds */
} ganglion_tick_statistics;

/* A loop that runs at another period than the policy was trained at. */
typedef struct ganglion_mismatch {
  size_t size;
  double trained_s;
  double found_s;
} ganglion_mismatch;

GANGLION_API ganglion_status ganglion_tick_options_init(ganglion_tick_options* options, size_t size) GANGLION_NOEXCEPT;
/* policy: whose period is read, during the call; null where the options say it. */
GANGLION_API ganglion_status ganglion_tick_monitor_create(const ganglion_policy* policy,
                                                          const ganglion_tick_options* options,
                                                          ganglion_tick_monitor** monitor, char* message,
                                                          size_t message_size) GANGLION_NOEXCEPT;
/* `tick` (or null) gets how it came. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_tick_monitor_tick(ganglion_tick_monitor* monitor, int64_t now_ns,
                                                                      int32_t* tick) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_tick_monitor_get_statistics(
    const ganglion_tick_monitor* monitor, ganglion_tick_statistics* statistics) GANGLION_NOEXCEPT;
/* GANGLION_CALL_NO_VALUE where the last 64 ticks do not say so. */
GANGLION_API GANGLION_LOOP ganglion_status
ganglion_tick_monitor_get_mismatch(const ganglion_tick_monitor* monitor, ganglion_mismatch* mismatch) GANGLION_NOEXCEPT;
/* The same as one sentence for a log, with what to do; empty where there is none. Set-up. */
GANGLION_API ganglion_status ganglion_tick_monitor_mismatch_sentence(const ganglion_tick_monitor* monitor,
                                                                     char* message,
                                                                     size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_tick_monitor_reset(ganglion_tick_monitor* monitor)
    GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_tick_monitor_attach(ganglion_tick_monitor* monitor, ganglion_recorder* recorder,
                                                          char* message, size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_tick_monitor_destroy(ganglion_tick_monitor* monitor) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP const char* ganglion_tick_name(int32_t tick) GANGLION_NOEXCEPT;

/* ---- action guard ------------------------------------------------------------------------------------------------ */

/* Stands between a policy and the motors: no element changes faster than its rate, whatever the policy says. */
typedef struct ganglion_guard ganglion_guard;

/* What a guard did to an action; of several the one that stands last. */
enum {
  GANGLION_GUARD_NONE = 0,           /* the action is the policy's own */
  GANGLION_GUARD_BLENDING = 1,       /* between where the robot was at engage and the policy's action */
  GANGLION_GUARD_CLAMPED = 2,        /* an element was beyond its bounds */
  GANGLION_GUARD_LIMITED = 3,        /* an element would have changed too fast */
  GANGLION_GUARD_CLOCK_SET_BACK = 4, /* the time is earlier than before: nothing moved */
  GANGLION_GUARD_HOLDING = 5,        /* the policy gave no action, or one that is not finite: the last one is held */
  GANGLION_GUARD_EXPIRED = 6,        /* it gave none for too long: stop the robot */
  GANGLION_GUARD_BAD_SIZE = 7,       /* with the status GANGLION_STATUS_BAD_SIZE */
  GANGLION_GUARD_NOT_ENGAGED = 8     /* with the status GANGLION_CALL_NOT_ENGAGED */
};

/* Lists have one number per element of the action, or one for all of them; null and 0: none. */
typedef struct ganglion_guard_options {
  size_t size;
  const double* rate; /* most that an element may change, in its unit per second; must be given */
  size_t rate_count;
  const double* low; /* none: those of the contract */
  size_t low_count;
  const double* high; /* none: those of the contract */
  size_t high_count;
  const double* damping; /* the action to go to where the policy gave none for too long; none: stay */
  size_t damping_count;
  double blend_s;        /* from where the robot is to what the policy says, after engage */
  double longest_hold_s; /* so long the last action is held where the policy gives none */
  double longest_tick_s; /* a longer tick moves no farther; 0: two of the contract's periods */
  double period_s;       /* where there is no policy to ask; else 0 */
  size_t action_size;    /* where there is no policy to ask; else 0 */
} ganglion_guard_options;

GANGLION_API ganglion_status ganglion_guard_options_init(ganglion_guard_options* options,
                                                         size_t size) GANGLION_NOEXCEPT;
/* policy: whose contract is read, during the call; null where the options say it. */
GANGLION_API ganglion_status ganglion_guard_create(const ganglion_policy* policy, const ganglion_guard_options* options,
                                                   ganglion_guard** guard, char* message,
                                                   size_t message_size) GANGLION_NOEXCEPT;
/* From here: position, [action_size], is what the action would have to be for the robot to stay where it is. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_guard_engage(ganglion_guard* guard, const float* position,
                                                                 size_t elements) GANGLION_NOEXCEPT;
/* Writes what the motors get for an action of the policy; both [action_size], and they may be the same. `reason` and
 * `element` (or null) get what was done, and the first element that it is about. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_guard_apply(ganglion_guard* guard, const float* action,
                                                                size_t action_elements, int64_t now_ns, float* command,
                                                                size_t command_elements, int32_t* reason,
                                                                size_t* element) GANGLION_NOEXCEPT;
/* Writes what the motors get where the policy gave no action. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_guard_hold(ganglion_guard* guard, int64_t now_ns, float* command,
                                                               size_t command_elements, int32_t* reason,
                                                               size_t* element) GANGLION_NOEXCEPT;
/* The next apply answers GANGLION_CALL_NOT_ENGAGED. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_guard_disengage(ganglion_guard* guard) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_guard_attach(ganglion_guard* guard, ganglion_recorder* recorder, char* message,
                                                   size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_guard_destroy(ganglion_guard* guard) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP const char* ganglion_guard_reason_name(int32_t reason) GANGLION_NOEXCEPT;

/* ---- switch ------------------------------------------------------------------------------------------------------ */

/* Exchanges the policy of a loop while it flies. step, reset, reset_rows, set_applied_action, output, state and
 * set_state are for one thread, the loop's. stage, collect, attach and detach are for any other one, one at a time.
 * take_over, roll_back and get_report are for all. */
typedef struct ganglion_switch ganglion_switch;

/* What a candidate remembers when it takes over. */
enum {
  GANGLION_HAND_OVER_FRESH = 0,     /* nothing: it is reset */
  GANGLION_HAND_OVER_BURNED_IN = 1, /* what it saw while it ran beside the flying policy */
  GANGLION_HAND_OVER_COPIED = 2     /* what the flying policy remembered when the candidate began to run */
};

enum {
  GANGLION_SWITCH_FLYING = 0,    /* one policy runs */
  GANGLION_SWITCH_SHADOWING = 1, /* a candidate runs beside it, and its actions go nowhere */
  GANGLION_SWITCH_BLENDING = 2,  /* the action is on its way from the one to the other */
  GANGLION_SWITCH_RETURNING = 3, /* one of the two failed in a blend: on the way to that of the other one */
  GANGLION_SWITCH_KEEPING = 4    /* the new one flies, and the old one still runs beside it */
};

/* What became of the newest candidate. */
enum {
  GANGLION_OUTCOME_NONE = 0,
  GANGLION_OUTCOME_TOOK_OVER = 1,  /* it flies */
  GANGLION_OUTCOME_DIVERGED = 2,   /* rejected: its actions did not agree */
  GANGLION_OUTCOME_FAILED = 3,     /* rejected: it answered a bad status where the flying policy did not */
  GANGLION_OUTCOME_WITHDRAWN = 4,  /* rejected: on command, or for another candidate */
  GANGLION_OUTCOME_ROLLED_BACK = 5 /* the policy before it flies again */
};

typedef struct ganglion_switch_options {
  size_t size;
  const double* gate; /* most that an action may differ: one for each element or for all; null: on command alone */
  size_t gate_count;
  size_t agreeing_steps; /* so many steps in a row must agree */
  size_t patience;       /* rejected where that has not come after so many steps; needs a gate */
  size_t blend_steps;    /* steps on the way from the old action to the new one */
  double blend_s;        /* the same in seconds, by the period of the contract; 0: blend_steps */
  size_t keep_steps;     /* so long the old policy goes on running, for a roll-back */
  int32_t state;         /* GANGLION_HAND_OVER_... */
  int32_t reserved;      /* 0 */
} ganglion_switch_options;

typedef struct ganglion_switch_report {
  size_t size;
  uint64_t steps;      /* in all */
  uint64_t exchanges;  /* candidates that took over */
  uint64_t rejections; /* those that did not */
  uint64_t roll_backs;
  uint64_t agreeing; /* steps in a row, until now */
  uint64_t step;     /* where the candidate was farthest from the flying policy, or the step that it failed in */
  size_t row;
  size_t element;
  double difference;
  int32_t phase;          /* GANGLION_SWITCH_... */
  int32_t outcome;        /* GANGLION_OUTCOME_... */
  ganglion_status status; /* what a candidate answered that failed */
  int32_t reserved;       /* 0 */
} ganglion_switch_report;

GANGLION_API ganglion_status ganglion_switch_options_init(ganglion_switch_options* options,
                                                          size_t size) GANGLION_NOEXCEPT;
/* With a clone of the policy that flies first; `policy` stays the caller's. */
GANGLION_API ganglion_status ganglion_switch_create(const ganglion_policy* policy, ganglion_switch** made,
                                                    char* message, size_t message_size) GANGLION_NOEXCEPT;
/* Hands a clone of a candidate to the loop, which takes it up in its next step. Frees what was retired. */
GANGLION_API ganglion_status ganglion_switch_stage(ganglion_switch* flight, const ganglion_policy* candidate,
                                                   const ganglion_switch_options* options, char* message,
                                                   size_t message_size) GANGLION_NOEXCEPT;
/* Frees the policies that the loop is done with; `freed` (or null) gets how many. */
GANGLION_API ganglion_status ganglion_switch_collect(ganglion_switch* flight, size_t* freed, char* message,
                                                     size_t message_size) GANGLION_NOEXCEPT;
/* Records what flies, and every candidate that is staged from now on. Before the loop runs. The recorder must not be
 * destroyed before _detach. */
GANGLION_API ganglion_status ganglion_switch_attach(ganglion_switch* flight, ganglion_recorder* recorder, char* message,
                                                    size_t message_size) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_switch_detach(ganglion_switch* flight) GANGLION_NOEXCEPT;
/* The candidate takes over in the next step; nothing where there is none. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_take_over(ganglion_switch* flight) GANGLION_NOEXCEPT;
/* The policy before the newest candidate flies alone from the next step on; nothing where it is gone. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_roll_back(ganglion_switch* flight) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_get_report(const ganglion_switch* flight,
                                                                      ganglion_switch_report* report) GANGLION_NOEXCEPT;
/* The report as one sentence for a log. Set-up. */
GANGLION_API ganglion_status ganglion_switch_report_sentence(const ganglion_switch* flight, char* message,
                                                             size_t message_size) GANGLION_NOEXCEPT;
/* As those of a policy. */
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_step(ganglion_switch* flight, const float* observation,
                                                                size_t observation_elements, float* action,
                                                                size_t action_elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_reset(ganglion_switch* flight) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_reset_rows(ganglion_switch* flight, const uint8_t* rows,
                                                                      size_t count) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_output(const ganglion_switch* flight, size_t index,
                                                                  const float** values,
                                                                  size_t* elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_state(const ganglion_switch* flight, const float** values,
                                                                 size_t* elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_set_state(ganglion_switch* flight, const float* state,
                                                                     size_t elements) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP ganglion_status ganglion_switch_set_applied_action(ganglion_switch* flight,
                                                                              const float* action,
                                                                              size_t elements) GANGLION_NOEXCEPT;
GANGLION_API ganglion_status ganglion_switch_destroy(ganglion_switch* flight) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP const char* ganglion_switch_phase_name(int32_t phase) GANGLION_NOEXCEPT;
GANGLION_API GANGLION_LOOP const char* ganglion_switch_outcome_name(int32_t outcome) GANGLION_NOEXCEPT;

/* NOLINTEND(cppcoreguidelines-use-enum-class,modernize-redundant-void-arg) */

#ifdef __cplusplus
}
#endif

#endif
