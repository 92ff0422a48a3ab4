//! Bytes that no kernel sent, and bytes that one did. No privileges.

use proptest::prelude::*;

use super::super::netdev::Family;
use super::super::wire::{Malformed, Message, align, attributes, messages};
use super::super::{Request, event};
use crate::fib::message::{Event, RouteTarget};

const FAMILY: Family = Family { id: 130, group: 5 };

/// Dumps of Linux 6.18, without the closing NLMSG_DONE, of a namespace with two veths, a bridge, and
/// routes and next-hop objects of every kind that the parsers tell apart.
const DUMPS: [&[u8]; 8] = [
    include_bytes!("fixtures/links.bin"),
    include_bytes!("fixtures/addresses.bin"),
    include_bytes!("fixtures/routes.bin"),
    include_bytes!("fixtures/nexthops.bin"),
    include_bytes!("fixtures/neighbours.bin"),
    include_bytes!("fixtures/netconf.bin"),
    include_bytes!("fixtures/rules.bin"),
    include_bytes!("fixtures/qdiscs.bin"),
];

fn parse(datagram: &[u8]) -> Vec<Result<Option<Event>, Malformed>> {
    let one = |message: Result<Message<'_>, Malformed>| {
        let message = message?;
        if message.kind == FAMILY.id { FAMILY.parse(&message) } else { event::parse(&message) }
    };
    // Bounded: a reader that does not move on would read for ever.
    messages(datagram).take(datagram.len() + 1).map(one).collect()
}

fn events(datagram: &[u8]) -> Vec<Event> {
    parse(datagram).into_iter().map(|event| event.expect("well formed").expect("known")).collect()
}

#[test]
fn dumps_of_a_real_kernel_are_read_to_the_last_byte() {
    let counts = DUMPS.map(|dump| events(dump).len());
    assert_eq!(counts, [4, 3, 13, 6, 1, 6, 4, 4]);
}

#[test]
fn every_kind_of_route_target_is_told_apart() {
    let [_, _, routes, ..] = DUMPS;
    let mut seen = [0; 4];
    for event in events(routes) {
        let Event::Route { route, .. } = event else { panic!("not a route: {event:?}") };
        match route.info.target {
            RouteTarget::None => seen[0] += 1,
            RouteTarget::Hop(_) => seen[1] += 1,
            RouteTarget::Object(_) => seen[2] += 1,
            RouteTarget::Multipath(_) => seen[3] += 1,
        }
    }
    assert_eq!(seen, [1, 10, 1, 1]);
}

/// What RTM_NEWLINK says of a device of this kind on interface 2, in this mode.
fn upper(kind: &str, mode: u32) -> Option<u32> {
    const IFLA_MACVLAN_MODE: u16 = 1;
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(align(bytes.len()), 0);
        bytes
    };
    let data = attribute(IFLA_MACVLAN_MODE, &mode.to_ne_bytes());
    let info =
        [attribute(libc::IFLA_INFO_KIND, kind.as_bytes()), attribute(libc::IFLA_INFO_DATA, &data)]
            .concat();
    let message = Request::get(libc::RTM_NEWLINK, &[0; 16])
        .attribute(libc::IFLA_IFNAME, b"upper\0")
        .attribute(libc::IFLA_LINK, &2u32.to_ne_bytes())
        .attribute(libc::IFLA_LINKINFO, &info);
    match events(&message.finish(1)).remove(0) {
        Event::Link(link) => link.takes_from,
        other => panic!("not a link: {other:?}"),
    }
}

#[test]
fn row_36_devices_that_take_frames_first_are_told_apart_from_those_with_an_address_of_their_own() {
    for (kind, mode) in [("ipvlan", 0), ("ipvtap", 1), ("macvlan", 8), ("macvtap", 16)] {
        assert_eq!(upper(kind, mode), Some(2), "{kind}, mode {mode}");
    }
    for (kind, mode) in [("macvlan", 1), ("macvlan", 2), ("macvtap", 4), ("macsec", 8)] {
        assert_eq!(upper(kind, mode), None, "{kind}, mode {mode}");
    }
}

#[test]
fn row_36_an_interface_that_moves_to_another_namespace_is_told_apart_from_one_that_is_gone() {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&7i32.to_ne_bytes());
    let gone = Request::get(libc::RTM_DELLINK, &header).attribute(libc::IFLA_IFNAME, b"upper\0");
    assert_eq!(events(&gone.clone().finish(1)), [Event::LinkGone(7)]);
    // IFLA_NEW_NETNSID, IFLA_NEW_IFINDEX; the namespace may have no number here.
    for kind in [45, 49] {
        let moved = gone.clone().attribute(kind, &(-1i32).to_ne_bytes());
        assert_eq!(events(&moved.finish(1)), [Event::LinkMoved(7)]);
    }
}

#[test]
fn a_request_reads_as_what_was_written() {
    let bytes = Request::dump(26, &[2]).attribute(15, b"abcde").attribute(7, &[]).finish(9);
    let message = messages(&bytes).next().expect("one message").expect("well formed");
    assert_eq!((message.kind, message.flags, message.sequence), (26, 0x301, 9));
    let (header, attributes) = message.split::<1>().expect("a header");
    assert_eq!(*header, [2]);
    let read: Vec<_> = attributes.map(|a| a.map(|a| (a.kind, a.value.to_vec()))).collect();
    assert_eq!(read, [Ok((15, b"abcde".to_vec())), Ok((7, Vec::new()))]);
    assert_eq!(messages(&bytes).count(), 1);
}

#[test]
fn a_message_cut_anywhere_is_an_error_or_a_shorter_list() {
    for dump in DUMPS {
        let whole = parse(dump);
        for cut in 0..dump.len() {
            let part = parse(&dump[..cut]);
            let good = part.iter().take_while(|event| event.is_ok()).count();
            assert_eq!(part[..good], whole[..good], "cut at {cut}");
            assert!(part.len() <= good + 1, "nothing follows what is malformed");
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        parse(&bytes);
        prop_assert!(attributes(&bytes).take(bytes.len() + 1).count() <= bytes.len());
    }

    /// Random bytes rarely get past the header; these always do.
    #[test]
    fn random_payloads_of_every_kind_are_read_without_panic(
        kind in 16u16..120,
        family in prop::sample::select(vec![0u8, 2, 7, 10]),
        rest in prop::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut header = vec![family];
        header.extend(rest);
        parse(&Request::get(kind, &header).finish(0));
    }

    #[test]
    fn random_attributes_of_every_kind_are_read_without_panic(
        kind in prop::sample::select(vec![16u16, 17, 20, 24, 25, 28, 32, 36, 80, 104, 130]),
        size in 0usize..24,
        list in prop::collection::vec((0u16..64, prop::collection::vec(any::<u8>(), 0..40)), 0..8),
    ) {
        let mut header = vec![0; size];
        if kind != 16 && kind != 17 {
            header.iter_mut().take(1).for_each(|family| *family = 2);
        }
        let mut request = Request::get(kind, &header);
        for (kind, value) in &list {
            request = request.attribute(*kind, value);
        }
        parse(&request.finish(0));
    }

    #[test]
    fn real_messages_with_bytes_changed_are_read_without_panic(
        dump in 0..DUMPS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..16),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = DUMPS[dump].to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        parse(&bytes);
    }

    #[test]
    fn alignment_is_the_next_multiple_of_four(length in 0usize..100_000) {
        prop_assert_eq!(align(length), length.div_ceil(4) * 4);
    }
}
