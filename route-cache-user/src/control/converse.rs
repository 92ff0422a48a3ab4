//! One connection: a request line in, an answer line out, or a stream of them.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    task::spawn_blocking,
    time::timeout,
};

use super::{
    Limits, Source,
    answer::{answer, refusal},
    protocol::Request,
    serve::Turns,
    stream,
};

/// Longest request line in bytes, without its end.
const LONGEST_REQUEST: usize = 64 * 1024;

/// Serves one client.
///
/// # Errors
///
/// If the client went away or did not take its answer in time.
pub(super) async fn converse(
    mut stream: UnixStream,
    source: Arc<dyn Source>,
    turns: Arc<Turns>,
    limits: Limits,
) -> io::Result<()> {
    let request = match timeout(limits.patience, read_line(&mut stream)).await {
        Ok(line) => match line? {
            Some(line) => parse(&line),
            None => return Ok(()),
        },
        Err(_) => Err(format!("no complete request within {:?}", limits.patience)),
    };
    // The turn is given back when the answer has been sent: answers that nobody reads must not pile up.
    let (answer, _turn) = match request {
        Err(error) => (refusal(error), None),
        Ok(Request::Monitor { follow: false }) => {
            return stream::replay(&mut stream, &source.events(), limits).await;
        }
        Ok(Request::Monitor { follow: true }) => {
            return stream::follow(&mut stream, &source.events(), &turns.followers, limits).await;
        }
        Ok(request) => {
            let turn = if is_listing(&request) {
                let turn = Arc::clone(&turns.listings).acquire_owned();
                match timeout(limits.patience, turn).await {
                    Ok(turn) => turn.ok(),
                    Err(_) => return send(&mut stream, &busy(), limits).await,
                }
            } else {
                None
            };
            // The turn goes along, so that it outlives a dropped connection as long as the work does.
            spawn_blocking(move || (answer(&*source, &request), turn))
                .await
                .unwrap_or_else(|error| (refusal(format!("the agent failed: {error}")), None))
        }
    };
    send(&mut stream, &answer, limits).await
}

/// The first line, without its end, or what came before the client closed; nothing if nothing came.
async fn read_line(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let most = LONGEST_REQUEST as u64 + 1;
    BufReader::new(stream.take(most)).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Some(line))
}

/// A request, or what is wrong with the line.
pub(super) fn parse(line: &[u8]) -> Result<Request, String> {
    if line.len() > LONGEST_REQUEST {
        return Err(format!("the request is longer than {LONGEST_REQUEST} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| {
        format!("not a request: {error}; expected one line such as {{\"command\":\"status\"}}")
    })
}

/// Whether the answer grows with the tables.
fn is_listing(request: &Request) -> bool {
    match request {
        Request::Clones {} | Request::Routes {} | Request::NextHops {} | Request::Audit {} => true,
        Request::Status {}
        | Request::Interfaces {}
        | Request::Get { .. }
        | Request::Set { .. }
        | Request::Flush { .. }
        | Request::Drain {}
        | Request::Purge { .. }
        | Request::Monitor { .. } => false,
    }
}

fn busy() -> Vec<u8> {
    refusal("busy: too many listings at once, try again".to_owned())
}

/// Sends all of it, within the time a client has to take its answer.
pub(super) async fn send(stream: &mut UnixStream, answer: &[u8], limits: Limits) -> io::Result<()> {
    let sent = timeout(limits.reading, stream.write_all(answer)).await;
    sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}
