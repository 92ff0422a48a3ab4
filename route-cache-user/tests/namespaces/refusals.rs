//! What the agent does not start with: it says why, ends with code 1, and leaves nothing behind.

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::PathBuf};

use aya::programs::{Xdp, XdpMode};
use route_cache_lab::{Namespace, process::Finished};

use crate::router::{BINARY, attached_programs};

/// A namespace with one veth pair, and a directory for the control socket.
struct Room {
    namespace: Namespace,
    directory: PathBuf,
}

impl Room {
    fn new(label: &str) -> Self {
        let namespace = Namespace::create(label).unwrap();
        let argv = ["ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1"];
        namespace.exec(&argv).unwrap();
        let directory = std::env::temp_dir().join(namespace.name());
        fs::create_dir(&directory).unwrap();
        Self { namespace, directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("control.sock")
    }

    /// Runs the agent in the namespace to its end, with a socket in the directory and any free port.
    fn run(&self, prefix: &[&str], arguments: &[&str]) -> Finished {
        let socket = self.socket().display().to_string();
        let defaults = [BINARY, "--listen-address", "127.0.0.1:0", "--control-socket", &socket];
        // One that starts after all is ended, and fails the test by its exit code.
        let argv = [&["timeout", "20"], prefix, &defaults[..], arguments].concat();
        self.namespace.run(&argv).unwrap()
    }

    /// The agent ends with code 1 and an error that contains all of `texts`, and has made nothing.
    #[track_caller]
    fn refuses(&self, prefix: &[&str], arguments: &[&str], texts: &[&str]) {
        let before = attached_programs(&self.namespace);
        let finished = self.run(prefix, arguments);
        let error = &finished.stderr;
        assert_eq!(finished.code, 1, "{error}");
        assert_eq!(finished.stdout, "");
        assert!(error.contains("route-cache: "), "{error}");
        for text in texts {
            assert!(error.contains(text), "\"{text}\" is not in: {error}");
        }
        assert!(!error.contains("panicked") && !error.contains("stack backtrace"), "{error}");
        assert!(!self.socket().exists(), "the control socket is left");
        assert_eq!(attached_programs(&self.namespace), before);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // At worst an empty directory below /tmp is left.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn an_unknown_interface_is_refused_by_name() {
    let room = Room::new("unknown");
    let wanted = ["-i", "veth0", "-i", "veth7"];
    room.refuses(&[], &wanted, &["no such interface: veth7", "lo, veth1, veth0"]);
}

#[test]
fn a_glob_that_matches_nothing_is_refused() {
    let room = Room::new("nothing");
    let wanted = ["-i", "wan*", "-i", "lan?"];
    room.refuses(&[], &wanted, &["no interface matches wan* or lan?", "veth0"]);
}

#[test]
fn missing_privilege_is_named() {
    let room = Room::new("privilege");
    fs::set_permissions(&room.directory, fs::Permissions::from_mode(0o777)).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let texts = ["CAP_NET_ADMIN and CAP_BPF missing", "Run as root"];
    room.refuses(&nobody, &["-i", "veth0"], &texts);
}

#[test]
fn a_missing_namespace_is_named() {
    let room = Room::new("netns");
    let wanted = ["-i", "veth0", "--netns", "no-such-namespace"];
    room.refuses(&[], &wanted, &["no network namespace no-such-namespace", "ip netns list"]);
    let wanted = ["-i", "veth0", "--netns", "/proc/self/status"];
    room.refuses(&[], &wanted, &["cannot enter network namespace /proc/self/status"]);
}

#[test]
fn a_busy_port_is_named() {
    let room = Room::new("port");
    let listener = room.namespace.run_in(|| TcpListener::bind("127.0.0.1:0")).unwrap().unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let socket = room.socket().display().to_string();
    // The option given last would be a usage error: this run has no other.
    let argv = [BINARY, "-i", "veth0", "--listen-address", &address, "--control-socket", &socket];
    let finished = room.namespace.run(&argv).unwrap();
    let error = finished.stderr;
    assert_eq!(finished.code, 1, "{error}");
    let expected = format!("cannot serve metrics on {address}: another program has the port");
    assert!(error.contains(&expected), "{error}");
    assert!(!room.socket().exists());
    assert!(attached_programs(&room.namespace).is_empty());
}

#[test]
fn a_socket_that_cannot_be_made_is_named() {
    let room = Room::new("socket");
    let attempt = |path: &str, code: i32, texts: &[&str]| {
        let argv = [BINARY, "-i", "veth0", "--listen-address", "127.0.0.1:0"];
        let argv = [&argv[..], &["--control-socket", path]].concat();
        let finished = room.namespace.run(&argv).unwrap();
        assert_eq!(finished.code, code, "{}", finished.stderr);
        for text in texts {
            assert!(finished.stderr.contains(text), "\"{text}\" is not in: {}", finished.stderr);
        }
        assert!(attached_programs(&room.namespace).is_empty());
    };
    attempt("/proc/route-cache/control.sock", 1, &["/proc/route-cache", "No such file"]);
    attempt("/proc/version", 1, &["/proc/version exists and is not a socket"]);
    let long = format!("{}/{}", room.directory.display(), "x".repeat(120));
    // Nothing that the machine could change: a mistake in the command line.
    attempt(&long, 2, &["longer than the 107 bytes", "--control-socket"]);
}

#[test]
fn f10_another_xdp_program_is_named_and_stays() {
    let room = Room::new("foreign");
    // Ours by its code, somebody else's by its name.
    let object = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bpf/route-cache.o");
    let object = renamed(&fs::read(object).unwrap(), b"route_cache_clock", b"someone_elses_xdp");
    let mut foreign = room
        .namespace
        .run_in(|| {
            let mut object = aya::EbpfLoader::new().load(&object).unwrap();
            let program: &mut Xdp =
                object.program_mut("someone_elses_xdp").unwrap().try_into().unwrap();
            program.load().unwrap();
            program.attach("veth0", XdpMode::Driver).unwrap();
            object
        })
        .unwrap();
    assert_eq!(attached_programs(&room.namespace), ["veth0"]);
    // The kernel keeps 15 bytes of a name.
    let texts =
        ["veth0: another XDP program is attached", "name someone_elses_x", "detach it first"];
    room.refuses(&[], &["-i", "veth0"], &texts);
    // By a glob it is one of those that match; there has to be another.
    let texts = [&texts[..], &["none of the interfaces wanted could be attached"]].concat();
    room.refuses(&[], &["-i", "veth[0]"], &texts);
    let program = foreign.program_mut("someone_elses_xdp").unwrap();
    assert!(program.info().is_ok());
}

fn renamed(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<_> =
        (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    for at in places {
        bytes[at..at + from.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn a_driver_without_native_xdp_is_named() {
    let room = Room::new("driver");
    // The loopback has no ndo_bpf.
    room.refuses(&[], &["-i", "lo"], &["lo: its driver has no native XDP", "--xdp-mode skb"]);
}

#[test]
fn wrong_usage_ends_with_code_2() {
    let room = Room::new("usage");
    for arguments in
        [&["--no-such-option"][..], &["-i", "a/b"], &["-i", "veth0", "--clones-per-cpu", "0"]]
    {
        let finished = room.run(&[], arguments);
        assert_eq!(finished.code, 2, "{arguments:?}: {}", finished.stderr);
        assert!(!room.socket().exists());
    }
}
