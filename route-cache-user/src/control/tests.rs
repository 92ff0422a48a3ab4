//! The control socket over real Unix sockets.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{
    Action, Limits, Packet, Source, bind,
    bind::SocketGuard,
    connect,
    fake::{Fake, Place},
    protocol::{
        Answer, AuditReport, CloneEntry, Explanation, InterfaceEntry, NextHopEntry, RouteEntry,
        Status,
    },
    serve,
};
use crate::events::Journal;

/// A server on a thread of its own, stopped when dropped.
pub(crate) struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    _guard: SocketGuard,
    _place: Place,
}

impl Server {
    pub(crate) fn start(source: impl Source, limits: Limits) -> Server {
        let place = Place::new();
        let path = place.socket();
        let (listener, guard) = bind(&path).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let shutdown = async { stopped.await.unwrap_or_default() };
            runtime.block_on(serve(listener, Arc::new(source), limits, shutdown)).unwrap();
            runtime.shutdown_background();
        };
        let thread = Some(thread::spawn(work));
        Server { path, stop: Some(stop), thread, _guard: guard, _place: place }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn connect(&self) -> UnixStream {
        let stream = connect(&self.path, Duration::from_secs(10)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    pub(super) fn ask(&self, request: &[u8]) -> Value {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        read_answer(&stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(super) fn read_answer(stream: &UnixStream) -> Value {
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
    assert_eq!(line.pop(), Some(b'\n'), "an answer is one whole line");
    serde_json::from_slice(&line).unwrap()
}

pub(super) fn error_of(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("not an error: {answer}"))
}

pub(super) fn brief() -> Limits {
    let patience = Duration::from_millis(300);
    Limits { patience, reading: patience, ..Limits::default() }
}

#[test]
fn every_question_gets_its_answer_in_one_line() {
    let server = Server::start(Fake::default(), Limits::default());
    let status = server.ask(b"{\"command\":\"status\"}\n");
    let status: Status = serde_json::from_value(status["ok"].clone()).unwrap();
    assert_eq!(status, Fake::default().status().unwrap());
    for (question, entries) in [("clones", 2), ("routes", 3), ("next-hops", 2), ("interfaces", 3)] {
        let answer = server.ask(format!("{{\"command\":\"{question}\"}}\n").as_bytes());
        assert_eq!(answer["ok"].as_array().unwrap().len(), entries, "{question}");
    }
    let answer = server.ask(b"{\"command\":\"get\",\"address\":\"198.51.100.0\"}\n");
    assert_eq!(answer["ok"]["outcome"], "forwarded_clone");
    let question = r#"{"command":"get","address":"198.51.100.0","from":"192.0.2.9","iif":"eth0"}"#;
    let answer = &server.ask(format!("{question}\n").as_bytes())["ok"];
    assert_eq!((&answer["from"], &answer["iif"]), (&"192.0.2.9".into(), &"eth0".into()));
    assert_eq!(answer["steps"][1]["step"], "route");
    assert_eq!(answer["kernel"]["agreement"], "kernel_decides");
}

#[test]
fn a_request_without_line_end_is_answered_once_the_client_is_done() {
    let server = Server::start(Fake::default(), Limits::default());
    let mut stream = server.connect();
    stream.write_all(b"{\"command\":\"status\"}").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_answer(&stream)["ok"]["pid"], 4711);
}

#[test]
fn what_the_agent_fails_at_is_told_to_the_client() {
    let server = Server::start(Fake { broken: true, ..Fake::default() }, Limits::default());
    let answer = server.ask(b"{\"command\":\"clones\"}\n");
    assert_eq!(error_of(&answer), "cannot read the map CLONES: Bad file descriptor");
}

#[test]
fn garbage_is_answered_with_what_is_wrong_and_the_next_client_is_served() {
    let server = Server::start(Fake::default(), Limits::default());
    let long = vec![b'x'; 65 * 1024];
    let (nested, binary) = ([b"[".repeat(60_000), b"\n".to_vec()].concat(), b"\xff\0\x01\n");
    for (garbage, wrong) in [
        (&b"garbage\n"[..], "expected value"),
        (b"\n", "EOF"),
        (b"{}\n", "command"),
        (b"{\"command\":\"reboot\"}\n", "unknown variant `reboot`"),
        (b"{\"command\":\"get\"}\n", "address"),
        (b"{\"command\":\"get\",\"address\":\"1.2.3\"}\n", "address"),
        (b"{\"command\":\"get\",\"address\":\"1.2.3.4\",\"port\":1}\n", "port"),
        (b"{\"command\":\"get\",\"address\":\"1.2.3.4\",\"from\":\"x\"}\n", "invalid IP address"),
        (b"{\"command\":\"get\",\"address\":\"1.2.3.4\",\"from\":\"::1\"}\n", "one family"),
        (
            b"{\"command\":\"get\",\"address\":\"1.2.3.4\",\"iif\":\"a/b\"}\n",
            "the name of an interface",
        ),
        (b"{\"command\":\"status\",\"more\":1}\n", "more"),
        (binary, "not a request"),
        (&nested, "not a request"),
        (&long, "longer than 65536 bytes"),
    ] {
        let answer = server.ask(garbage);
        let error = error_of(&answer);
        assert!(error.contains(wrong), "{error:?} does not name {wrong:?}");
    }
    assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
}

#[test]
fn half_a_request_that_hangs_is_closed() {
    let server = Server::start(Fake::default(), brief());
    let began = Instant::now();
    let mut stream = server.connect();
    stream.write_all(b"{\"command\":").unwrap();
    assert!(error_of(&read_answer(&stream)).contains("no complete request within 300ms"));
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "closed");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn clients_that_hang_up_early_harm_nobody() {
    let server = Server::start(Fake::default(), Limits::default());
    for request in [&b""[..], b"{\"comm", b"{\"command\":\"clones\"}\n"] {
        for _ in 0..100 {
            let _ = server.connect().write_all(request);
        }
    }
    assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
}

#[test]
fn a_hundred_clients_at_once_are_all_served() {
    let server = Server::start(Fake::default(), Limits::default());
    let answers = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..100).map(|_| scope.spawn(|| server.ask(b"{\"command\":\"clones\"}\n"))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.iter().all(|answer| answer["ok"].as_array().unwrap().len() == 2));
}

#[test]
fn who_comes_while_all_places_hang_is_served_after_them() {
    let server = Server::start(Fake::default(), Limits { connections: 8, ..brief() });
    let hanging: Vec<_> = (0..8).map(|_| server.connect()).collect();
    let began = Instant::now();
    assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    drop(hanging);
}

#[test]
fn a_hundred_thousand_clones_come_quickly_and_a_slow_reader_is_cut_off() {
    let clones = Some(100_000);
    let server = Server::start(Fake { clones, ..Fake::default() }, brief());
    let began = Instant::now();
    let answer = server.ask(b"{\"command\":\"clones\"}\n");
    assert_eq!(answer["ok"].as_array().unwrap().len(), 100_000);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    let mut slow = server.connect();
    slow.write_all(b"{\"command\":\"clones\"}\n").unwrap();
    thread::sleep(Duration::from_secs(2));
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.is_empty() && rest.last() != Some(&b'\n'), "cut off: {} bytes", rest.len());
}

/// An agent whose listings wait until they are let go.
#[derive(Clone, Default)]
struct Stuck(Arc<(Mutex<bool>, Condvar)>);

impl Stuck {
    fn let_go(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Source for Stuck {
    fn status(&self) -> anyhow::Result<Status> {
        Fake::default().status()
    }
    fn clones(&self) -> anyhow::Result<Vec<CloneEntry>> {
        let free = self.0.1.wait_while(self.0.0.lock().unwrap(), |free| !*free).unwrap();
        assert!(*free);
        Fake::default().clones()
    }
    fn routes(&self) -> anyhow::Result<Vec<RouteEntry>> {
        panic!("a table is broken")
    }
    fn next_hops(&self) -> anyhow::Result<Vec<NextHopEntry>> {
        Ok(Vec::new())
    }
    fn interfaces(&self) -> anyhow::Result<Vec<InterfaceEntry>> {
        Ok(Vec::new())
    }
    fn get(&self, packet: &Packet) -> anyhow::Result<Explanation> {
        Fake::default().get(packet)
    }
    fn audit(&self) -> anyhow::Result<AuditReport> {
        Fake::default().audit()
    }
    fn act(&self, _: Action) -> anyhow::Result<String> {
        panic!("an order is too much")
    }
    fn events(&self) -> Arc<Journal> {
        Fake::default().events()
    }
}

#[test]
fn when_too_many_listings_run_the_next_is_answered_busy_and_status_still_works() {
    let stuck = Stuck::default();
    let server = Server::start(stuck.clone(), Limits { listings: 2, ..brief() });
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"{\"command\":\"clones\"}\n").unwrap();
            stream
        })
        .collect();
    thread::sleep(Duration::from_millis(100));
    assert!(error_of(&server.ask(b"{\"command\":\"next-hops\"}\n")).contains("busy"));
    assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
    stuck.let_go();
    for stream in &waiting {
        assert_eq!(read_answer(stream)["ok"].as_array().unwrap().len(), 2);
    }
    assert_eq!(server.ask(b"{\"command\":\"next-hops\"}\n")["ok"], Value::Array(Vec::new()));
}

