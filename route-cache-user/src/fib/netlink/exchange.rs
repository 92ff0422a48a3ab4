//! One question to the kernel, and its answer read to the end.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;
use std::{io, thread};

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::request::Request;
use super::wire::{Malformed, Message, messages};

/// The kernel fills at most 32 KiB at a time (`netlink_dump` in net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;

/// Datagrams of a dump that are read ahead: the kernel makes the next ones while these are taken apart.
const AHEAD: usize = 8;

/// The kernel answers while it is asked; a socket that stays silent this long will not speak again.
const PATIENCE: Duration = Duration::from_secs(5);

const NLMSG_NOOP: u16 = libc::NLMSG_NOOP as u16;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const NLM_F_DUMP_INTR: u16 = libc::NLM_F_DUMP_INTR as u16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DumpError {
    /// The table changed while it was read: what was heard may be neither the old nor the new one. Ask again.
    #[error("the table changed while it was read")]
    Interrupted,
    /// This kernel has no such table.
    #[error("this kernel does not have it")]
    Unsupported,
    /// The kernel said no.
    #[error("the kernel refused: {0}")]
    Refused(Errno),
    /// The kernel said something that cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The socket failed; it is of no use any more.
    #[error("netlink socket: {0}")]
    Socket(#[from] io::Error),
}

/// A blocking netlink socket in the network namespace of the thread that opened it.
pub(crate) struct Exchange {
    socket: Socket,
    buffer: Vec<u8>,
    sequence: u32,
}

impl Exchange {
    /// Opens a socket of one netlink protocol; `Unsupported` where the kernel has no such protocol.
    pub(crate) fn open(protocol: i32) -> Result<Self, DumpError> {
        let mut socket = match Socket::new(protocol as isize) {
            Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => {
                return Err(DumpError::Unsupported);
            }
            other => other?,
        };
        socket.bind_auto()?;
        let patience = TimeVal::new(PATIENCE.as_secs().cast_signed(), 0);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).map_err(io::Error::from)?;
        // Linux 4.20: dumps leave out what was not asked for. Older kernels send more, which is skipped.
        let _ = socket.set_netlink_get_strict_chk(true);
        // Linux 4.2: errors come back without a copy of the question.
        let _ = socket.set_cap_ack(true);
        Ok(Self { socket, buffer: vec![0; BUFFER], sequence: 0 })
    }

    /// Asks for a table and hands every part of the answer to `part`.
    ///
    /// An answer is read to its end even if a part of it was bad: a socket takes no new question
    /// (EBUSY) while an answer is under way.
    pub(crate) fn dump(
        &mut self,
        request: Request,
        part: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), DumpError> {
        let sequence = self.question(request)?;
        let socket = &self.socket;
        thread::scope(|scope| {
            let (full, filled) = sync_channel(AHEAD);
            let (empty, emptied) = channel();
            scope.spawn(move || read_ahead(socket, sequence, &full, &emptied));
            let mut answer = Answer::new(sequence, part);
            loop {
                // A thread that is gone without a last word has panicked.
                let gone = |_| io::Error::other("the thread that reads ahead broke off");
                let (buffer, size) = filled.recv().map_err(gone)??;
                if answer.take(buffer.get(..size).unwrap_or_default())? {
                    return answer.verdict();
                }
                // It may have read all there is.
                let _ = empty.send(buffer);
            }
        })
    }

    /// Asks for one thing, or for a change (then `answer` is not called).
    pub(crate) fn ask(
        &mut self,
        request: Request,
        answer: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), DumpError> {
        let sequence = self.question(request)?;
        let mut answer = Answer { is_one: true, ..Answer::new(sequence, answer) };
        loop {
            let size = receive(&self.socket, &mut self.buffer)?;
            if answer.take(self.buffer.get(..size).unwrap_or_default())? {
                return answer.verdict();
            }
        }
    }

    /// Sends a question. Returns its number, which the answer carries.
    fn question(&mut self, request: Request) -> Result<u32, DumpError> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = request.finish(self.sequence);
        self.socket.send_to(&question, &SocketAddr::new(0, 0), 0)?;
        Ok(self.sequence)
    }
}

