//! A stream of numbered packets through the router while something happens to it.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use route_cache_lab::{Host, Ipv4View, RawSocket, link::Mac, patience, wait_until};

use crate::router::{Flow, PATIENCE, PORTS, Router, UNNUMBERED};

/// Packets sent later than this after a change follow the kernel.
pub const BOUND: Duration = Duration::from_millis(100);

/// The same of what the kernel tells has changed, for the agent to ask for it.
pub const ASKED: Duration = Duration::from_millis(250);

/// The same of what the kernel does not tell at all.
pub const POLLED: Duration = Duration::from_secs(1);

/// A packet every so often.
const PERIOD: Duration = Duration::from_millis(1);

/// Packets before the change.
const BEFORE: u32 = 60;

/// How long the stream goes on behind the bound.
const TAIL: Duration = Duration::from_millis(200);

/// A packet is through the router after this, on a machine that has other things to do.
const TRANSIT: Duration = Duration::from_millis(30);

/// Where packets come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// At 10.0.2.2.
    Server,
    /// At 10.0.2.2, sent to [`NEW_ADDRESS`].
    ServerAnew,
    /// At 10.0.3.2.
    Other,
    /// The kernel keeps them.
    Nowhere,
}

/// The link-layer address that the server takes where it takes another.
pub const NEW_ADDRESS: Mac = [2, 0, 0, 0, 0x99, 0x99];

/// What became of the packets of a stream.
#[derive(Debug)]
pub struct Account {
    what: String,
    bound: Duration,
    sent: Vec<Instant>,
    began: Instant,
    ended: Instant,
    arrived: BTreeMap<u32, Exit>,
}

impl Router {
    /// Sends the usual stream, lets `change` happen meanwhile, and follows the packets for [`BOUND`] and a while.
    pub fn during(&self, what: &str, change: impl FnOnce()) -> Account {
        self.during_flow(what, self.flow(), BOUND, change)
    }

    /// The same with another stream and another bound.
    pub fn during_flow(
        &self,
        what: &str,
        flow: Flow,
        bound: Duration,
        change: impl FnOnce(),
    ) -> Account {
        self.during_frames(what, |number| self.frame(flow, number), bound, change)
    }

    /// The same with a stream of frames that carry these numbers.
    pub fn during_frames(
        &self,
        what: &str,
        frame: impl Fn(u32) -> Vec<u8> + Sync,
        bound: Duration,
        change: impl FnOnce(),
    ) -> Account {
        let socket = |host: &Host| RawSocket::open(&host.namespace, host.interface).unwrap();
        let (server, other) = (socket(&self.server), socket(&self.other));
        let sender = self.sender();
        let bound = patience(bound);
        let over = AtomicBool::new(false);
        let count = AtomicU32::new(0);
        let send = || {
            let mut sent = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                sent.push(Instant::now());
                // Where its interface went down or away, the packet is lost.
                let _ = sender.send(&frame(number));
                thread::sleep(PERIOD);
            }
            sent
        };
        thread::scope(|scope| {
            let sending = scope.spawn(send);
            // However this ends, the sender does.
            let end = OnDrop(&over);
            wait_until("the stream to flow", PATIENCE, || count.load(Ordering::Relaxed) > BEFORE)
                .unwrap();
            let began = Instant::now();
            change();
            let ended = Instant::now();
            thread::sleep(bound + TAIL);
            drop(end);
            let sent = sending.join().unwrap();
            let arrived = arrivals(&server, &other);
            Account { what: what.to_owned(), bound, sent, began, ended, arrived }
        })
    }
}

struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where each packet that came out did so.
pub fn arrivals(server: &RawSocket, other: &RawSocket) -> BTreeMap<u32, Exit> {
    let at_server = captured(server).into_iter().map(|(number, destination)| {
        (number, if destination == NEW_ADDRESS { Exit::ServerAnew } else { Exit::Server })
    });
    let at_other = captured(other).into_iter().map(|(number, _)| (number, Exit::Other));
    let mut arrived = BTreeMap::new();
    for (number, exit) in at_server.chain(at_other) {
        let before = arrived.insert(number, exit);
        assert_eq!(before, None, "packet {number} came out twice, the second time at {exit:?}");
    }
    arrived
}