#[test]
fn a_panic_while_answering_is_an_error_answer_and_not_the_end() {
    let server = Server::start(Stuck::default(), brief());
    assert!(error_of(&server.ask(b"{\"command\":\"routes\"}\n")).contains("the agent failed"));
    assert_eq!(server.ask(b"{\"command\":\"status\"}\n")["ok"]["pid"], 4711);
}

#[test]
fn answers_use_the_words_ok_and_error() {
    assert_eq!(serde_json::to_string(&Answer::Ok(1)).unwrap(), r#"{"ok":1}"#);
    assert_eq!(
        serde_json::to_string(&Answer::<()>::Error("no".into())).unwrap(),
        r#"{"error":"no"}"#
    );
}

#[test]
fn the_socket_has_mode_0660_and_its_directory_0755_and_goes_with_the_guard() {
    let place = Place::new();
    let path = place.path().join("run/route-cache/control.sock");
    let (listener, guard) = bind(&path).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&path), 0o660);
    assert_eq!(mode(path.parent().unwrap()), 0o755);
    assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nonblocking");
    drop(guard);
    assert!(!path.exists());
}

#[test]
fn a_directory_that_is_there_keeps_its_mode() {
    let place = Place::new();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let _bound = bind(&place.socket()).unwrap();
    assert_eq!(fs::metadata(place.path()).unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn the_file_is_never_wider_than_0660_even_before_its_mode_is_set() {
    let place = Place::new();
    let path = place.socket();
    let done = Mutex::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut seen = 0;
            while !*done.lock().unwrap() {
                if let Ok(found) = fs::metadata(&path) {
                    seen |= found.mode() & 0o7777;
                }
            }
            seen
        });
        for _ in 0..300 {
            drop(bind(&path).unwrap());
        }
        *done.lock().unwrap() = true;
        assert_eq!(watcher.join().unwrap() & !0o660, 0);
    });
}

