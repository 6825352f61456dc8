//! ganglion for Rust, over libganglion.so: a policy that is loaded, stepped and reset. One file without dependencies;
//! `rustc --crate-type rlib ganglion.rs`, or a `[lib]` with this path. Links with `-L <libdir> -l ganglion`.
//!
//! Set-up calls give an `Error` with a sentence. Loop calls (`step`, `reset`, `state`, ...) give a `Status`, and take no
//! heap, lock or system call with the native engine.

#![deny(unsafe_op_in_unsafe_fn, missing_docs)]

use std::ffi::{CStr, CString};
use std::fmt;
use std::os::raw::{c_char, c_double, c_void};
use std::ptr;

/// What a call answers that did not do its work; the numbers of `ganglion_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// An array has the wrong number of elements.
    pub const BAD_SIZE: Status = Status(1);
    /// An observation element is NaN or infinite.
    pub const NON_FINITE_OBSERVATION: Status = Status(2);
    /// An action, another output or the next state is NaN or infinite.
    pub const NON_FINITE_ACTION: Status = Status(3);
    /// The engine reported an error of its own.
    pub const ENGINE_FAILURE: Status = Status(4);
    /// An element of a state handed in is NaN or infinite.
    pub const NON_FINITE_STATE: Status = Status(5);

    /// "bad_size", ...
    pub fn name(self) -> &'static str {
        // SAFETY: a string with static storage, for any number.
        unsafe { CStr::from_ptr(ganglion_status_name(self.0)) }.to_str().unwrap_or("unknown")
    }
}

/// What a set-up call says: what, where, and what to do.
#[derive(Clone, Debug)]
pub struct Error {
    /// Its kind.
    pub status: Status,
    sentence: String,
}

impl fmt::Display for Error {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}: {}", self.status.name(), self.sentence)
    }
}

impl std::error::Error for Error {}

/// Sizes of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// Rows of one step.
    pub batch: usize,
    /// Elements of one row of the observation.
    pub observation_size: usize,
    /// Elements of one row of the action.
    pub action_size: usize,
    /// Elements of one row of the state.
    pub hidden_size: usize,
    /// Seconds between two steps in training; none where that is not known.
    pub period_s: Option<f64>,
}

/// A loaded policy that owns its hidden state. It may be sent to another thread, and is used by one at a time.
pub struct Policy {
    handle: ptr::NonNull<c_void>,
    info: Info,
}

// SAFETY: a handle may be used by any thread, one at a time; no `&self` call changes what it holds.
unsafe impl Send for Policy {}

impl Policy {
    /// Opens a .ganglion, .onnx or .pt file.
    pub fn load(path: &str) -> Result<Policy, Error> {
        let path = text(path)?;
        // SAFETY: the strings and places outlive the call; null options are the defaults.
        Policy::made(|made, sentence, size| unsafe { ganglion_policy_load(path.as_ptr(), ptr::null(), made, sentence, size) })
    }

    /// Opens the bytes of a .ganglion file; `name` stands for its path in messages.
    pub fn load_memory(file: &[u8], name: &str) -> Result<Policy, Error> {
        let name = text(name)?;
        // SAFETY: as above; the file is read during the call.
        Policy::made(|made, sentence, size| unsafe {
            ganglion_policy_load_memory(file.as_ptr().cast(), file.len(), name.as_ptr(), ptr::null(), made, sentence, size)
        })
    }

    /// A second policy with the same weights and a copy of the state.
    pub fn try_clone(&self) -> Result<Policy, Error> {
        // SAFETY: the handle lives as long as self.
        Policy::made(|made, sentence, size| unsafe { ganglion_policy_clone(self.handle.as_ptr(), made, sentence, size) })
    }

    /// Sizes and period.
    pub fn info(&self) -> Info {
        self.info
    }

    /// One control step; `observation` and `action` have `batch` rows. Nothing is written where it is refused.
    pub fn step(&mut self, observation: &[f32], action: &mut [f32]) -> Result<(), Status> {
        // SAFETY: each array goes with its length.
        answered(unsafe {
            ganglion_policy_step(
                self.handle.as_ptr(),
                observation.as_ptr(),
                observation.len(),
                action.as_mut_ptr(),
                action.len(),
            )
        })
    }

    /// Restores the initial state of every row.
    pub fn reset(&mut self) {
        // SAFETY: the handle is alive, and nothing else can go wrong.
        unsafe { ganglion_policy_reset(self.handle.as_ptr()) };
    }

    /// Restores the initial state of the rows whose byte is not zero.
    pub fn reset_rows(&mut self, rows: &[u8]) -> Result<(), Status> {
        // SAFETY: the array goes with its length.
        answered(unsafe { ganglion_policy_reset_rows(self.handle.as_ptr(), rows.as_ptr(), rows.len()) })
    }

    /// The hidden state of all rows.
    pub fn state(&self) -> &[f32] {
        let (mut values, mut size) = (ptr::null(), 0);
        // SAFETY: valid until the next call that changes the policy, for which `&mut self` is needed.
        unsafe {
            if ganglion_policy_state(self.handle.as_ptr(), &mut values, &mut size) != 0 || values.is_null() {
                return &[];
            }
            std::slice::from_raw_parts(values, size)
        }
    }

    /// Takes over a hidden state.
    pub fn set_state(&mut self, state: &[f32]) -> Result<(), Status> {
        // SAFETY: the array goes with its length.
        answered(unsafe { ganglion_policy_set_state(self.handle.as_ptr(), state.as_ptr(), state.len()) })
    }

