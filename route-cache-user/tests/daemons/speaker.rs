//! An upstream: BIRD with a table of prefixes to announce.

use std::{fmt::Write as _, net::Ipv4Addr};

use route_cache_lab::{Host, Running, process, wait_until};

use crate::{daemon::Loss, directory::Directory, place::PATIENCE};

/// Prefixes that an upstream announces: /24s from 100.64.0.0 on.
pub const PREFIXES: u32 = 10_000;

/// An address in a prefix, by its number.
pub fn inside(prefix: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(100, 64, 0, 7)) + (prefix << 8))
}

/// The AS of the router.
pub const ROUTER_AS: u32 = 65_000;

/// The AS of a host.
pub fn as_of(host: &Host) -> u32 {
    65_000 + u32::from(host.address.octets()[2])
}

/// BIRD on a host.
pub struct Speaker {
    process: Running,
    directory: Directory,
}

impl Speaker {
    /// Starts it. It connects by itself.
    pub fn start(host: &Host, loss: Loss) -> Self {
        Self::announcing(host, loss, (0..PREFIXES).map(inside))
    }

    /// The same with other prefixes: the /24s of these addresses.
    pub fn announcing(host: &Host, loss: Loss, all: impl Iterator<Item = Ipv4Addr>) -> Self {
        let mut text = format!(
            "log stderr all;\nrouter id {address};\nprotocol device {{}}\n\
             protocol bgp router {{\n local {address} as {own};\n neighbor {router} as {ROUTER_AS};\n\
             {QUICK} {loss}\n\
             ipv4 {{ import none; export where source = RTS_STATIC; next hop self; }};\n}}\n\
             protocol static prefixes {{\n ipv4;\n",
            address = host.address,
            own = as_of(host),
            router = host.gateway,
            loss = loss.in_bird(),
        );
        for address in all {
            let [a, b, c, _] = address.octets();
            writeln!(text, " route {a}.{b}.{c}.0/24 blackhole;").unwrap();
        }
        text += "}\n";
        let directory = Directory::new("speaker");
        // `router` is a word of the language.
        let config = directory.write("bird.conf", &text.replace("bgp router", "bgp peering"));
        let argv = ["bird", "-f", "-c", &config, "-s", &directory.file("bird.ctl")];
        let process = host.namespace.spawn(&argv).unwrap();
        let speaker = Self { process, directory };
        speaker.await_answer();
        speaker
    }

    fn await_answer(&self) {
        wait_until("the upstream to answer", PATIENCE, || self.ask("show status").is_some())
            .unwrap_or_else(|error| panic!("{error:#}: {}", self.process.stderr()));
    }

    /// What `birdc` prints.
    pub fn ask(&self, command: &str) -> Option<String> {
        birdc(&self.directory, command)
    }

    /// Whether its session with the router is up.
    pub fn is_established(&self) -> bool {
        self.ask("show protocols peering").is_some_and(|text| text.contains("Established"))
    }

    /// Withdraws all prefixes.
    pub fn withdraw(&self) {
        self.ask("disable prefixes").expect("BIRD answers");
    }

    /// Announces them again.
    pub fn announce(&self) {
        self.ask("enable prefixes").expect("BIRD answers");
    }
}

/// Sessions come up within a second or two, and not within the half minute of the defaults.
pub const QUICK: &str = "connect delay time 1; connect retry time 1; error wait time 1, 1;";

/// What `birdc` prints, if BIRD answers.
pub fn birdc(directory: &Directory, command: &str) -> Option<String> {
    let socket = directory.file("bird.ctl");
    let argv: Vec<_> = ["birdc", "-s", &socket].into_iter().chain(command.split(' ')).collect();
    let finished = process::run(&argv, None).unwrap();
    (finished.code == 0).then_some(finished.stdout)
}
