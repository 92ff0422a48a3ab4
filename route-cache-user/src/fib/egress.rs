//! Whether an interface takes redirected frames (row 37): as the kernel tells by its `xdp-features`, or, before Linux 6.3,
//! as a probe frame has shown.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    message::{Ifindex, XDP_FEATURE_NDO_XMIT},
    mirror::Fib,
    why::{Code, Why},
};

/// What a probe frame has shown: it was sent, or the sentence why not.
pub(crate) type Probed = Result<(), String>;

/// Who says whether an interface takes redirected frames.
#[derive(Debug, Default)]
pub(super) enum Takers {
    /// The kernel ([`Tables::features`](super::tables::Tables::features)).
    #[default]
    Told,
    /// Probe frames, as far as there is an answer.
    Probed(BTreeMap<Ifindex, Probed>),
}

impl Fib {
    /// From now on probe frames say which interfaces take redirected frames, and not the kernel.
    pub(crate) fn believe_probes(&mut self) {
        self.takers = Takers::Probed(BTreeMap::new());
    }

    /// Whether an interface takes redirected frames, a VLAN device by the port below it.
    pub(super) fn takes_redirects(&self, ifindex: Ifindex) -> Result<(), Why> {
        let port = self.tables.port_of(ifindex);
        self.takes(port).map_err(|sentence| Why { code: Code::NoRedirects, sentence })
    }

    fn takes(&self, port: Ifindex) -> Probed {
        let name = || self.tables.link_name(port);
        let known = match &self.takers {
            Takers::Probed(answers) => {
                let unanswered = || Err(format!("a probe frame to {} has no answer yet", name()));
                return answers.get(&port).cloned().unwrap_or_else(unanswered);
            }
            Takers::Told => self.tables.features.get(&port),
        };
        match known {
            None => {
                Err(format!("the kernel does not tell whether {} takes redirected frames", name()))
            }
            Some(features) if features & XDP_FEATURE_NDO_XMIT != 0 => Ok(()),
            Some(_) if self.tables.links.get(&port).is_some_and(|link| link.kind.is_some()) => {
                Err(format!(
                    "{} takes no redirected frames: its veth peer needs GRO on (`ethtool -K PEER gro on`) or an XDP program",
                    name()
                ))
            }
            Some(_) => Err(format!("the driver of {} takes no redirected frames", name())),
        }
    }

    /// The interfaces of which nothing else is in doubt: those to send probe frames to.
    pub(crate) fn to_be_probed(&self) -> BTreeSet<Ifindex> {
        let ports = self.tables.links.values().filter(|link| link.vlan.is_none());
        let ports = ports.map(|link| link.ifindex);
        ports.filter(|ifindex| self.tables.egress(*ifindex, self.limits.bypass).is_ok()).collect()
    }

    /// What the last probe frame to an interface has shown.
    pub(crate) fn probed(&self, ifindex: Ifindex) -> Option<&Probed> {
        match &self.takers {
            Takers::Told => None,
            Takers::Probed(answers) => answers.get(&ifindex),
        }
    }

    /// A probe frame has shown something. Judged again if that is news.
    pub(crate) fn set_probed(&mut self, ifindex: Ifindex, probed: Probed) {
        if let Takers::Probed(answers) = &mut self.takers
            && answers.get(&ifindex) != Some(&probed)
        {
            answers.insert(ifindex, probed);
            self.dirty.interfaces.insert(ifindex);
        }
    }

    /// Forgets what was shown of an interface: it is another one now, or may take frames no more.
    pub(super) fn forget_probed(&mut self, ifindex: Ifindex) {
        if let Takers::Probed(answers) = &mut self.takers
            && answers.remove(&ifindex).is_some()
        {
            self.dirty.interfaces.insert(ifindex);
        }
    }