    /// Replays the golden trajectory of the file.
    pub fn self_test(&self) -> Result<(), Error> {
        let mut result = SelfTest { size: std::mem::size_of::<SelfTest>(), rest: [0; 9] };
        // SAFETY: the struct says its own size.
        set_up(|sentence, size| unsafe {
            ganglion_policy_self_test(self.handle.as_ptr(), &mut result, ptr::null_mut(), 0, sentence, size)
        })
    }

    /// The contract, as a JSON document.
    pub fn contract_json(&self) -> Result<String, Error> {
        let mut needed = 0;
        // SAFETY: no buffer, of size 0: the size is asked for.
        unsafe {
            ganglion_policy_contract_json(self.handle.as_ptr(), ptr::null_mut(), 0, &mut needed, ptr::null_mut(), 0);
        }
        let mut held = vec![0u8; needed];
        // SAFETY: the buffer goes with its size.
        set_up(|sentence, size| unsafe {
            ganglion_policy_contract_json(
                self.handle.as_ptr(),
                held.as_mut_ptr().cast(),
                held.len(),
                ptr::null_mut(),
                sentence,
                size,
            )
        })?;
        held.pop();
        Ok(String::from_utf8_lossy(&held).into_owned())
    }

    fn made(call: impl FnOnce(*mut *mut c_void, *mut c_char, usize) -> i32) -> Result<Policy, Error> {
        let mut handle = ptr::null_mut();
        set_up(|sentence, size| call(&mut handle, sentence, size))?;
        let handle = ptr::NonNull::new(handle).expect("a handle where the call is good");
        let mut seen = PolicyInfo { size: std::mem::size_of::<PolicyInfo>(), ..PolicyInfo::default() };
        // SAFETY: the struct says its own size.
        unsafe { ganglion_policy_get_info(handle.as_ptr(), &mut seen) };
        let info = Info {
            batch: seen.batch,
            observation_size: seen.observation_size,
            action_size: seen.action_size,
            hidden_size: seen.hidden_size,
            period_s: Some(seen.period_s).filter(|period| *period != 0.0),
        };
        Ok(Policy { handle, info })
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        // SAFETY: the one owner of the handle goes.
        unsafe { ganglion_policy_destroy(self.handle.as_ptr()) };
    }
}

fn answered(status: i32) -> Result<(), Status> {
    if status == 0 {
        Ok(())
    } else {
        Err(Status(status))
    }
}

fn set_up(call: impl FnOnce(*mut c_char, usize) -> i32) -> Result<(), Error> {
    let mut sentence = [0u8; 4096];
    answered(call(sentence.as_mut_ptr().cast(), sentence.len())).map_err(|status| {
        let end = sentence.iter().position(|byte| *byte == 0).unwrap_or(0);
        Error { status, sentence: String::from_utf8_lossy(&sentence[..end]).into_owned() }
    })
}

fn text(given: &str) -> Result<CString, Error> {
    CString::new(given).map_err(|_| Error {
        status: Status(0x105),
        sentence: format!("{given:?} has a zero byte in it; take it out"),
    })
}

/// `ganglion_policy_info` as it was first published.
#[repr(C)]
struct PolicyInfo {
    size: usize,
    batch: usize,
    observation_size: usize,
    action_size: usize,
    output_size: usize,
    hidden_size: usize,
    input_count: usize,
    output_count: usize,
    slot_count: usize,
    initial_state: *const f32,
    period_s: c_double,
    engine: *const c_char,
    sha256: *const c_char,
    realtime_safe: i32,
    has_golden: i32,
}

impl Default for PolicyInfo {
    fn default() -> Self {
        // SAFETY: numbers and pointers, for which zero is a value.
        unsafe { std::mem::zeroed() }
    }
}

/// `ganglion_self_test` as it was first published: its size, and nine fields of eight bytes.
#[repr(C)]
struct SelfTest {
    size: usize,
    rest: [u64; 9],
}

#[link(name = "ganglion")]
extern "C" {
    fn ganglion_status_name(status: i32) -> *const c_char;
    fn ganglion_policy_load(
        path: *const c_char,
        options: *const c_void,
        policy: *mut *mut c_void,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
    fn ganglion_policy_load_memory(
        file: *const c_void,
        file_size: usize,
        name: *const c_char,
        options: *const c_void,
        policy: *mut *mut c_void,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
    fn ganglion_policy_clone(
        policy: *const c_void,
        clone: *mut *mut c_void,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
    fn ganglion_policy_destroy(policy: *mut c_void) -> i32;
    fn ganglion_policy_step(
        policy: *mut c_void,
        observation: *const f32,
        observation_elements: usize,
        action: *mut f32,
        action_elements: usize,
    ) -> i32;
    fn ganglion_policy_reset(policy: *mut c_void) -> i32;
    fn ganglion_policy_reset_rows(policy: *mut c_void, rows: *const u8, count: usize) -> i32;
    fn ganglion_policy_state(policy: *const c_void, values: *mut *const f32, elements: *mut usize) -> i32;
    fn ganglion_policy_set_state(policy: *mut c_void, state: *const f32, elements: usize) -> i32;
    fn ganglion_policy_get_info(policy: *const c_void, info: *mut PolicyInfo) -> i32;
    fn ganglion_policy_self_test(
        policy: *const c_void,
        result: *mut SelfTest,
        digests: *mut c_char,
        digests_size: usize,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
    fn ganglion_policy_contract_json(
        policy: *const c_void,
        text: *mut c_char,
        text_size: usize,
        needed: *mut usize,
        message: *mut c_char,
        message_size: usize,
    ) -> i32;
}
