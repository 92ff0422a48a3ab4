//! A network namespace of a test's own.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// Runs `test` on a thread of its own in a fresh network namespace, which goes with the thread.
pub(crate) fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .expect("this test makes a network namespace of its own: run it as root");
            run("ip link set lo up");
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Runs a command in the calling thread's namespace; it must succeed.
pub(crate) fn run(command: &str) {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {complaint}");
}