    /// Forgets what was shown of other interfaces than these: by the time they are used again it may be wrong.
    /// Returns whether there were any.
    pub(crate) fn keep_probed(&mut self, those: &BTreeSet<Ifindex>) -> bool {
        let Takers::Probed(answers) = &mut self.takers else { return false };
        let others = answers.extract_if(.., |ifindex, _| !those.contains(ifindex));
        let before = self.dirty.interfaces.len();
        self.dirty.interfaces.extend(others.map(|(ifindex, _)| ifindex));
        self.dirty.interfaces.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::{
        family::IpFamily,
        message::{Event, Link},
        mirror::Limits,
        tables::Tables,
    };

    const VETH: Ifindex = 7;

    fn with_veth() -> Fib {
        let mut fib = Fib::new(Limits { routes: 8, hops: 8, groups: 1, bypass: false });
        fib.replace(Tables::default());
        fib.apply(Event::Link(veth(0x1_0001)));
        fib
    }

    fn veth(flags: u32) -> Link {
        Link {
            ifindex: VETH,
            name: "veth0".into(),
            hardware: 1,
            flags,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            kind: Some("veth".into()),
            bus: None,
            master: None,
            vlan: None,
            takes_from: None,
            xdp_program: None,
        }
    }

    fn reason(fib: &Fib) -> String {
        fib.egress(IpFamily::V4, VETH).err().map_or_else(String::new, |why| why.sentence)
    }

    #[test]
    fn row_37_where_features_tell_there_are_no_probes() {
        let mut fib = with_veth();
        assert!(reason(&fib).contains("the kernel does not tell"), "{}", reason(&fib));
        fib.set_probed(VETH, Ok(()));
        assert_eq!(fib.probed(VETH), None);
        assert!(!reason(&fib).is_empty());
        for (features, is_taken) in [(0, false), (XDP_FEATURE_NDO_XMIT, true), (3, false)] {
            fib.apply(Event::XdpFeatures { ifindex: VETH, features });
            assert_eq!(reason(&fib).is_empty(), is_taken, "{features}: {}", reason(&fib));
        }
    }

    #[test]
    fn row_37_where_probes_tell_an_interface_is_used_only_while_they_say_so() {
        let mut fib = with_veth();
        fib.believe_probes();
        fib.apply(Event::XdpFeatures { ifindex: VETH, features: XDP_FEATURE_NDO_XMIT });
        assert_eq!(reason(&fib), "a probe frame to veth0 has no answer yet");
        assert_eq!(fib.to_be_probed(), [VETH].into());
        fib.set_probed(VETH, Ok(()));
        assert_eq!(reason(&fib), "");
        fib.set_probed(VETH, Err("it was refused".into()));
        assert_eq!(reason(&fib), "it was refused");
        fib.set_probed(VETH, Ok(()));
        assert_eq!(reason(&fib), "");
        // Down and up again: what was shown before counts no more.
        fib.apply(Event::Link(veth(0)));
        assert_eq!(fib.to_be_probed(), [].into());
        fib.keep_probed(&[].into());
        assert_eq!(fib.probed(VETH), None);
    }

    #[test]
    fn row_37_what_was_shown_of_a_link_goes_with_each_change_of_it_whatever_comes_after() {
        let up = || veth(0x1_0001);
        let changes: [(&[Event], bool); 4] = [
            (&[Event::Link(up())], false),
            (&[Event::Link(veth(0)), Event::Link(up())], true),
            (&[Event::LinkGone(VETH), Event::Link(up())], true),
            (&[Event::LinkGone(VETH + 1)], false),
        ];
        for (events, is_change) in changes {
            let mut fib = with_veth();
            fib.believe_probes();
            fib.set_probed(VETH, Ok(()));
            for event in events {
                fib.apply(event.clone());
            }
            assert_eq!(fib.probed(VETH).is_none(), is_change, "{events:?}");
        }
    }

    #[test]
    fn row_37_what_was_shown_of_a_link_goes_when_a_dump_tells_that_it_changed() {
        let other = Link { mac: Some([2, 0, 0, 0, 0, 2]), ..veth(0x1_0001) };
        for (link, is_change) in [(veth(0x1_0001), false), (other, true)] {
            let mut fib = with_veth();
            fib.believe_probes();
            fib.set_probed(VETH, Ok(()));
            let mut tables = Tables::default();
            tables.apply(Event::Link(link));
            fib.replace(tables);
            assert_eq!(fib.probed(VETH).is_none(), is_change);
        }
    }
}
