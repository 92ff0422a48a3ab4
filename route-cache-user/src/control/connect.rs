//! The client's end of the control socket.

use std::{io, os::fd::AsRawFd, os::unix::net::UnixStream, path::Path, time::Duration};

use nix::sys::{
    socket::{AddressFamily, SockFlag, SockType, UnixAddr, setsockopt, socket, sockopt},
    time::TimeVal,
};

/// Connects to the socket at `path`.
///
/// An agent that is stuck stops accepting, and `connect` of the standard library would then wait for ever; this one
/// gives up with [`io::ErrorKind::WouldBlock`] after `patience`. Writes to the stream have the same limit.
///
/// # Errors
///
/// As the kernel says.
pub(crate) fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX).max(1);
    let patience = TimeVal::new(patience / 1_000_000, patience % 1_000_000);
    setsockopt(&fd, sockopt::SendTimeout, &patience)?;
    nix::sys::socket::connect(fd.as_raw_fd(), &address)?;
    Ok(UnixStream::from(fd))
}
