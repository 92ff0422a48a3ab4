//! The routing daemon of the router: what is under test beside the agent.

use std::{fmt::Write as _, path::Path};

use nix::{sys::signal::Signal, unistd::User};
use route_cache_lab::{Host, Namespace, Running, process, wait_until};

use crate::{
    directory::Directory,
    place::PATIENCE,
    speaker::{QUICK, ROUTER_AS, as_of, birdc},
};

/// Where Debian puts FRR's daemons.
const FRR: &str = "/usr/lib/frr";

/// Which daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// BIRD 2.
    Bird,
    /// FRR: zebra and bgpd. It enters routes by next-hop objects.
    Frr,
}

/// What it makes of prefixes that both upstreams announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The first one's are better.
    First,
    /// Both are as good: one route with two next hops (ECMP).
    Both,
}

/// What becomes of routes when a session breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They go.
    Withdraws,
    /// They stay for a while: both sides restart gracefully (RFC 4724).
    Keeps,
}

impl Loss {
    /// For BIRD.
    pub fn in_bird(self) -> &'static str {
        match self {
            Self::Withdraws => "graceful restart aware;",
            Self::Keeps => "graceful restart on;",
        }
    }
}

/// A daemon in a namespace.
pub struct Daemon {
    /// Which.
    pub kind: Kind,
    /// The last one speaks BGP.
    processes: Vec<Running>,
    directory: Directory,
}

impl Daemon {
    /// Starts it. It connects to the upstreams by itself.
    pub fn start(
        kind: Kind,
        router: &Namespace,
        upstreams: &[&Host],
        choice: Choice,
        loss: Loss,
    ) -> Self {
        let directory = Directory::new("daemon");
        match kind {
            Kind::Bird => {
                directory.write("bird.conf", &bird_config(upstreams, choice, loss));
            }
            Kind::Frr => {
                // They change to a user of their own.
                let user = User::from_name("frr").unwrap().expect("the package makes the user");
                let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
                std::os::unix::fs::chown(directory.path(), uid, gid).unwrap();
                directory.write("zebra.conf", "hostname router\n");
                directory.write("bgpd.conf", &bgpd_config(upstreams, choice, loss));
            }
        }
        let mut daemon = Self { kind, processes: Vec::new(), directory };
        if kind == Kind::Frr {
            daemon.start_one(router, &daemon.frr("zebra"));
            daemon.await_file("zserv.api");
        }
        daemon.start_bgp(router, &[]);
        daemon
    }

    /// Starts what speaks BGP.
    fn start_bgp(&mut self, router: &Namespace, more: &[&str]) {
        let (mut argv, socket) = match self.kind {
            Kind::Bird => {
                let (config, socket) =
                    (self.directory.file("bird.conf"), self.directory.file("bird.ctl"));
                let argv = ["bird", "-f", "-c", &config, "-s", &socket];
                (argv.map(str::to_owned).to_vec(), "bird.ctl")
            }
            Kind::Frr => (self.frr("bgpd"), "bgpd.vty"),
        };
        argv.extend(more.iter().map(|&word| word.to_owned()));
        // A socket that an earlier one has left is no answer of the new one.
        let _ = std::fs::remove_file(self.directory.path().join(socket));
        self.start_one(router, &argv);
        self.await_file(socket);
    }

    /// A command line of FRR: files and sockets of its own, no port to log in.
    fn frr(&self, name: &str) -> Vec<String> {
        let file = |name: &str| self.directory.file(name);
        let sockets = self.directory.path().display().to_string();
        let binary = Path::new(FRR).join(name).display().to_string();
        let (config, pid) = (file(&format!("{name}.conf")), file(&format!("{name}.pid")));
        let zserv = file("zserv.api");
        let argv = [&*binary, "-f", &config, "-i", &pid, "-z", &zserv, "--vty_socket", &sockets];
        argv.into_iter().chain(["-P", "0", "--log", "stdout"]).map(str::to_owned).collect()
    }

    fn start_one(&mut self, router: &Namespace, argv: &[String]) {
        self.processes.push(router.spawn(argv).unwrap());
    }

