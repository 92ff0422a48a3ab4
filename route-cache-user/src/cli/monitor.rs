//! `monitor`: a line for each event, as they come.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use serde::Deserialize;

use super::{
    ask::{PATIENCE, send},
    happenings::describe,
};
use crate::{control::protocol::Request, events::Entry};

/// Prints the last events; and those to come, if the client follows, until SIGINT, SIGTERM or a closed pipe.
///
/// # Errors
///
/// As for other questions; and if an agent that is followed goes away.
pub(super) fn monitor(socket: &Path, follow: bool, json: bool, out: &mut dyn Write) -> Result<()> {
    let printer = Printer { socket, json, out };
    if !follow {
        return printer.print_all(&send(socket, &Request::Monitor { follow })?);
    }
    let signals = interrupts().context("cannot wait for signals")?;
    let stdout = io::stdout();
    // Nothing is asked of stdout: poll tells all the same when its reader is gone.
    let ends = [
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        PollFd::new(stdout.as_fd(), PollFlags::empty()),
    ];
    follow_until(socket, &ends, json, printer.out)
}

/// Prints events until one of `ends` is ready.
pub(super) fn follow_until(
    socket: &Path,
    ends: &[PollFd<'_>],
    json: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let stream = send(socket, &Request::Monitor { follow: true })?;
    Printer { socket, json, out }.print_until(&stream, ends)
}

/// SIGINT and SIGTERM, as something to poll.
fn interrupts() -> nix::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)
}

struct Printer<'a> {
    socket: &'a Path,
    json: bool,
    out: &'a mut dyn Write,
}

impl Printer<'_> {
    fn print_all(mut self, stream: &UnixStream) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = Lines::default();
        while self.read(stream, &mut lines)? {
            if !self.print(&mut lines)? {
                return Ok(());
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        bail!("the agent on {} closed the connection within an event", self.socket.display())
    }

    fn print_until(mut self, stream: &UnixStream, ends: &[PollFd<'_>]) -> Result<()> {
        let mut lines = Lines::default();
        while !wait(stream.as_fd(), ends).context("cannot wait for events")? {
            if !self.read(stream, &mut lines)? {
                bail!(
                    "the agent on {} ended the stream: it stopped, or was not read from for too long",
                    self.socket.display()
                );
            }
            if !self.print(&mut lines)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads on; false at the end.
    fn read(&self, stream: &UnixStream, lines: &mut Lines) -> Result<bool> {
        lines
            .read_from(stream)
            .with_context(|| format!("the agent on {} does not answer", self.socket.display()))
    }

    /// Prints the lines that are complete; false if nobody reads them any more.
    fn print(&mut self, lines: &mut Lines) -> Result<bool> {
        while let Some(line) = lines.next() {
            let entry = self.parse(&line)?;
            match self.write(&entry) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
                written => written.context(STDOUT)?,
            }
        }
        match self.out.flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            flushed => flushed.context(STDOUT).map(|()| true),
        }
    }

    fn parse(&self, line: &[u8]) -> Result<Entry> {
        if let Ok(Refusal { error }) = serde_json::from_slice(line) {
            return Err(anyhow!(error));
        }
        serde_json::from_slice(line).with_context(|| {
            format!("{} answers, but not as an agent of this version does", self.socket.display())
        })
    }

    fn write(&mut self, entry: &Entry) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *self.out, entry)?;
            writeln!(self.out)
        } else {
            writeln!(self.out, "{}", describe(entry))
        }
    }
}

const STDOUT: &str = "cannot write the events to stdout";

/// What comes instead of events.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    error: String,
}

/// Waits for more to read; true if it is time to end.
fn wait(stream: BorrowedFd<'_>, ends: &[PollFd<'_>]) -> nix::Result<bool> {
    let mut fds = vec![PollFd::new(stream, PollFlags::POLLIN)];
    fds.extend(ends.iter().cloned());
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(fds[1..].iter().any(|end| end.any().unwrap_or(true))),
        }
    }
}

/// Bytes, cut into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    /// Reads what is there, waiting for the first; false at the end.
    fn read_from(&mut self, mut stream: &UnixStream) -> io::Result<bool> {
        let mut bytes = [0; 1 << 14];
        let read = loop {
            match stream.read(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.0.extend_from_slice(&bytes[..read]);
        Ok(read > 0)
    }

    /// The next complete line, without its end.
    fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let rest = self.0.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.0, rest);
        line.pop();
        Some(line)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
