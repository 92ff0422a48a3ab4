//! The answer to `monitor`: a line for each event, for as long as the client follows.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{Limits, answer::refusal, converse::send};
use crate::events::{Journal, Reader};

/// Events encoded at a time: what bounds the memory of a follower.
const BATCH: usize = 64;

/// Sends what the journal holds, and then closes.
///
/// # Errors
///
/// If the client went away or did not take it in time.
pub(super) async fn replay(
    stream: &mut UnixStream,
    journal: &Arc<Journal>,
    limits: Limits,
) -> io::Result<()> {
    let mut lines = Vec::new();
    encode(&mut journal.read(), usize::MAX, &mut lines)?;
    send(stream, &lines, limits).await
}

/// Sends what the journal holds and then what comes, until the client goes away; refuses one follower too many.
///
/// # Errors
///
/// If the client does not read: see [`send_while_it_reads`].
pub(super) async fn follow(
    stream: &mut UnixStream,
    journal: &Arc<Journal>,
    followers: &Semaphore,
    limits: Limits,
) -> io::Result<()> {
    let Ok(_place) = followers.try_acquire() else {
        let most = limits.followers;
        let answer = refusal(format!("busy: {most} clients follow already, try again later"));
        return send(stream, &answer, limits).await;
    };
    let mut reader = journal.read();
    let mut lines = Vec::new();
    loop {
        tokio::select! {
            () = reader.wait() => {}
            gone = gone(stream) => return gone,
        }
        lines.clear();
        encode(&mut reader, BATCH, &mut lines)?;
        send_while_it_reads(stream, &lines, &reader, limits.reading).await?;
    }
}

fn encode(reader: &mut Reader, most: usize, lines: &mut Vec<u8>) -> io::Result<()> {
    for entry in reader.take(most) {
        serde_json::to_writer(&mut *lines, &entry)?;
        lines.push(b'\n');
    }
    Ok(())
}

/// A client may read as slowly as it likes. One that has read nothing for `patience` since events are lost to it is
/// cut off.
async fn send_while_it_reads(
    stream: &mut UnixStream,
    mut lines: &[u8],
    reader: &Reader,
    patience: Duration,
) -> io::Result<()> {
    while !lines.is_empty() {
        let given_up = async {
            reader.overflow().await;
            sleep(patience).await;
        };
        tokio::select! {
            written = stream.write(lines) => lines = &lines[written?..],
            () = given_up => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}

/// Waits until the client has closed both sides: one that closed its own only, after the request, still listens.
async fn gone(stream: &UnixStream) -> io::Result<()> {
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 512]) {
            Ok(0) => break,
            // One request a connection: what else is said is not heard.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    // The kernel tells the end of the client's side once; that of the other has to be looked for.
    loop {
        let ready = timeout(LOOK, stream.ready(Interest::WRITABLE)).await;
        if ready.is_ok_and(|ready| ready.is_ok_and(|ready| ready.is_write_closed())) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Between two looks whether a client that said all it had to say is still there.
const LOOK: Duration = Duration::from_millis(250);