/// An answer as far as it was read.
struct Answer<P> {
    sequence: u32,
    part: P,
    /// It is a single message. NLM_F_MULTI does not tell: the dumps of generic netlink families lack it (`genlmsg_iput`
    /// in include/net/genetlink.h).
    is_one: bool,
    bad: Option<Malformed>,
    is_interrupted: bool,
}

impl<P: FnMut(&Message<'_>) -> Result<(), Malformed>> Answer<P> {
    const fn new(sequence: u32, part: P) -> Self {
        Self { sequence, part, is_one: false, bad: None, is_interrupted: false }
    }

    /// Takes in a datagram. Whether it was the last.
    fn take(&mut self, datagram: &[u8]) -> Result<bool, DumpError> {
        for message in messages(datagram) {
            let message = message?;
            if message.sequence != self.sequence {
                continue; // Of a conversation that was given up.
            }
            self.is_interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_NOOP => {}
                NLMSG_ERROR | NLMSG_DONE => {
                    verdict(&message)?;
                    return Ok(true);
                }
                _ => {
                    if self.bad.is_none() {
                        self.bad = (self.part)(&message).err();
                    }
                    if self.is_one {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// What it came to.
    fn verdict(self) -> Result<(), DumpError> {
        match (self.bad, self.is_interrupted) {
            (Some(malformed), _) => Err(malformed.into()),
            (None, true) => Err(DumpError::Interrupted),
            (None, false) => Ok(()),
        }
    }
}

/// Reads the datagrams of a dump until the last, an error, or until nobody takes them any more.
fn read_ahead(
    socket: &Socket,
    sequence: u32,
    full: &SyncSender<io::Result<(Vec<u8>, usize)>>,
    emptied: &Receiver<Vec<u8>>,
) {
    loop {
        let mut buffer = emptied.try_recv().unwrap_or_else(|_| vec![0; BUFFER]);
        let received = receive(socket, &mut buffer);
        let is_last = match &received {
            Ok(size) => is_last(buffer.get(..*size).unwrap_or_default(), sequence),
            Err(_) => true,
        };
        if full.send(received.map(|size| (buffer, size))).is_err() || is_last {
            return;
        }
    }
}

/// Whether an answer ends with a datagram, well or not.
fn is_last(datagram: &[u8], sequence: u32) -> bool {
    messages(datagram).any(|message| match message {
        Ok(message) => {
            message.sequence == sequence && matches!(message.kind, NLMSG_ERROR | NLMSG_DONE)
        }
        Err(_) => true,
    })
}

/// One datagram from the kernel; whatever other processes send to this socket is thrown away.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut space: &mut [u8] = buffer;
        match socket.recv_from(&mut space, libc::MSG_TRUNC) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok((_, sender)) if sender.port_number() != 0 => {}
            Ok((size, _)) if size > buffer.len() => {
                return Err(io::Error::other(format!("a message of {size} bytes was cut")));
            }
            Ok((size, _)) => return Ok(size),
        }
    }
}

/// The error number at the start of NLMSG_ERROR and NLMSG_DONE.
fn verdict(message: &Message<'_>) -> Result<(), DumpError> {
    let Some(bytes) = message.payload.first_chunk::<4>() else { return Ok(()) };
    match i32::from_ne_bytes(*bytes) {
        0 => Ok(()),
        error => Err(refusal(Errno::from_raw(error.wrapping_neg()))),
    }
}

fn refusal(errno: Errno) -> DumpError {
    let missing = [Errno::EOPNOTSUPP, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT];
    if missing.contains(&errno) { DumpError::Unsupported } else { DumpError::Refused(errno) }
}
