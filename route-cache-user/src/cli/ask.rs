//! One question to a running agent.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream,
    },
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use nix::unistd::{Gid, Group};
use serde::de::DeserializeOwned;

use crate::control::{
    connect,
    protocol::{Answer, Request},
};

/// For the agent to take the question, and to say the next bit of its answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the agent that listens on `socket`.
///
/// # Errors
///
/// If nobody listens, if the caller may not ask, or what the agent says is wrong.
pub(super) fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T> {
    let stream = send(socket, request)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::with_capacity(1 << 16, stream)
        .read_until(b'\n', &mut line)
        .with_context(|| silent(socket))?;
    if line.pop() != Some(b'\n') {
        bail!("the agent on {} closed the connection before it had answered", socket.display());
    }
    match serde_json::from_slice(&line) {
        Ok(Answer::Ok(value)) => Ok(value),
        Ok(Answer::Error(error)) => Err(anyhow!(error)),
        Err(error) => Err(error).with_context(|| {
            format!("{} answers, but not as an agent of this version does", socket.display())
        }),
    }
}

/// Sends the question; the answer is to be read from the stream.
///
/// # Errors
///
/// If nobody listens, or if the caller may not ask.
pub(super) fn send(socket: &Path, request: &Request) -> Result<UnixStream> {
    let mut stream = connect(socket, PATIENCE).map_err(|error| no_connection(socket, error))?;
    let mut question = serde_json::to_vec(request)?;
    question.push(b'\n');
    stream.write_all(&question).with_context(|| silent(socket))?;
    Ok(stream)
}

fn silent(socket: &Path) -> String {
    format!("the agent on {} does not answer", socket.display())
}

/// Says what to do about it.
fn no_connection(socket: &Path, error: io::Error) -> anyhow::Error {
    let shown = socket.display();
    let found = fs::metadata(socket);
    let is = |kind: io::ErrorKind| error.kind() == kind;
    let why = if found.as_ref().is_ok_and(|found| !found.file_type().is_socket()) {
        format!("{shown} is not a socket: give the agent's --control-socket")
    } else if is(io::ErrorKind::NotFound) || is(io::ErrorKind::ConnectionRefused) {
        format!(
            "no agent listens on {shown}: is route-cache running? \
             If it was started with another --control-socket, give the same here"
        )
    } else if is(io::ErrorKind::PermissionDenied) {
        let group = found.ok().and_then(|found| group(found.gid()));
        let group =
            group.map_or_else(|| "socket's group".to_owned(), |name| format!("group {name}"));
        format!("only root and the {group} may ask the agent on {shown}")
    } else if is(io::ErrorKind::WouldBlock) {
        format!("the agent on {shown} does not accept connections")
    } else {
        format!("cannot connect to {shown}")
    };
    anyhow::Error::new(error).context(why)
}

fn group(gid: u32) -> Option<String> {
    Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name)
}
