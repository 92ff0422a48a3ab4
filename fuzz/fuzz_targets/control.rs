//! The control socket: whatever line a client sends, it gets one line of JSON, and the agent does what was asked for or
//! nothing.

#![no_main]
#![allow(dead_code, unused_imports, reason = "only a part of the agent's modules is used")]

use libfuzzer_sys::fuzz_target;

#[path = "../../route-cache-user/src/cli"]
mod cli {
    mod agent_options;
    pub(crate) mod duration;

    pub(crate) use self::agent_options::*;
}
#[path = "../../route-cache-user/src/config/mod.rs"]
mod config;
#[path = "../../route-cache-user/src/events/mod.rs"]
mod events;
#[path = "../../route-cache-user/src/fib"]
mod fib {
    #[path = "ip_family.rs"]
    pub(crate) mod family;
}

#[path = "../../route-cache-user/src/control"]
mod control {
    mod accept;
    mod action;
    mod answer;
    mod converse;
    mod packet;
    mod protocol;
    mod serve;
    mod source;
    mod stream;

    use std::sync::{Arc, Mutex};

    use anyhow::{Result, bail};
    use serde_json::Value;

    pub(crate) use self::{action::Action, packet::Packet, source::Source};
    use self::{
        protocol::{
            AuditReport, CloneEntry, Explanation, InterfaceEntry, NextHopEntry, RouteEntry, Status,
        },
        serve::Limits,
    };
    use crate::{config, events::Journal};

    /// An agent without tables, that takes orders.
    #[derive(Default)]
    struct Agent(Mutex<Vec<Action>>);

    impl Source for Agent {
        fn status(&self) -> Result<Status> {
            bail!("there is none")
        }
        fn audit(&self) -> Result<AuditReport> {
            bail!("there is none")
        }
        fn clones(&self) -> Result<Vec<CloneEntry>> {
            Ok(Vec::new())
        }
        fn routes(&self) -> Result<Vec<RouteEntry>> {
            Ok(Vec::new())
        }
        fn next_hops(&self) -> Result<Vec<NextHopEntry>> {
            Ok(Vec::new())
        }
        fn interfaces(&self) -> Result<Vec<InterfaceEntry>> {
            Ok(Vec::new())
        }
        fn get(&self, packet: &Packet) -> Result<Explanation> {
            bail!("nothing is known of {}", packet.dst)
        }
        fn act(&self, action: Action) -> Result<String> {
            let told = action.to_string();
            self.0.lock().expect("one thread").push(action);
            Ok(told)
        }
        fn events(&self) -> Arc<Journal> {
            unreachable!("no answer needs it")
        }
    }

    /// Answers a line as a connection does.
    pub(crate) fn converse(line: &[u8]) {
        let agent = Agent::default();
        let answer = match converse::parse(line) {
            Err(error) => answer::refusal(error),
            Ok(request) => {
                let written = serde_json::to_vec(&request).expect("a request can be written");
                let read = converse::parse(&written).expect("what was written can be read");
                assert_eq!(read, request, "a request reads as what was written");
                answer::answer(&agent, &request)
            }
        };
        let text = answer.strip_suffix(b"\n").expect("an answer ends its line");
        assert!(!text.contains(&b'\n'), "an answer is one line");
        // The longest escape, \u0000, has six bytes.
        assert!(text.len() <= 1024 + 6 * line.len(), "{} bytes answer {}", text.len(), line.len());
        let json = serde_json::from_slice::<Value>(text).expect("an answer is JSON");
        let json = json.as_object().expect("an answer is an object");
        assert!(json.len() == 1 && (json.contains_key("ok") || json.contains_key("error")));
        let told = agent.0.into_inner().expect("one thread");
        assert!(told.len() <= 1, "one request, one order: {told:?}");
        for action in told {
            assert!(json.contains_key("ok"), "{action} was done, and refused");
            let line = action.to_string();
            assert!(!line.contains(char::is_control), "{line:?} would break the log");
            if let Action::Set(_, config::Value::Names(patterns)) = action {
                // For its time: a name is matched whenever an interface comes or goes.
                for pattern in patterns {
                    pattern.matches("aaaaaaaaaaaaaaa");
                }
            }
        }
    }
}

fuzz_target!(|line: &[u8]| control::converse(line));
