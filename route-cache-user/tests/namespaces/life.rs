//! The agent ends, is killed, or is stopped: packets go on, and nothing stays behind.

use std::{
    os::unix::process::ExitStatusExt,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use route_cache_lab::wait_until;

use crate::{
    router::{PATIENCE, Router, attached_programs},
    stream::Exit,
};

#[test]
fn sigterm_and_sigint_leave_nothing_behind_and_lose_no_packet() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut router = Router::forwarding("signal");
        assert_eq!(attached_programs(&router.router), ["left", "right"]);
        let socket = router.agent.control_socket().to_owned();
        let (pid, mut status) = (router.agent.pid(), None);
        let agent = &router.agent;
        let account = router.during(&format!("{signal}"), || {
            agent.signal(signal).unwrap();
            wait_until("the agent to let go", PATIENCE, || {
                attached_programs(&router.router).is_empty()
            })
            .unwrap();
        });
        account.stays(Exit::Server);
        status.replace(router.agent.wait().unwrap());
        assert_eq!(status.unwrap().code(), Some(0), "pid {pid}: {}", router.agent.log());
        assert!(!socket.exists(), "{} is left", socket.display());
        assert!(!router.agent.log().contains("panicked"), "{}", router.agent.log());
    }
}

#[test]
fn f1_programs_go_with_a_killed_agent_and_no_packet_is_lost() {
    let mut router = Router::forwarding("killed");
    let agent = &router.agent;
    let account = router.during("SIGKILL", || agent.signal(Signal::SIGKILL).unwrap());
    account.stays(Exit::Server);
    assert_eq!(router.agent.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    wait_until("the programs to go", PATIENCE, || attached_programs(&router.router).is_empty())
        .unwrap();
    // Its socket is in the way of nobody: the next agent takes its place.
    let socket = router.agent.control_socket().display().to_string();
    assert!(router.agent.control_socket().exists());
    let next = router
        .router
        .spawn(&[crate::router::BINARY, "-i", "left", "--control-socket", &socket])
        .unwrap();
    wait_until("the next agent to answer", PATIENCE, || router.agent.status().is_ok())
        .unwrap_or_else(|error| panic!("{error:#}: {}", next.stderr()));
}

#[test]
fn f3_a_stopped_agent_is_believed_for_ten_seconds_at_most() {
    let router = Router::forwarding("stopped");
    let bound = Duration::from_secs(10);
    let account = router.during_flow("SIGSTOP, then ip route change", router.flow(), bound, || {
        router.agent.signal(Signal::SIGSTOP).unwrap();
        router.ip("route change 10.9.0.0/16 via 10.0.3.2");
    });
    account.moves(Exit::Server, Exit::Other).without_loss();
    let stopped = Instant::now();

    // Not one packet goes by what was known before: the promise is given again only after what was missed is read.
    let account = router.during("SIGCONT", || {
        router.agent.signal(Signal::SIGCONT).unwrap();
    });
    account.stays(Exit::Other);
    router.await_forwarding(router.flow());
    eprintln!("latency: SIGCONT: forwarding by XDP again within {:?}", stopped.elapsed());
    assert!(router.agent.outcome("pass_expired").unwrap() > 1000, "{}", router.story());
}

/// The tables are read in time although the agent is stopped again and again.
#[test]
fn f3_no_packet_goes_by_old_tables_when_a_stopped_agent_goes_on() {
    let router = Router::forwarding("resumed");
    for round in 0..3 {
        let (from, to, gateway) = if round % 2 == 0 {
            (Exit::Server, Exit::Other, "10.0.3.2")
        } else {
            (Exit::Other, Exit::Server, "10.0.2.2")
        };
        // Shorter than the promise: what is old is used until the agent goes on, and no longer.
        let account = router.during(&format!("SIGSTOP and SIGCONT, round {round}"), || {
            router.agent.signal(Signal::SIGSTOP).unwrap();
            router.ip(&format!("route change 10.9.0.0/16 via {gateway}"));
            thread::sleep(Duration::from_millis(1500));
            router.agent.signal(Signal::SIGCONT).unwrap();
        });
        account.moves(from, to).without_loss();
        router.await_forwarding(router.flow());
    }
}
