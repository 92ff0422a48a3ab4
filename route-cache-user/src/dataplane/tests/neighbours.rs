//! Neighbours and own addresses, followed through the agent's mirror.

use route_cache_common::Outcome;

use super::{
    frame::Frame,
    mirror::{NUD_FAILED, NUD_STALE, on_mirror},
};

#[test]
fn row_31_a_missing_neighbour_passes_and_one_that_answers_is_used() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 77]));
        mirror.bench.passes(&Frame::udp().bytes(), Outcome::PassNeighbour);
        mirror.neighbour([10, 0, 2, 77], mirror.mac_of([10, 0, 2, 77]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 77], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 77], Outcome::ForwardedClone);
        mirror.neighbour_in_state([10, 0, 2, 77], None, NUD_FAILED);
        mirror.bench.passes(&Frame::udp().bytes(), Outcome::PassNeighbour);
        mirror.neighbour([10, 0, 2, 77], mirror.mac_of([10, 0, 2, 77]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 77], Outcome::ForwardedClone);
        mirror.neighbour_gone([10, 0, 2, 77]);
        mirror.bench.passes(&Frame::udp().bytes(), Outcome::PassNeighbour);
    });
}

#[test]
fn row_31_a_destination_on_the_link_is_its_own_next_hop() {
    on_mirror(|mirror| {
        mirror.bench.passes(&Frame::to([10, 0, 2, 50]), Outcome::PassNeighbour);
        mirror.neighbour([10, 0, 2, 50], mirror.mac_of([10, 0, 2, 50]));
        mirror.forwards([10, 0, 2, 50], [10, 0, 2, 50], Outcome::ForwardedRoute);
        mirror.forwards([10, 0, 2, 50], [10, 0, 2, 50], Outcome::ForwardedClone);
        mirror.bench.passes(&Frame::to([10, 0, 2, 51]), Outcome::PassNeighbour);
        mirror.neighbour_gone([10, 0, 2, 50]);
        let (outcome, _) = mirror.bench.send(&Frame::to([10, 0, 2, 50]));
        assert!(!outcome.is_forwarded());
    });
}

#[test]
fn row_33_a_new_mac_address_is_on_the_next_frame() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        for last in 1..=9 {
            mirror.neighbour([10, 0, 2, 2], [2, 0, 0, 0xaa, 0xbb, last]);
            mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        }
    });
}

#[test]
fn row_32_use_of_a_stale_neighbour_leaves_a_mark() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        assert_eq!(mirror.marks(), [0; 0]);
        mirror.neighbour_in_state([10, 0, 2, 2], Some(mirror.mac_of([10, 0, 2, 2])), NUD_STALE);
        assert_eq!(mirror.marks(), [0; 0]);
        mirror.bench.passes(&Frame::to([10, 77, 0, 2]), Outcome::PassNoRoute);
        assert_eq!(mirror.marks(), [0; 0]);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        assert_eq!(mirror.marks(), [mirror.hop_index([10, 0, 2, 2])]);
    });
}

#[test]
fn row_16_local_addresses_pass_and_a_new_one_voids_its_clone() {
    on_mirror(|mirror| {
        for own in [[10, 0, 1, 1], [10, 0, 2, 1]] {
            mirror.bench.passes(&Frame::to(own), Outcome::PassLocal);
        }
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
        mirror.local_address([10, 2, 0, 2]);
        mirror.bench.passes(&Frame::to([10, 2, 0, 2]), Outcome::PassLocal);
        mirror.forwards([10, 2, 0, 3], [10, 0, 2, 2], Outcome::ForwardedRoute);
        // As a source it is a martian from now on (row 12).
        let frame = Frame { source: [10, 2, 0, 2], destination: [10, 2, 0, 3], ..Frame::udp() };
        mirror.bench.passes(&frame.bytes(), Outcome::PassMartianSource);
    });
}

#[test]
fn row_14_the_broadcast_address_of_a_network_passes() {
    on_mirror(|mirror| {
        mirror.bench.passes(&Frame::to([10, 0, 2, 255]), Outcome::PassBroadcast);
    });
}

#[test]
fn row_38_an_interface_that_goes_down_gets_nothing() {
    on_mirror(|mirror| {
        mirror.route("10.2.0.0/16", Some([10, 0, 2, 2]));
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedRoute);
        mirror.set_out_running(false);
        mirror.bench.passes(&Frame::udp().bytes(), Outcome::PassEgress);
        mirror.set_out_running(true);
        mirror.forwards([10, 2, 0, 2], [10, 0, 2, 2], Outcome::ForwardedClone);
    });
}
