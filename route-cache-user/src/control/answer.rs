//! From a request to the line that answers it.

use anyhow::Result;
use serde::Serialize;

use super::{
    Action, Packet, Source,
    protocol::{Answer, Done, Request},
};

/// Asks the agent and puts down what it says as one line, its end included. Blocks, and for long if the tables are large.
pub(super) fn answer(source: &dyn Source, request: &Request) -> Vec<u8> {
    match request {
        Request::Status {} => line(source.status()),
        Request::Clones {} => line(source.clones()),
        Request::Routes {} => line(source.routes()),
        Request::NextHops {} => line(source.next_hops()),
        Request::Interfaces {} => line(source.interfaces()),
        Request::Get { address, from, iif } => {
            let packet = Packet::new(*address, *from, iif.as_deref());
            line(packet.and_then(|packet| source.get(&packet)))
        }
        Request::Audit {} => line(source.audit()),
        Request::Set { name, value } => act(source, Action::set(name, value)),
        Request::Flush { prefix, dev, family } => {
            act(source, Action::flush(*prefix, dev.as_deref(), family.as_deref()))
        }
        Request::Drain {} => act(source, Ok(Action::Drain)),
        Request::Purge { dev, force } => act(source, Action::purge(dev, *force)),
        Request::Monitor { .. } => refusal("events are a stream, not an answer".to_owned()),
    }
}

fn act(source: &dyn Source, action: Result<Action>) -> Vec<u8> {
    let done = action.and_then(|action| {
        tracing::info!("told to {action}");
        source.act(action)
    });
    line(done.map(|message| Done { message }))
}

/// The line that says what is wrong.
pub(super) fn refusal(error: String) -> Vec<u8> {
    encode(&Answer::<()>::Error(error)).unwrap_or_default()
}

fn line<T: Serialize>(result: Result<T>) -> Vec<u8> {
    let answer = match result {
        Ok(value) => Answer::Ok(value),
        Err(error) => return refusal(format!("{error:#}")),
    };
    encode(&answer)
        .unwrap_or_else(|error| refusal(format!("the answer cannot be written: {error}")))
}

fn encode<T: Serialize>(answer: &Answer<T>) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    Ok(line)
}
