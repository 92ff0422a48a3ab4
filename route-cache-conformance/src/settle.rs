//! Waiting until the agent has taken in what was changed.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result};
use route_cache_lab::{Agent, wait_until};
use serde_json::Value;

use crate::{
    case::{Plane, Station},
    cases::net::{sent, udp},
    pinned::pinned,
    place::Place,
    run::PATIENCE,
};

/// Adds a route that is of no use to anybody and waits until the agent knows it: whatever the kernel said before, the
/// agent has heard by then.
pub fn fence(place: &Place, agent: &Agent) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 254, 0, 0)) + number).to_string();
    place.command(&format!("ip route add blackhole {address}/32"))?;
    let prefix = format!("{address}/32");
    let known =
        || agent.json(&["get", &address]).is_ok_and(|told| told["route"]["prefix"] == *prefix);
    wait_until("the agent to have heard of a route", PATIENCE, known)
        .with_context(|| format!("{:?}", agent.json(&["get", &address])))?;
    place.command(&format!("ip route del blackhole {address}/32"))
}

/// Waits until a setting that is only asked for now and then has been seen.
pub fn stands_aside(expectation: Plane, agent: &Agent) -> Result<()> {
    let aside = || match expectation {
        Plane::Passed("pass_disabled") => agent.status().is_ok_and(|status| {
            status["accelerating"] == false || status["ipv6"]["accelerating"] == false
        }),
        Plane::Passed("pass_interface") => rows(agent).is_ok_and(|rows| {
            let any = |reasons: &Value| reasons.as_array().is_some_and(|all| !all.is_empty());
            rows.iter().any(|row| any(&row["reasons"]) || any(&row["ipv6"]["reasons"]))
        }),
        Plane::Passed(_) | Plane::Forwarded | Plane::Unseen => true,
    };
    wait_until("the agent to stand aside", PATIENCE, aside)
}

/// Whether any interface takes redirected frames, as far as the kernel or a probe frame tells.
pub fn can_redirect(agent: &Agent) -> Result<bool> {
    let rows = rows(agent)?;
    let features_unknown = |row: &Value| row.to_string().contains("the kernel does not tell");
    Ok(!rows.iter().all(features_unknown))
}

/// Waits until the agent accelerates.
pub fn accelerates(agent: &Agent) -> Result<()> {
    let does = || {
        agent.status().is_ok_and(|status| {
            status["accelerating"] == true && status["ipv6"]["accelerating"] == true
        })
    };
    wait_until("the agent to accelerate", PATIENCE, does)
}

/// Sends frames until the kernel forwards one: the promise of a stopped agent has run out.
pub fn kernel_forwards(place: &Place) -> Result<()> {
    let sender = place.socket(Station::Client)?;
    let forwarded = || {
        let snmp = route_cache_lab::Snmp::read(place.router());
        snmp.map(|snmp| snmp.forwarded()).unwrap_or_default()
    };
    let before = forwarded();
    wait_until("the kernel to forward in place of a stopped agent", PATIENCE, || {
        let frame = sent(udp()).remove(0);
        let _ = pinned(|| sender.send(&frame));
        forwarded() > before
    })
}

fn rows(agent: &Agent) -> Result<Vec<Value>> {
    let told = agent.json(&["show", "interfaces"])?;
    told.as_array().cloned().context("`route-cache show interfaces` did not print a list")
}
