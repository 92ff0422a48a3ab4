//! One router and the bare ends behind its ports.

use std::{fs, os::fd::OwnedFd, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use route_cache_lab::{
    Namespace, RawSocket,
    link::{self, offload},
};

use crate::{
    case::{PORTS, Sent},
    compare::Output,
    topology,
};

/// What must happen soon happens within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The first bytes of the link-layer addresses that ask for the end of a batch.
const ASKER: [u8; 2] = [2, 0xba];

/// A router.
pub struct Side {
    router: Namespace,
    sockets: Vec<RawSocket>,
    asked: u32,
    /// Ports that are up.
    up: Vec<usize>,
    // In this order: sockets, programs, namespaces.
    _programs: Vec<OwnedFd>,
    hosts: Namespace,
    batch: PathBuf,
}

impl Side {
    /// Builds it as every case finds it, but for what [`topology::reset`] does.
    pub fn new(label: &str) -> Result<Self> {
        let router = Namespace::create(&format!("fuzz-{label}"))?;
        let hosts = Namespace::create(&format!("fuzz-{label}-hosts"))?;
        for scope in ["all", "default"] {
            hosts.sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
        // First: some are copied to the interfaces made later.
        let (of_ports, general): (Vec<_>, Vec<_>) =
            topology::settings().into_iter().partition(|(name, _)| name.contains("/p"));
        for (name, value) in general {
            set(&router, &name, value)?;
        }
        let mut programs = Vec::new();
        for port in 0..PORTS {
            let (near, far) = (format!("p{port}"), format!("e{port}"));
            let mac = link::readable(topology::port_mac(port));
            let far_mac = link::readable(topology::host_mac(port, 2));
            let made = format!(
                "ip link add {near} address {mac} type veth peer name {far} address {far_mac} netns {}",
                hosts.name()
            );
            exec(&router, &made)?;
            // Larger than what the router takes, so that frames of any size can be sent.
            exec(&hosts, &format!("ip link set {far} mtu 2000 arp off"))?;
            exec(&hosts, &format!("ip link set {far} up"))?;
            exec(&router, &format!("ip address add 10.0.{port}.1/24 dev {near}"))?;
            exec(&router, &format!("ip address add fd00:0:0:{port}::1/64 dev {near} nodad"))?;
            exec(&router, &format!("ip link set {near} up"))?;
            // A veth takes redirected frames if its peer receives by NAPI: for a program or for GRO, which would merge.
            programs.push(link::attach_pass(&hosts, &far)?);
            offload(&hosts, &far, "gro", false)?;
        }
        for (name, value) in of_ports {
            set(&router, &name, value)?;
        }
        let sockets = (0..PORTS)
            .map(|port| RawSocket::open(&hosts, &format!("e{port}")))
            .collect::<Result<_>>()?;
        // Names of namespaces are unique; what begins like this goes when this process dies.
        let name = format!("route-cache-lab-{}-{}", std::process::id(), router.name());
        let batch = std::env::temp_dir().join(name);
        Ok(Self { router, sockets, asked: 0, up: Vec::new(), _programs: programs, hosts, batch })
    }

    /// The router.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// Has the ports receive frame by frame; attaching a program turns merging on.
    pub fn merge_nothing(&self) -> Result<()> {
        (0..PORTS).try_for_each(|port| offload(&self.router, &format!("p{port}"), "gro", false))
    }

    /// Runs lines as `ip -batch` does, each whatever becomes of the others. Returns what went wrong.
    pub fn batch<S: AsRef<str>>(&self, lines: &[S]) -> Result<String> {
        self.batch_of(&[], lines)
    }

    /// The same where the family cannot be told from the addresses.
    fn batch_of<S: AsRef<str>>(&self, family: &[&str], lines: &[S]) -> Result<String> {
        let mut text = String::new();
        for line in lines {
            text.push_str(line.as_ref());
            text.push('\n');
        }
        fs::write(&self.batch, text)
            .with_context(|| format!("cannot write {}", self.batch.display()))?;
        let path = self.batch.display().to_string();
        let argv = [&["ip", "-force"], family, &["-batch", &path]].concat();
        let done = self.router.run(&argv)?;
        Ok(done.stderr.replace(&path, "-"))
    }

    /// Runs the commands of a step. Returns what went wrong.
    pub fn apply(&self, commands: &[String]) -> Result<String> {
        let mut wrong = String::new();
        let mut lines: Vec<&str> = Vec::new();
        for command in commands {
            let of_family = command.strip_prefix("ip -6 ");
            if let (None, Some(line)) = (of_family, command.strip_prefix("ip ")) {
                lines.push(line);
                continue;
            }
            if !lines.is_empty() {
                wrong += &self.batch(&lines)?;
                lines.clear();
            }
            if let Some(line) = of_family {
                wrong += &self.batch_of(&["-6"], &[line])?;
                continue;
            }
            match command.strip_prefix("sysctl ").and_then(|rest| rest.split_once('=')) {
                Some((name, value)) => set(&self.router, name, value)?,
                None => bail!("`{command}` is neither `ip …` nor `sysctl name=value`"),
            }
        }
        if !lines.is_empty() {
            wrong += &self.batch(&lines)?;
        }
        Ok(wrong)
    }

    /// Brings it to where a case begins; `undo` are commands for what [`topology::reset`] does not know of.
    pub fn reset(&self, undo: &[String]) -> Result<()> {
        self.apply(undo)?;
        // Before the routes: one by an object is refused when it is to be deleted as `ip` describes it.
        self.batch(&["nexthop flush"])?;
        exec(&self.router, &format!("ip -6 route flush table all proto {}", topology::PROTOCOL))?;
        self.batch(&topology::reset())?;
        Ok(())
    }

    /// Addresses, routes, next hops and links, for two routers to be compared by.
    pub fn state(&self) -> Result<String> {
        let mut state = String::new();
        for command in [
            "ip -br link",
            "ip -br address",
            "ip route show table all",
            "ip -6 route show table all",
            "ip nexthop",
            "ip rule",
            "ip -6 rule",
        ] {
            let said = exec(&self.router, command)?;
            let mut lines: Vec<&str> = said.lines().collect();
            lines.sort_unstable();
            state += &lines.join("\n");
            state.push('\n');
        }
        Ok(state)
    }

    /// Sends frames, and returns what came out of each port when all of it has come.
    pub fn exchange(&mut self, frames: &[Sent]) -> Result<Output> {
        let mut output = Output::default();
        // What waits for a busy CPU must fit into the queue of a port.
        for frames in frames.chunks(96) {
            for Sent { port, frame } in frames {
                // One that is larger than either end takes, or for a port that is down, is refused on either side.
                let _ = self.sockets[*port].offer(frame);
            }
            // Behind the first answer all frames have been taken in; behind the second all that came of them is out.
            for _ in 0..2 {
                self.drain(&mut output)?;
            }
        }
        Ok(output)
    }

    /// Asks each port for its own address, as who wants to know whether it is taken (RFC 5227), and captures up to the
    /// answer. No setting and no route has a part in it.
    fn drain(&mut self, output: &mut Output) -> Result<()> {
        self.asked += 1;
        let [a, b, c, d] = self.asked.to_be_bytes();
        let asker = [ASKER[0], ASKER[1], a, b, c, d];
        for &port in &self.up {
            let mut ask = [&topology::port_mac(port)[..], &asker].concat();
            ask.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
            ask.extend(asker);
            ask.extend([0; 10]);
            ask.extend([10, 0, port as u8, 1]);
            self.sockets[port].send(&ask)?;
        }
        for &port in &self.up {
            loop {
                let frame = self.sockets[port].recv(PATIENCE)?.with_context(|| {
                    format!("p{port} of {} does not answer any more", self.router.name())
                })?;
                if frame.starts_with(&asker) {
                    break;
                }
                if !frame.starts_with(&ASKER) {
                    output[port].push(frame);
                }
            }
        }
        Ok(())
    }

    /// Looks which ports are up, and whether what the kernel does on its own after a change is over: links that are up
    /// have a carrier at both ends, and their addresses are local.
    pub fn look(&mut self) -> Result<bool> {
        let links = exec(&self.router, "ip -br link show type veth")?;
        let is_up = |port: usize| {
            let name = format!("p{port}@");
            links.lines().any(|line| line.starts_with(&name) && line.contains(",UP"))
        };
        self.up = (0..PORTS).filter(|port| is_up(*port)).collect();
        let far = exec(&self.hosts, "ip -br link show type veth")?;
        let running = |links: &str, name: char, port: usize| {
            let name = format!("{name}{port}@");
            links.lines().any(|line| {
                line.starts_with(&name) && line.contains("LOWER_UP") && line.contains(" UP ")
            })
        };
        if !self.up.iter().all(|port| running(&links, 'p', *port) && running(&far, 'e', *port)) {
            return Ok(false);
        }
        let addresses = exec(&self.router, "ip -o -6 address show up")?;
        let local = exec(&self.router, "ip -6 route show table local")?;
        Ok(!addresses.contains("tentative")
            && addresses.lines().all(|line| {
                let address =
                    line.split_whitespace().nth(3).and_then(|word| word.split('/').next());
                address.is_some_and(|address| {
                    address == "::1" || local.contains(&format!("local {address} dev "))
                })
            }))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Never written if the side was not used.
        let _ = fs::remove_file(&self.batch);
    }
}

fn set(namespace: &Namespace, name: &str, value: &str) -> Result<()> {
    namespace.sysctl(name, value)
}

fn exec(namespace: &Namespace, command: &str) -> Result<String> {
    namespace.exec(&command.split_whitespace().collect::<Vec<_>>())
}
