//! What interfaces do to frames before XDP sees them.
//!
//! VLAN tags that are handed over beside the frame, where XDP does not see them: a tagged frame looks untagged. Physical
//! interfaces do so while the feature `rx-vlan-hw-parse` is on. A veth hands over what its peer left beside the
//! frame (`tx-vlan-hw-insert` there, which may be in another namespace), whatever its own feature says; so that of a veth with
//! VLAN devices is taken for the operator's word that the peer does not. net/ethtool/features.c, drivers/net/veth.c.
//!
//! Segments that hardware has merged into one frame (row 39): `rx-lro`, `rx-gro-hw`. The kernel cuts them apart again; XDP would
//! forward the frame as it is, if it fits the MTU.

use std::collections::HashMap;

use anyhow::Context;
use nix::errno::Errno;

use super::Subject;
use crate::fib::message::Ifindex;
use crate::fib::netlink::{Attribute, DumpError, Exchange, Malformed, Message, Request};
use crate::fib::why::{Code, Why};

// include/uapi/linux/ethtool_netlink.h
const ETHTOOL_GENL_VERSION: u8 = 1;
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_INDEX: u16 = 1;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// NLA_F_NESTED.
const NESTED: u16 = 1 << 15;

/// The features that take tags away: of IEEE 802.1Q and of 802.1ad.
const STRIPPERS: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// The features that merge frames. Of virtio they say nothing: it merges none while there is a program (`virtnet_xdp_set`).
const MERGERS: [&str; 2] = ["rx-lro", "rx-gro-hw"];

/// Says of each interface why what it hands over must not be trusted to be the frames that came.
pub(super) fn reasons(subjects: &[Subject]) -> anyhow::Result<HashMap<Ifindex, Vec<Why>>> {
    let is_suspect = |subject: &&Subject| subject.may_hide_tags || subject.may_merge;
    let mut suspects = subjects.iter().filter(is_suspect).peekable();
    let mut reasons = HashMap::new();
    if suspects.peek().is_none() {
        return Ok(reasons);
    }
    let mut ethtool = Ethtool::open().context("asking for ethtool's features")?;
    for subject in suspects {
        let on = match ethtool.active(subject.ifindex) {
            Ok(on) => on,
            // Gone meanwhile, or an interface without features.
            Err(DumpError::Refused(Errno::ENODEV)) | Err(DumpError::Unsupported) => continue,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("asking for the features of {}", subject.name));
            }
        };
        let against = against(subject, &on);
        if !against.is_empty() {
            reasons.insert(subject.ifindex, against);
        }
    }
    Ok(reasons)
}

