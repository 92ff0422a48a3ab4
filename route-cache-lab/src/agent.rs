//! The agent as a process under test: started, asked, stopped.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{self, ExitStatus},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    Namespace, Running, namespace, patience,
    process::{Finished, run},
    wait_until,
};

/// How long the agent may take to get ready or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Outcome names that all mean that the packet left through XDP.
pub const FORWARDED: [&str; 3] = ["forwarded_flow", "forwarded_clone", "forwarded_route"];

/// What [`Setup::start`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Readiness {
    /// It accelerates and is attached to every interface it wants.
    #[default]
    Accelerating,
    /// It answers on its control socket.
    Answering,
    /// Nothing.
    Started,
}

/// How the agent is to be started.
#[derive(Debug)]
pub struct Setup {
    /// Started in its stead, with its command line behind.
    launcher: Vec<String>,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    inside: Option<PathBuf>,
    readiness: Readiness,
    directory: PathBuf,
    control_socket: PathBuf,
    metrics_address: SocketAddr,
}

/// A running agent, with a control socket and a metrics address of its own. Terminated when this is dropped.
#[derive(Debug)]
pub struct Agent {
    binary: String,
    process: Running,
    directory: PathBuf,
    control_socket: PathBuf,
    metrics_address: SocketAddr,
}

impl Agent {
    /// Starts the agent on these interfaces of a namespace and waits until it accelerates on all of them.
    ///
    /// # Errors
    /// If it does not get there; the error carries its log.
    pub fn start(binary: &Path, namespace: &Namespace, interfaces: &[&str]) -> Result<Self> {
        let setup = Self::setup(binary)?.arguments(&["--netns", namespace.name()]);
        interfaces.iter().fold(setup, |setup, name| setup.arguments(&["--interface", name])).start()
    }

    /// For an agent that is to be started in another way.
    ///
    /// # Errors
    /// If there is no temporary directory for its control socket, or no free port.
    pub fn setup(binary: &Path) -> Result<Setup> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("route-cache-lab-{}-{number}", process::id()));
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let control_socket = directory.join("control.sock");
        // Free now; a port that somebody takes before the agent does is the agent's to report.
        let metrics_address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .context("cannot find a free port on 127.0.0.1")?;
        let argv = vec![
            binary.display().to_string(),
            "--control-socket".to_owned(),
            control_socket.display().to_string(),
            "--listen-address".to_owned(),
            metrics_address.to_string(),
        ];
        Ok(Setup {
            launcher: Vec::new(),
            argv,
            environment: Vec::new(),
            inside: None,
            readiness: Readiness::default(),
            directory,
            control_socket,
            metrics_address,
        })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its control socket.
    #[must_use]
    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// Where it serves its metrics.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Runs a client subcommand against it: `cli(&["show", "clones"])`.
    ///
    /// # Errors
    /// If the client cannot be started. A client that fails is not an error here.
    pub fn cli(&self, arguments: &[&str]) -> Result<Finished> {
        let socket = self.control_socket.display().to_string();
        let mut argv = vec![self.binary.as_str()];
        argv.extend(arguments);
        argv.extend(["--control-socket", &socket]);
        run(&argv, None)
    }

    /// The answer of a client subcommand with `--json`: `json(&["get", "10.0.2.2"])`.
    ///
    /// # Errors
    /// If the client fails or answers something that is not JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let finished = self.cli(&[arguments, &["--json"]].concat())?;
        let what = arguments.join(" ");
        if finished.code != 0 {
            bail!("`route-cache {what}` failed with {}: {}", finished.code, finished.stderr.trim());
        }
        serde_json::from_str(&finished.stdout)
            .with_context(|| format!("`route-cache {what} --json` did not print JSON"))
    }

    /// The answer to a request over the control socket, without a client: `ask(&json!({"command": "clones"}))`.
    ///
    /// # Errors
    /// If the agent does not answer, or with an error.
    pub fn ask(&self, request: &Value) -> Result<Value> {
        ask(&self.control_socket, request)
    }

    /// `route-cache status --json`.
    ///
    /// # Errors
    /// If the agent does not answer.
    pub fn status(&self) -> Result<Value> {
        self.json(&["status"])
    }

    /// What `route-cache audit --json` prints, and its exit code: 1 if the kernel disagrees with a clone.
    ///
    /// # Errors
    /// If it prints something that is not JSON, as it does when the agent does not answer.
    pub fn audit(&self) -> Result<(Value, i32)> {
        let finished = self.cli(&["audit", "--json"])?;
        let report = serde_json::from_str(&finished.stdout)
            .with_context(|| format!("`route-cache audit` failed: {}", finished.stderr.trim()))?;
        Ok((report, finished.code))
    }

    /// Packets that ended in this outcome since the agent started.
    ///
    /// # Errors
    /// If the agent does not answer, or knows no such outcome.
    pub fn outcome(&self, name: &str) -> Result<u64> {
        self.status()?["outcomes"][name]["packets"]
            .as_u64()
            .with_context(|| format!("the agent's status has no outcome \"{name}\""))
    }

    /// Packets forwarded by XDP since the agent started.
    ///
    /// # Errors
    /// If the agent does not answer, or knows one of [`FORWARDED`] no more.
    pub fn forwarded(&self) -> Result<u64> {
        let status = self.status()?;
        FORWARDED
            .iter()
            .map(|&name| {
                status["outcomes"][name]["packets"]
                    .as_u64()
                    .with_context(|| format!("the agent's status has no outcome \"{name}\""))
            })
            .sum()
    }

    /// What it serves at `/metrics`.
    ///
    /// # Errors
    /// If it does not answer with 200.
    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(self.metrics_address)?;
        stream.set_read_timeout(Some(patience(PATIENCE)))?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.metrics_address)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
        if head.split_whitespace().nth(1) != Some("200") {
            bail!("http://{}/metrics answered: {head}", self.metrics_address);
        }
        Ok(body.to_owned())
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it still runs after 20 seconds; the error carries its log.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.process.wait(PATIENCE).with_context(|| format!("the agent's log:\n{}", self.log()))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Terminates it as systemd would, and gives its exit status.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// Kills it without a chance to clean up.
    ///
    /// # Errors
    /// If it is gone already.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.wait()
    }

    fn is_ready(&self, readiness: Readiness) -> bool {
        match readiness {
            Readiness::Started => true,
            Readiness::Answering => self.status().is_ok(),
            Readiness::Accelerating => self.status().is_ok_and(|status| {
                let attached = |interfaces: &Vec<Value>| {
                    !interfaces.is_empty() && interfaces.iter().all(|i| i["mode"] != "none")
                };
                status["accelerating"] == true
                    && status["interfaces"].as_array().is_some_and(attached)
            }),
        }
    }

    fn describe_state(&self) -> String {
        let status = self.status().map_or_else(|e| format!("{e:#}"), |status| status.to_string());
        format!("its status: {status}\nits log:\n{}", self.log())
    }
}

