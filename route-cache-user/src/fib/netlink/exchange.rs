//! One question to the kernel, and its answer read to the end.

use std::io;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

use super::request::Request;
use super::wire::{Malformed, Message, messages};

/// The kernel fills at most 32 KiB at a time (`netlink_dump` in net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;

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

/// How long an answer is. NLM_F_MULTI does not tell: the dumps of generic netlink families lack it
/// (`genlmsg_iput` in include/net/genetlink.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parts {
    One,
    UntilDone,
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
        self.converse(request, Parts::UntilDone, part)
    }

    /// Asks for one thing, or for a change (then `answer` is not called).
    pub(crate) fn ask(
        &mut self,
        request: Request,
        answer: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), DumpError> {
        self.converse(request, Parts::One, answer)
    }

    fn converse(
        &mut self,
        request: Request,
        parts: Parts,
        mut part: impl FnMut(&Message<'_>) -> Result<(), Malformed>,
    ) -> Result<(), DumpError> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = request.finish(self.sequence);
        self.socket.send_to(&question, &SocketAddr::new(0, 0), 0)?;

        let mut bad = None;
        let mut interrupted = false;
        loop {
            let size = receive(&self.socket, &mut self.buffer)?;
            for message in messages(self.buffer.get(..size).unwrap_or_default()) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue; // Of a conversation that was given up.
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                let end = match message.kind {
                    NLMSG_NOOP => false,
                    NLMSG_ERROR | NLMSG_DONE => {
                        verdict(&message)?;
                        true
                    }
                    _ => {
                        if bad.is_none() {
                            bad = part(&message).err();
                        }
                        parts == Parts::One
                    }
                };
                if end {
                    return match (bad, interrupted) {
                        (Some(malformed), _) => Err(malformed.into()),
                        (None, true) => Err(DumpError::Interrupted),
                        (None, false) => Ok(()),
                    };
                }
            }
        }
    }
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
