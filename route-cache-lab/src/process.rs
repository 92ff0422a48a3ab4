//! Processes in a namespace that cannot outlive their owner.

use std::{
    ffi::OsStr,
    io::Read,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::process::ExitStatusExt,
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{sys, wait_for, wait_until};

/// A process that was started and is killed and reaped when this is dropped.
///
/// The kernel also kills it when the *thread* that started it ends: start processes from a thread that outlives them,
/// which a test's own thread does.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Child,
    status: Option<ExitStatus>,
    stdout: Collected,
    stderr: Collected,
}

impl Running {
    /// Starts `argv` in the network namespace behind the descriptor, or in this process's own.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start<S: AsRef<OsStr>>(argv: &[S], netns: Option<BorrowedFd<'_>>) -> Result<Self> {
        Self::start_with(argv, &[], netns)
    }

    /// The same with further variables in its environment.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start_with<S: AsRef<OsStr>>(
        argv: &[S],
        environment: &[(String, String)],
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<Self> {
        let what = argv.iter().map(|s| s.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut command = command(argv, netns)?;
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start `{what}`: is the program installed?"))?;
        let stdout = Collected::of(child.stdout.take());
        let stderr = Collected::of(child.stderr.take());
        Ok(Self { what, child, status: None, stdout, stderr })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far; all of it once it has ended.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far; all of it once it has ended.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).with_context(|| {
            format!("cannot send {signal} to `{}` (pid {})", self.what, self.pid())
        })
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
            if self.status.is_some() {
                self.stdout.finish();
                self.stderr.finish();
            }
        }
        self.status
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it still runs after `timeout`.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("`{}` (pid {}) to end", self.what, self.pid());
        wait_for(&what, timeout, || self.ended())
    }

    /// Waits until what it has written to either stream contains `text`.
    ///
    /// # Errors
    /// If that has not happened after `timeout` or when it has ended; the error carries its stderr.
    pub fn wait_for_text(&mut self, text: &str, timeout: Duration) -> Result<()> {
        let mut found = false;
        wait_until(&format!("`{}` to write \"{text}\"", self.what), timeout, || {
            let ended = self.ended().is_some();
            found = self.stdout().contains(text) || self.stderr().contains(text);
            found || ended
        })?;
        if found {
            return Ok(());
        }
        Err(anyhow!("`{}` ended without writing \"{text}\": {}", self.what, self.stderr().trim()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Both fail only if it has just ended.
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    /// Exit code, or 128 plus the number of the signal that ended it.
    pub code: i32,
    /// All of its stdout.
    pub stdout: String,
    /// All of its stderr.
    pub stderr: String,
}

/// Runs `argv` to its end.
///
/// # Errors
/// If the program cannot be started.
pub fn run<S: AsRef<OsStr>>(argv: &[S], netns: Option<BorrowedFd<'_>>) -> Result<Finished> {
    let output = command(argv, netns)?.stdin(Stdio::null()).output().with_context(|| {
        let program = argv.first().map(|s| s.as_ref().to_string_lossy());
        format!("cannot start `{}`: is the program installed?", program.unwrap_or_default())
    })?;
    let status = output.status;
    Ok(Finished {
        code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn command<S: AsRef<OsStr>>(argv: &[S], netns: Option<BorrowedFd<'_>>) -> Result<Command> {
    let (program, arguments) =
        argv.split_first().context("cannot start a process: no command was given")?;
    let mut command = Command::new(program);
    command.args(arguments);
    sys::prepare_child(&mut command, netns.map(|fd| fd.as_raw_fd()));
    Ok(command)
}

/// A stream that a thread reads to its end, so that the writer is never held up by a full pipe.
#[derive(Debug)]
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn of(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = stream.map(|mut stream| {
            let bytes = Arc::clone(&bytes);
            thread::spawn(move || {
                let mut chunk = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut chunk) {
                    bytes
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(&chunk[..length]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            // Fails only if the reader panicked, and then there is nothing more to read.
            let _ = reader.join();
        }
    }
}