/// The answer of the agent behind a control socket.
pub(crate) fn ask(socket: &Path, request: &Value) -> Result<Value> {
    let what = || format!("no answer to {request} on {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(what)?;
    stream.set_read_timeout(Some(patience(PATIENCE)))?;
    writeln!(stream, "{request}").with_context(what)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).with_context(what)?;
    let mut answer: Value = serde_json::from_str(&answer).with_context(what)?;
    match answer.get_mut("ok").map(Value::take) {
        Some(told) => Ok(told),
        None => bail!("the agent answers {request} with {answer}"),
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.ended().is_none() && self.stop().is_err() {
            eprintln!("the agent (pid {}) did not end when told to and is killed", self.pid());
        }
        // Left behind at worst: an empty directory below /tmp.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Setup {
    /// Adds command line arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.argv.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Has a program start it that executes the command line behind its own, without a process of its own in between:
    /// `launched_by(&["nice", "-n", "5"])`.
    #[must_use]
    pub fn launched_by(mut self, launcher: &[&str]) -> Self {
        self.launcher = launcher.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the process inside the namespace, where it serves its own namespace without `--netns`.
    #[must_use]
    pub fn inside(mut self, namespace: &Namespace) -> Self {
        self.inside = Some(namespace.path());
        self
    }

    /// Waits for less than that it accelerates.
    #[must_use]
    pub fn until(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Starts the agent and waits for the readiness wanted.
    ///
    /// # Errors
    /// If it ends before, or does not get there within 20 seconds; the error carries its log.
    pub fn start(self) -> Result<Agent> {
        let inside = self.inside.as_deref().map(namespace::open).transpose()?;
        let inside = inside.as_ref().map(std::os::fd::AsFd::as_fd);
        let argv = [&self.launcher[..], &self.argv].concat();
        let process = Running::start_with(&argv, &self.environment, inside)?;
        let mut agent = Agent {
            binary: self.argv[0].clone(),
            process,
            directory: self.directory,
            control_socket: self.control_socket,
            metrics_address: self.metrics_address,
        };
        let mut ended = None;
        let ready = wait_until("the agent to get ready", PATIENCE, || {
            ended = agent.ended();
            ended.is_some() || agent.is_ready(self.readiness)
        });
        match (ended, self.readiness) {
            (Some(status), Readiness::Answering | Readiness::Accelerating) => {
                Err(anyhow!("the agent ended at its start ({status}); its log:\n{}", agent.log()))
            }
            (Some(_), Readiness::Started) => Ok(agent),
            (None, _) => ready.with_context(|| agent.describe_state()).map(|()| agent),
        }
    }
}