/// The numbers of the packets that a socket has captured, and to which link-layer address they were sent.
fn captured(socket: &RawSocket) -> Vec<(u32, Mac)> {
    let mut all = Vec::new();
    // An interface that went down meanwhile says so once, and then gives what it has.
    let mut errors = 0;
    while errors < 3 {
        match socket.recv(TRANSIT) {
            Ok(Some(frame)) => all.extend(numbered(&frame)),
            Ok(None) => break,
            Err(_) => errors += 1,
        }
    }
    all
}

/// The number of a frame of a stream, and to which link-layer address it was sent.
pub fn numbered(frame: &[u8]) -> Option<(u32, Mac)> {
    let datagram = match Ipv4View::of(frame) {
        Some(view) => view.transport(),
        None => datagram6(frame)?,
    };
    let word = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let ports = u32::from(PORTS.0) << 16 | u32::from(PORTS.1);
    let number = word(8).filter(|number| word(0) == Some(ports) && *number != UNNUMBERED)?;
    Some((number, *frame.first_chunk()?))
}

/// UDP in a frame of IPv6.
fn datagram6(frame: &[u8]) -> Option<&[u8]> {
    const UDP: u8 = 17;
    let (header, datagram) = frame.split_at_checked(54)?;
    (header[12..14] == [0x86, 0xdd] && header[20] == UDP).then_some(datagram)
}

impl Account {
    /// Each packet sent before the change came out at `from`, each sent later than the bound after it at `to`, none
    /// at both, and the report gives the latency between.
    #[track_caller]
    pub fn moves(&self, from: Exit, to: Exit) -> &Self {
        let mut last_otherwise = None;
        for (number, sent) in self.numbered() {
            let at = self.exit(number);
            if sent + patience(TRANSIT) < self.began {
                assert_eq!(at, from, "{}: packet {number}, before the change", self.what);
            } else if sent > self.ended + self.bound {
                let late = sent - self.ended;
                assert_eq!(at, to, "{}: packet {number}, {late:?} after the change", self.what);
            }
            if at != to {
                last_otherwise = Some(sent);
            }
        }
        let next = self.sent.iter().find(|sent| last_otherwise.is_none_or(|last| **sent > last));
        let next = *next.expect("a packet after the last that went otherwise");
        let since = |then: Instant| next.saturating_duration_since(then).as_secs_f64() * 1e3;
        eprintln!(
            "latency: {}: {:.1} ms after its start, {:.1} ms after its end; {} of {} lost",
            self.what,
            since(self.began),
            since(self.ended),
            self.lost().len(),
            self.sent.len(),
        );
        self
    }

    /// All packets came out at one exit.
    #[track_caller]
    pub fn stays(&self, at: Exit) {
        let otherwise: Vec<_> = self
            .numbered()
            .filter(|(number, _)| self.exit(*number) != at)
            .map(|(number, sent)| format!("{number} ({})", self.offset(sent)))
            .collect();
        assert!(otherwise.is_empty(), "{}: not at {at:?}: {otherwise:?}", self.what);
    }

    /// No packet was lost at the change.
    #[track_caller]
    pub fn without_loss(&self) {
        let lost: Vec<_> = self.lost();
        assert!(lost.is_empty(), "{}: lost: {lost:?}", self.what);
    }

    /// Packets sent.
    pub fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    fn lost(&self) -> Vec<String> {
        let lost = self.numbered().filter(|(number, _)| self.exit(*number) == Exit::Nowhere);
        lost.map(|(number, sent)| format!("{number} ({})", self.offset(sent))).collect()
    }

    fn offset(&self, sent: Instant) -> String {
        match sent.checked_duration_since(self.began) {
            Some(late) => format!("{late:?} after the start of the change"),
            None => format!("{:?} before the change", self.began - sent),
        }
    }

    fn exit(&self, number: u32) -> Exit {
        self.arrived.get(&number).copied().unwrap_or(Exit::Nowhere)
    }

    fn numbered(&self) -> impl Iterator<Item = (u32, Instant)> + '_ {
        (0..).zip(self.sent.iter().copied())
    }
}