#[test]
fn a_stale_socket_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.socket()).unwrap());
    assert!(place.socket().exists());
    let (_listener, _guard) = bind(&place.socket()).unwrap();
    UnixStream::connect(place.socket()).unwrap();
}

#[test]
fn a_second_agent_is_refused_and_the_first_one_stays() {
    let place = Place::new();
    let (_listener, _guard) = bind(&place.socket()).unwrap();
    let error = bind(&place.socket()).unwrap_err().to_string();
    assert!(error.contains("another agent listens on"), "{error}");
    assert!(error.contains("--control-socket"), "{error}");
    UnixStream::connect(place.socket()).unwrap();
}

#[test]
fn an_agent_too_busy_to_accept_is_not_taken_for_a_stale_socket() {
    let place = Place::new();
    let (_listener, _guard) = bind(&place.socket()).unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = connect(&place.socket(), Duration::from_millis(20)) {
        waiting.push(stream);
    }
    assert!(waiting.len() > 100, "the backlog took {}", waiting.len());
    let error = bind(&place.socket()).unwrap_err().to_string();
    assert!(error.contains("another agent listens on"), "{error}");
}

#[test]
fn what_is_not_a_socket_is_never_removed() {
    let place = Place::new();
    let (file, directory, link) =
        (place.path().join("file"), place.path().join("directory"), place.path().join("link"));
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&directory).unwrap();
    symlink(&file, &link).unwrap();
    for path in [&file, &directory, &link] {
        let error = bind(path).unwrap_err().to_string();
        assert!(error.contains("exists and is not a socket"), "{error}");
    }
    assert_eq!(fs::read(&link).unwrap(), b"precious");
    assert!(directory.is_dir());
}

#[test]
fn a_socket_of_another_kind_is_left_alone() {
    let place = Place::new();
    let _other = UnixDatagram::bind(place.socket()).unwrap();
    let error = bind(&place.socket()).unwrap_err().to_string();
    assert!(error.contains("in use by something else"), "{error}");
    assert!(place.socket().exists());
}

#[test]
fn a_path_that_is_too_long_or_cannot_be_made_is_a_clear_error() {
    let place = Place::new();
    let long = place.path().join("x".repeat(120));
    let error = format!("{:#}", bind(&long).unwrap_err());
    assert!(error.contains("at most 107 bytes"), "{error}");
    let error = format!("{:#}", bind(Path::new("/proc/nowhere/s")).unwrap_err());
    assert!(error.contains("cannot make the directory /proc/nowhere"), "{error}");
    let error = format!("{:#}", bind(Path::new("/proc/s")).unwrap_err());
    assert!(error.contains("cannot make the control socket /proc/s"), "{error}");
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    let error = format!("{:#}", bind(&file.join("s")).unwrap_err());
    assert!(error.contains("cannot make the directory"), "{error}");
}

#[test]
fn the_guard_leaves_a_successor_s_socket_alone() {
    let place = Place::new();
    let (listener, guard) = bind(&place.socket()).unwrap();
    drop(listener);
    // Kept under another name, so that the inode is not used again.
    fs::rename(place.socket(), place.path().join("old")).unwrap();
    let (_successor, successor_guard) = bind(&place.socket()).unwrap();
    drop(guard);
    assert!(place.socket().exists());
    drop(successor_guard);
    assert!(!place.socket().exists());
}
