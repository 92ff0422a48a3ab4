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

/// The same with a pair of Ethernet devices, `left` (10.0.0.1/24) and `right`, both up.
pub(crate) fn with_veth<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    in_namespace(|| {
        run("ip link add left address 02:00:00:00:00:01 type veth peer name right \
             && ip link set left up && ip link set right up \
             && ip address add 10.0.0.1/24 dev left");
        test()
    })
}

/// Runs a shell command in the calling thread's namespace; it must succeed.
pub(crate) fn run(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().expect("sh runs");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {complaint}");
}

/// The index of an interface in the calling thread's namespace.
pub(crate) fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the interface is there")
}
