//! Frames: the steps of the data plane that look at nothing but bytes, beside a model that is written plainly. They
//! agree on every frame, and what is rewritten is what the model forwards.

#![no_main]
#![allow(dead_code, missing_docs, reason = "the steps that ask the maps are not run")]

mod model;

#[path = "../../route-cache-ebpf/src/admission.rs"]
mod admission;
#[path = "../../route-cache-ebpf/src/admit.rs"]
mod admit;
#[path = "../../route-cache-ebpf/src/clones.rs"]
mod clones;
#[path = "../../route-cache-ebpf/src/family.rs"]
mod family;
#[path = "../../route-cache-ebpf/src/flow_hash.rs"]
mod flow_hash;
#[path = "../../route-cache-ebpf/src/flows.rs"]
mod flows;
#[path = "../../route-cache-ebpf/src/freshness.rs"]
mod freshness;
#[path = "../../route-cache-ebpf/src/headers/mod.rs"]
mod headers;
#[path = "../../route-cache-ebpf/src/kernel.rs"]
mod kernel;
#[path = "../../route-cache-ebpf/src/maps.rs"]
mod maps;
#[path = "../../route-cache-ebpf/src/next_hop.rs"]
mod next_hop;
#[path = "../../route-cache-ebpf/src/packet.rs"]
mod packet;
#[path = "../../route-cache-ebpf/src/parse.rs"]
mod parse;
#[path = "../../route-cache-ebpf/src/redirect.rs"]
mod redirect;
#[path = "../../route-cache-ebpf/src/rewrite.rs"]
mod rewrite;
#[path = "../../route-cache-ebpf/src/route.rs"]
mod route;
#[path = "../../route-cache-ebpf/src/way.rs"]
mod way;

use libfuzzer_sys::fuzz_target;
use route_cache_common::{Config, MacAddresses, Outcome, Port, V4, V6, next_hop::NextHopVersion};

use crate::{
    family::Datapath,
    headers::{Header, Ipv4, Ipv6, TAG_LEN},
    model::Forwardable,
    packet::Packet,
};

/// Of the interface that receives.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PORT: Port = Port { mac: MAC, flags: Port::PARTIAL_CHECKSUMS };
const TO: [u8; 6] = [2, 0, 0, 0, 9, 9];
const FROM: [u8; 6] = [2, 0, 0, 0, 8, 8];

fuzz_target!(|frame: &[u8]| {
    check(frame);
    // Most of what is interesting comes behind these.
    let mut frame = frame.to_vec();
    model::address(&mut frame, MAC);
    check(&frame);
    model::make_intact(&mut frame);
    check(&frame);
});

fn check(frame: &[u8]) {
    let mut bytes: Box<[u8]> = frame.into();
    let judged = judge(&cursor(&mut bytes));
    assert_eq!(*bytes, *frame, "the frame was changed before it was forwarded");
    assert_eq!(judged, model::judge(frame, MAC));
    if let Ok(forwardable) = judged {
        let flow = flow_of(frame, forwardable.tag_len);
        for vlan in [0, 0xabc] {
            let out = forward(frame, &forwardable, vlan);
            assert_eq!(out, model::forwarded(frame, &forwardable, TO, FROM, vlan));
            // The same but for the hop: the next router sees the same flow, and an intact header.
            assert_eq!(flow_of(&out, if vlan == 0 { 0 } else { TAG_LEN }), flow);
        }
    }
}

/// The steps from `forward` and `datagram` of the program, without the maps.
fn judge(packet: &Packet<'_>) -> Result<Forwardable, Outcome> {
    let link = parse::link(packet)?;
    match link.ethertype as u16 {
        Ipv4::ETHERTYPE => datagram::<V4>(packet, link),
        Ipv6::ETHERTYPE => datagram::<V6>(packet, link),
        _ => Err(Outcome::PassEthertype),
    }
}

fn datagram<F: Datapath>(packet: &Packet<'_>, link: parse::Link) -> Result<Forwardable, Outcome> {
    let untagged = packet.behind(link.tag_len);
    let datagram = parse::datagram::<F>(&untagged)?;
    admit::link(packet, PORT)?;
    admit::intact(&datagram)?;
    F::check_destination(datagram.ip.destination())?;
    // Without own addresses in it, no step asks a map.
    admit::packet(&untagged, &datagram, PORT, &Config::default())?;
    Ok(Forwardable {
        tag_len: link.tag_len,
        vlan: link.vlan,
        header_len: F::Header::LEN,
        padding: datagram.padding,
    })
}

/// The steps behind the redirect. What the helpers do, cutting the tail and moving the head, is done here.
fn forward(frame: &[u8], forwardable: &Forwardable, vlan: u16) -> Vec<u8> {
    let whole = &frame[..frame.len() - forwardable.padding];
    let untagged = &whole[forwardable.tag_len..];
    let room = if vlan == 0 { 0 } else { TAG_LEN };
    let mut bytes: Box<[u8]> = [&vec![0; room], untagged].concat().into();
    let addresses = MacAddresses::new(TO, FROM);
    let next_hop = NextHopVersion { addresses, vlan, ..NextHopVersion::default() };
    let mut packet = cursor(&mut bytes);
    let rewritten = match forwardable.header_len {
        Ipv4::LEN => rewrite::frame::<Ipv4>(&mut packet, &next_hop),
        _ => rewrite::frame::<Ipv6>(&mut packet, &next_hop),
    };
    rewritten.expect("it is long enough");
    bytes.into()
}

/// The hashes of a datagram's flow: by addresses, and by ports too.
fn flow_of(frame: &[u8], tag_len: usize) -> [u32; 2] {
    let mut bytes: Box<[u8]> = frame.into();
    let packet = cursor(&mut bytes);
    match parse::link(&packet).map(|link| link.ethertype as u16) {
        Ok(Ipv4::ETHERTYPE) => hashes::<V4>(&packet.behind(tag_len)),
        _ => hashes::<V6>(&packet.behind(tag_len)),
    }
}

fn hashes<F: Datapath>(packet: &Packet<'_>) -> [u32; 2] {
    let datagram = parse::datagram::<F>(packet).expect("a datagram");
    assert!(datagram.ip.is_intact());
    [0, Config::HASH_PORTS4 | Config::HASH_PORTS6]
        .map(|flags| flow_hash::of(packet, &datagram, &Config { flags, ..Config::default() }))
}

/// A cursor over bytes that an allocation of their own holds, so that one byte beyond is seen.
fn cursor(bytes: &mut Box<[u8]>) -> Packet<'_> {
    let start = bytes.as_mut_ptr() as usize;
    assert!(start.is_multiple_of(2) || bytes.is_empty(), "allocations are aligned");
    // SAFETY: the bytes are borrowed for as long as the cursor lives, and start at an even address, or are none.
    unsafe { Packet::new(start, start + bytes.len()) }
}
