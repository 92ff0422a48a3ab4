//! VLAN devices and the interfaces below them (forwarding.md rows 34 and 35). Pure judgements.

use super::{
    message::{Ifindex, Link, Vlan},
    tables::Tables,
};

/// ETH_P_8021Q (include/uapi/linux/if_ether.h).
const ETH_P_8021Q: u16 = 0x8100;

impl Tables {
    /// The interface whose frames those of an interface are: the one below a VLAN device, else itself.
    pub(crate) fn port_of(&self, ifindex: Ifindex) -> Ifindex {
        self.links
            .get(&ifindex)
            .and_then(|link| link.vlan)
            .and_then(|vlan| vlan.lower)
            .unwrap_or(ifindex)
    }

    /// The VLAN devices on an interface.
    pub(crate) fn vlans_on(&self, port: Ifindex) -> impl Iterator<Item = (Ifindex, Vlan)> + '_ {
        self.links.values().filter_map(move |link| {
            link.vlan.filter(|vlan| vlan.lower == Some(port)).map(|vlan| (link.ifindex, vlan))
        })
    }

    /// The interface below a VLAN device, or why the device is left to the kernel.
    pub(crate) fn below(&self, link: &Link, vlan: Vlan) -> Result<Ifindex, String> {
        let name = &link.name;
        let Some(lower) = vlan.lower else {
            return Err(format!("{name} is on an interface of another network namespace"));
        };
        if vlan.protocol != ETH_P_8021Q {
            return Err(format!(
                "{name} is not an IEEE 802.1Q VLAN (802.1ad is left to the kernel)"
            ));
        }
        if !vlan.reorders {
            return Err(format!("{name} has reorder_hdr off"));
        }
        if self.links.get(&lower).is_some_and(|lower| lower.vlan.is_some()) {
            return Err(format!("{name} is a VLAN device on a VLAN device"));
        }
        Ok(lower)
    }
}
