//! Where steps are played: the lab, the time that is left for them, and the progress line.

use std::{
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{interrupt::Interrupt, screen::Screen, traffic::flood};
use crate::{Agent, Lab, counters::InterfaceCount};

/// How often the progress line changes.
const TICK: Duration = Duration::from_millis(500);

/// The stage.
pub(super) struct Stage<'a> {
    pub(super) lab: &'a Lab,
    pub(super) interrupt: &'a Interrupt,
    seconds: u64,
    started: Instant,
    screen: Screen,
}

impl<'a> Stage<'a> {
    /// Prepares the lab for all steps.
    pub(super) fn new(lab: &'a Lab, seconds: u64, interrupt: &'a Interrupt) -> Result<Self> {
        lab.resolve_neighbours()?;
        flood::prepare(lab)?;
        Ok(Self { lab, interrupt, seconds, started: Instant::now(), screen: Screen::new() })
    }

    /// A share of the time, in hundredths.
    pub(super) fn share(&self, hundredths: u64) -> Duration {
        Duration::from_millis(self.seconds * hundredths * 10)
    }

    /// Announces something that is no step with traffic.
    pub(super) fn say(&self, what: &str) {
        self.screen.step(&self.line(what));
    }

    /// Takes the progress line away.
    pub(super) fn clear(&self) {
        self.screen.clear();
    }

    /// Plays a step, showing meanwhile what arrives at the server and what XDP has forwarded.
    pub(super) fn step<T: Send>(
        &mut self,
        what: &str,
        agent: Option<&Agent>,
        play: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        self.interrupt.check()?;
        self.say(what);
        thread::scope(|scope| {
            let (sender, receiver) = channel();
            scope.spawn(move || sender.send(play()));
            let mut last = (Instant::now(), self.arrived());
            loop {
                match receiver.recv_timeout(TICK) {
                    Ok(result) => {
                        self.interrupt.check()?;
                        return result;
                    }
                    Err(RecvTimeoutError::Disconnected) => {
                        return Err(anyhow!("the step \"{what}\" panicked"));
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                }
                let now = (Instant::now(), self.arrived());
                let rate = (now.1 - last.1) as f64 / (now.0 - last.0).as_secs_f64();
                last = now;
                let by = |agent: &Agent, name| agent.outcome(name).ok();
                let forwarded = agent.and_then(|agent| {
                    Some(by(agent, "forwarded_flow")? + by(agent, "forwarded_clone")?)
                });
                let forwarded = forwarded.map_or_else(String::new, |count| {
                    format!(", {count} forwarded by flows and clones so far")
                });
                self.screen.show(&self.line(&format!("{what}: {rate:.0} packets/s{forwarded}")));
            }
        })
    }

    fn arrived(&self) -> u64 {
        let server = &self.lab.server;
        InterfaceCount::read(&server.namespace, server.interface).map_or(0, |c| c.rx_packets)
    }

    fn line(&self, what: &str) -> String {
        format!("[{:3}/{} s] {what}", self.started.elapsed().as_secs(), self.seconds)
    }
}
