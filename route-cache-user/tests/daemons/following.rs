//! Routes are learned, move to another upstream, come back, and go with their sessions.

use crate::{
    daemon::{Choice, Kind, Loss},
    place::{Place, sample},
    speaker::PREFIXES,
};

fn routes_are_followed(label: &str, kind: Kind) {
    let mut place = Place::start(label, kind, Choice::First, Loss::Withdraws);
    let (server, other) = (place.server.address, place.other.address);
    let clones = sample().count() as u64;

    place.await_via("learned", server);
    let listed = place.router.exec(&["ip", "route", "show", "root", "100.64.0.0/10"]).unwrap();
    let by_object = listed.matches(" nhid ").count();
    let expected = if kind == Kind::Frr { PREFIXES as usize } else { 0 };
    assert_eq!(by_object, expected, "FRR uses next-hop objects, and BIRD does not");
    place.delivers(true);
    place.delivers(true);
    place.audit_is_clean(clones);

    place.first.as_ref().unwrap().withdraw();
    place.await_via("withdrawn by the better upstream", other);
    place.delivers(false);
    place.audit_is_clean(clones);

    place.first.as_ref().unwrap().announce();
    place.await_via("announced again", server);
    place.delivers(true);
    place.audit_is_clean(clones);

    // Dropped is killed: nothing is said but by the kernel, which closes the connection.
    place.first = None;
    place.await_via("one session lost", other);
    place.delivers(false);
    place.audit_is_clean(clones);

    place.second = None;
    place.await_none("both sessions lost");
    let delivery = place.deliver();
    assert_eq!((delivery.server, delivery.other, delivery.by_xdp), (0, 0, 0), "{}", place.story());
    place.audit_is_clean(0);
    place.kept_up();
}

#[test]
fn routes_of_bird_are_followed() {
    routes_are_followed("bird", Kind::Bird);
}

#[test]
fn routes_of_frr_are_followed() {
    routes_are_followed("frr", Kind::Frr);
}