    fn await_file(&self, name: &str) {
        let path = self.directory.path().join(name);
        wait_until(&format!("{name} of the daemon"), PATIENCE, || path.exists())
            .unwrap_or_else(|error| panic!("{error:#}: {}", self.log()));
    }

    /// Ends what speaks BGP and starts it anew; the routes are to stay meanwhile. `between` is called when it is gone.
    pub fn restart(&mut self, router: &Namespace, between: impl FnOnce()) {
        let mut old = self.processes.pop().unwrap();
        match self.kind {
            Kind::Bird => {
                birdc(&self.directory, "graceful restart").expect("BIRD answers");
            }
            // As if it had crashed: told to end, it would say so to its peers.
            Kind::Frr => old.signal(Signal::SIGKILL).unwrap(),
        }
        old.wait(PATIENCE).unwrap();
        between();
        self.start_bgp(router, if self.kind == Kind::Bird { &["-R"] } else { &[] });
    }

    /// Prefixes that it has learned.
    pub fn learned(&self) -> u64 {
        match self.kind {
            // "10000 of 10000 routes for 10000 networks in table master4"
            Kind::Bird => birdc(&self.directory, "show route count")
                .and_then(|text| {
                    text.split(" networks in table master4")
                        .next()?
                        .split(' ')
                        .next_back()?
                        .parse()
                        .ok()
                })
                .unwrap_or(0),
            Kind::Frr => {
                let json = self.vtysh("show bgp ipv4 unicast statistics json");
                serde_json::from_str::<serde_json::Value>(&json)
                    .ok()
                    .and_then(|value| value["ipv4Unicast"][0]["totalPrefixes"].as_u64())
                    .unwrap_or(0)
            }
        }
    }

    fn vtysh(&self, command: &str) -> String {
        let sockets = self.directory.path().display().to_string();
        let argv = ["vtysh", "--vty_socket", &sockets, "-c", command];
        process::run(&argv, None).unwrap().stdout
    }

    /// What it has logged, for the message of a failing test.
    pub fn log(&self) -> String {
        let all = self.processes.iter().map(|one| one.stdout() + &one.stderr());
        all.collect::<Vec<_>>().join("\n")
    }
}

fn bird_config(upstreams: &[&Host], choice: Choice, loss: Loss) -> String {
    let merge = if choice == Choice::Both { "on" } else { "off" };
    let mut text = format!(
        "log stderr all;\nrouter id 10.0.1.1;\nprotocol device {{}}\n\
         protocol kernel {{\n merge paths {merge};\n graceful restart on;\n\
         ipv4 {{ import none; export all; }};\n}}\n"
    );
    for (number, host) in upstreams.iter().enumerate() {
        let preference = if choice == Choice::First && number == 0 { 200 } else { 100 };
        write!(
            text,
            "protocol bgp upstream{number} {{\n local {} as {ROUTER_AS};\n neighbor {} as {};\n\
             {QUICK} {}\n\
             ipv4 {{ import filter {{ bgp_local_pref = {preference}; accept; }}; export none; }};\n}}\n",
            host.gateway,
            host.address,
            as_of(host),
            loss.in_bird(),
        )
        .unwrap();
    }
    text
}

fn bgpd_config(upstreams: &[&Host], choice: Choice, loss: Loss) -> String {
    let mut text = format!(
        "hostname router\nrouter bgp {ROUTER_AS}\n bgp router-id 10.0.1.1\n\
         \x20no bgp ebgp-requires-policy\n\
         \x20bgp bestpath as-path multipath-relax\n"
    );
    if loss == Loss::Keeps {
        text += " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n";
    }
    let mut family = " address-family ipv4 unicast\n".to_owned();
    for (number, host) in upstreams.iter().enumerate() {
        let address = host.address;
        writeln!(text, " neighbor {address} remote-as {}", as_of(host)).unwrap();
        writeln!(text, " neighbor {address} timers connect 1").unwrap();
        if choice == Choice::First && number == 0 {
            writeln!(family, "  neighbor {address} weight 200").unwrap();
        }
    }
    let paths = if choice == Choice::Both { 2 } else { 1 };
    text + &family + &format!("  maximum-paths {paths}\n exit-address-family\n")
}
