//! A network route, as the value of the trie.

use crate::{NextHopId, Outcome};

/// What to do with a packet that a route covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Forward through this next hop.
    Via(NextHopId),
    /// The destination itself is the next hop, on the interface with this index.
    OnLink(u32),
    /// Forward through one of the next hops of the group with this number, see [`BUCKETS`].
    Group(u32),
    /// Leave it to the kernel, for this reason.
    Pass(Outcome),
}

/// Buckets of a next-hop group. A flow's hash picks one; a member stands in as many as its weight deserves.
///
/// Group `g` has the elements from `g * BUCKETS` on; each is a next-hop id, changed by one store.
pub const BUCKETS: u32 = 256;

/// Kind codes: what is not one of these is the discriminant of an [`Outcome`] plus [`KIND_PASS`].
const KIND_VIA: u8 = 0;
const KIND_ON_LINK: u8 = 1;
const KIND_GROUP: u8 = 2;
const KIND_PASS: u8 = 3;

/// Value of the routes trie. A clone begins with a copy of its words.
///
/// Words instead of fields, because kernel 6.1 refuses an inner map made in user space whose value is a struct in
/// BTF. The program copies and compares whole words.
///
/// ```text
/// word 0  next-hop id, or interface index if on-link, or number of the group
/// word 1  slot
/// word 2  generation of the slot
/// word 3  31..16 route MTU   15..8 kind   7..0 prefix length
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// What to do.
    pub action: Action,
    /// The slot whose generation tells whether a copy of this value is still good.
    pub slot: u32,
    /// The slot's generation when this value was written.
    pub generation: u32,
    /// The route's own MTU in bytes (its `mtu` metric), or 0 for the interface's.
    pub mtu: u16,
    /// Length of the route's prefix in bits.
    pub prefix_len: u8,
}

/// [`Route`] as it lies in the map.
///
/// Words of 32 bits, because a trie puts its values behind the 4 bytes of an address.
pub type RouteWords = [u32; 4];

impl Route {
    /// Stands for no slot: no clone can be made of these words.
    pub const NO_SLOT: u32 = u32::MAX;

    /// Packs into map words.
    #[must_use]
    #[inline(always)]
    pub const fn pack(self) -> RouteWords {
        let (kind, target) = match self.action {
            Action::Via(id) => (KIND_VIA, id.0),
            Action::OnLink(ifindex) => (KIND_ON_LINK, ifindex),
            Action::Group(group) => (KIND_GROUP, group),
            Action::Pass(outcome) => (KIND_PASS + outcome as u8, 0),
        };
        [
            target,
            self.slot,
            self.generation,
            (self.mtu as u32) << 16 | (kind as u32) << 8 | self.prefix_len as u32,
        ]
    }

    /// Unpacks from map words. A kind that no agent writes reads as "leave it to the kernel".
    #[must_use]
    #[inline(always)]
    pub const fn unpack(words: RouteWords) -> Self {
        let action = match (words[3] >> 8) as u8 {
            KIND_VIA => Action::Via(NextHopId(words[0])),
            KIND_ON_LINK => Action::OnLink(words[0]),
            KIND_GROUP => Action::Group(words[0]),
            code => match Outcome::from_code(code - KIND_PASS) {
                Some(outcome) => Action::Pass(outcome),
                None => Action::Pass(Outcome::PassRoute),
            },
        };
        Self {
            action,
            slot: words[1],
            generation: words[2],
            mtu: (words[3] >> 16) as u16,
            prefix_len: words[3] as u8,
        }
    }

    /// These words with the action replaced by a resolved next hop: the head of a clone.
    #[must_use]
    #[inline(always)]
    pub const fn resolved(words: RouteWords, id: NextHopId) -> RouteWords {
        [id.0, words[1], words[2], words[3] & !(0xff << 8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_is_lossless() {
        let mut actions = [Action::Via(NextHopId(0xdead_beef)); 64];
        actions[0] = Action::OnLink(77);
        actions[1] = Action::Group(1023);
        for (i, outcome) in Outcome::ALL.iter().enumerate() {
            actions[i + 2] = Action::Pass(*outcome);
        }
        for action in actions {
            let route = Route {
                action,
                slot: 0x8765_4321,
                generation: u32::MAX,
                mtu: 9000,
                prefix_len: 24,
            };
            assert_eq!(Route::unpack(route.pack()), route);
        }
    }

    #[test]
    fn an_unknown_kind_passes() {
        assert_eq!(Route::unpack([0, 0, 0, 0xff << 8]).action, Action::Pass(Outcome::PassRoute));
    }

    #[test]
    fn a_resolved_on_link_route_names_the_next_hop_and_keeps_the_rest() {
        let route =
            Route { action: Action::OnLink(7), slot: 3, generation: 9, mtu: 1400, prefix_len: 16 };
        let resolved = Route::unpack(Route::resolved(route.pack(), NextHopId(5)));
        assert_eq!(resolved, Route { action: Action::Via(NextHopId(5)), ..route });
    }
}
