//! How soon a thread gets a CPU that others use.
//!
//! What waits for a CPU gets it before others if its turn is over sooner (EEVDF): the event loop asks for short turns,
//! so that a change of a route is heard while others compute; what walks through tables asks for long ones. Since Linux
//! 6.12 a thread may say so for itself (`sched_attr::sched_runtime` of SCHED_OTHER); before, it does nothing. It takes no
//! privilege and gives nobody more time than before.

use std::{io, time::Duration};

/// The shortest that the kernel grants.
const SHORT: Duration = Duration::from_micros(100);

/// A longer one than anything else has.
const LONG: Duration = Duration::from_millis(20);

/// Short turns for the calling thread, and for those that it starts.
pub(crate) fn short() {
    ask(SHORT);
}

/// Runs something in long turns, and goes back to short ones.
pub(crate) fn in_long<T>(work: impl FnOnce() -> T) -> T {
    /// Also when the work panics: the thread is used again.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            short();
        }
    }
    ask(LONG);
    let _back = Back;
    work()
}

/// Without it everything works, only later at times.
fn ask(turn: Duration) {
    if let Err(error) = set(turn) {
        tracing::debug!("the kernel does not take turns of {turn:?}: {error}");
    }
}

/// `struct sched_attr` (include/uapi/linux/sched/types.h), its first version.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Nanoseconds.
    runtime: u64,
    deadline: u64,
    period: u64,
}

fn set(turn: Duration) -> io::Result<()> {
    let mut attributes = get()?;
    // Of other policies it is something else.
    if attributes.policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    attributes.runtime = turn.as_nanos() as u64;
    // SAFETY: the kernel reads as many bytes as the structure says that it has.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get() -> io::Result<Attributes> {
    let size = size_of::<Attributes>() as u32;
    let mut attributes = Attributes { size, ..Attributes::default() };
    // SAFETY: the kernel writes no more bytes than it is told that there are.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    if done == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_the_turns_that_it_asked_for_or_the_kernel_knows_none() {
        let turns = || Duration::from_nanos(get().unwrap().runtime);
        short();
        // Before 6.12 the kernel tells nothing of it.
        if turns().is_zero() {
            eprintln!("not here: before Linux 6.12 threads have no turns of their own");
            return;
        }
        assert_eq!(turns(), SHORT);
        assert_eq!(in_long(turns), LONG);
        assert_eq!(turns(), SHORT);
        let broke_off = std::panic::catch_unwind(|| in_long(|| panic!("a walk that breaks off")));
        assert!(broke_off.is_err());
        assert_eq!(turns(), SHORT, "the thread is used again");
    }
}
