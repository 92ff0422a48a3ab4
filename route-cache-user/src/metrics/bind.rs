//! The listener for the metrics.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, Result};

/// Binds a nonblocking listener, in the network namespace of the calling thread.
///
/// # Errors
///
/// As the kernel says, with what to do about it.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        let why = match hint(error.kind()) {
            Some(hint) => format!("{hint}: "),
            None => String::new(),
        };
        anyhow::Error::new(error).context(format!(
            "cannot serve metrics on {address}: {why}give another --listen-address"
        ))
    })?;
    listener.set_nonblocking(true).context("cannot make the metrics listener nonblocking")?;
    Ok(listener)
}

fn hint(kind: ErrorKind) -> Option<&'static str> {
    let hints = [
        (ErrorKind::AddrInUse, "another program has the port"),
        (ErrorKind::AddrNotAvailable, "no interface has the address"),
        (ErrorKind::PermissionDenied, "ports below 1024 need CAP_NET_BIND_SERVICE"),
    ];
    hints.iter().find(|(known, _)| *known == kind).map(|(_, hint)| *hint)
}