/// What features that are on stand against.
fn against(subject: &Subject, on: &[String]) -> Vec<Why> {
    let first = |of: [&'static str; 2]| of.into_iter().find(|name| on.iter().any(|on| on == name));
    let mut reasons = Vec::new();
    if let Some(feature) = first(STRIPPERS).filter(|_| subject.may_hide_tags) {
        reasons.push(Why::new(Code::HiddenTags, hides_tags(subject, feature)));
    }
    if let Some(feature) = first(MERGERS).filter(|_| subject.may_merge) {
        let name = &subject.name;
        let sentence = format!(
            "{name} merges frames before XDP sees them (`ethtool -K {name} {feature} off`)"
        );
        reasons.push(Why::new(Code::MergedFrames, sentence));
    }
    reasons
}

fn hides_tags(subject: &Subject, feature: &str) -> String {
    let name = &subject.name;
    if subject.is_virtual {
        format!(
            "{name} has VLAN devices, and its veth peer may keep tags out of sight of XDP: `ethtool -K PEER \
             tx-vlan-hw-insert off`, then `ethtool -K {name} {feature} off` to say so"
        )
    } else {
        format!("{name} takes VLAN tags out of sight of XDP (`ethtool -K {name} {feature} off`)")
    }
}

struct Ethtool {
    generic: Exchange,
    family: u16,
}

impl Ethtool {
    fn open() -> Result<Self, DumpError> {
        let mut generic = Exchange::open(libc::NETLINK_GENERIC)?;
        let question =
            Request::get(libc::GENL_ID_CTRL as u16, &[libc::CTRL_CMD_GETFAMILY as u8, 1, 0, 0])
                .attribute(libc::CTRL_ATTR_FAMILY_NAME as u16, b"ethtool\0");
        let mut family = None;
        generic.ask(question, |answer| {
            let (_, attributes) = answer.split::<4>()?;
            for attribute in attributes {
                let attribute = attribute?;
                if i32::from(attribute.kind) == libc::CTRL_ATTR_FAMILY_ID {
                    family = Some(attribute.u16()?);
                }
            }
            Ok(())
        })?;
        Ok(Self { generic, family: family.ok_or(DumpError::Unsupported)? })
    }

    /// Names of the features that are on.
    fn active(&mut self, ifindex: u32) -> Result<Vec<String>, DumpError> {
        let mut header = Vec::with_capacity(8);
        header.extend_from_slice(&8u16.to_ne_bytes());
        header.extend_from_slice(&ETHTOOL_A_HEADER_DEV_INDEX.to_ne_bytes());
        header.extend_from_slice(&ifindex.to_ne_bytes());
        let question =
            Request::get(self.family, &[ETHTOOL_MSG_FEATURES_GET, ETHTOOL_GENL_VERSION, 0, 0])
                .attribute(ETHTOOL_A_FEATURES_HEADER | NESTED, &header);
        let mut names = Vec::new();
        self.generic.ask(question, |answer| {
            names = active_names(answer)?;
            Ok(())
        })?;
        Ok(names)
    }
}

/// The bits of the bitset of active features, which has no mask: what is listed is on.
fn active_names(answer: &Message<'_>) -> Result<Vec<String>, Malformed> {
    let (_, attributes) = answer.split::<4>()?;
    let mut names = Vec::new();
    for attribute in attributes {
        let attribute = attribute?;
        if attribute.kind == ETHTOOL_A_FEATURES_ACTIVE {
            for bits in attribute.nested() {
                let bits = bits?;
                if bits.kind == ETHTOOL_A_BITSET_BITS {
                    for bit in bits.nested() {
                        names.extend(name(&bit?)?);
                    }
                }
            }
        }
    }
    Ok(names)
}

fn name(bit: &Attribute<'_>) -> Result<Option<String>, Malformed> {
    for attribute in bit.nested() {
        let attribute = attribute?;
        if attribute.kind == ETHTOOL_A_BITSET_BIT_NAME {
            return Ok(Some(attribute.text()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::netlink::namespace::{index, run, with_veth};

    #[test]
    fn row_34_an_interface_hides_tags_while_its_feature_is_on() {
        with_veth(|| {
            let left = |is_virtual| Subject {
                ifindex: index("left"),
                name: "left".into(),
                may_hide_tags: true,
                may_merge: true,
                is_virtual,
            };
            let found = |subject: Subject| {
                let mut found = reasons(&[subject]).expect("the kernel answers");
                found.remove(&index("left")).unwrap_or_default()
            };
            run("ethtool -K left rx-vlan-hw-parse on rx-vlan-stag-hw-parse off");
            assert_eq!(
                found(left(false)),
                [Why::new(
                    Code::HiddenTags,
                    "left takes VLAN tags out of sight of XDP (`ethtool -K left rx-vlan-hw-parse off`)"
                )]
            );
            let of_veth = found(left(true));
            assert!(of_veth[0].sentence.contains("tx-vlan-hw-insert off"), "{of_veth:?}");
            assert_eq!(found(Subject { may_hide_tags: false, ..left(true) }), []);
            run("ethtool -K left rx-vlan-hw-parse off rx-vlan-stag-hw-parse on");
            let of_provider = found(left(false));
            assert!(of_provider[0].sentence.contains("rx-vlan-stag-hw-parse"), "{of_provider:?}");
            run("ethtool -K left rx-vlan-stag-hw-parse off");
            assert_eq!(found(left(false)), []);
            let gone = Subject { ifindex: 4000, ..left(false) };
            assert_eq!(found(gone), []);
        });
    }

    #[test]
    fn row_39_an_interface_that_merges_frames_stands_aside_and_says_how_to_turn_that_off() {
        let eth0 = Subject {
            ifindex: 2,
            name: "eth0".into(),
            may_hide_tags: false,
            may_merge: true,
            is_virtual: false,
        };
        let on = |feature: &str| ["rx-checksumming".to_owned(), feature.to_owned()];
        for feature in ["rx-lro", "rx-gro-hw"] {
            let why = Why::new(
                Code::MergedFrames,
                format!(
                    "eth0 merges frames before XDP sees them (`ethtool -K eth0 {feature} off`)"
                ),
            );
            assert_eq!(against(&eth0, &on(feature)), [why]);
            let harmless = Subject { may_merge: false, ..eth0.clone() };
            assert_eq!(against(&harmless, &on(feature)), []);
        }
        assert_eq!(against(&eth0, &on("rx-gro")), [], "the kernel cuts what it has merged itself");
    }
}
