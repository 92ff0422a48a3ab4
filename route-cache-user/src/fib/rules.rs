//! What policy rules (`ip rule`) mean for forwarded packets (forwarding.md row 19). Pure judgements.

use route_cache_common::V4;

use super::{
    family::{IpFamily, NetFamily},
    message::Rule,
    tables::Tables,
    verdict::{TABLE_DEFAULT, TABLE_LOCAL, table_name},
};

/// FR_ACT_TO_TBL (include/uapi/linux/fib_rules.h).
const LOOKUP: u8 = 1;

/// What a rule can do to a forwarded packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect<'a> {
    /// Nothing.
    None,
    /// Anything, to what this interface receives.
    Interface(&'a str),
    /// A table is looked up for every packet.
    Lookup(u32),
    /// Anything, to any packet.
    Any,
}

impl Rule {
    /// `fib_rule_match`, net/core/fib_rules.c.
    fn effect(&self) -> Effect<'_> {
        if self.inverted {
            return Effect::Any;
        }
        // The flow of a forwarded packet names no egress interface; that of a packet of the host's own may.
        if self.oif.is_some() {
            return Effect::None;
        }
        if let Some(interface) = self.iif.as_deref() {
            return Effect::Interface(interface);
        }
        // It matches what comes from or goes to an interface of a VRF; such stand aside anyway.
        if self.l3mdev {
            return Effect::None;
        }
        if self.selective || self.action != LOOKUP {
            Effect::Any
        } else {
            Effect::Lookup(self.table)
        }
    }
}

impl Tables {
    /// What policy rules stand against a family as a whole: any by which packets of every interface may go elsewhere
    /// than the kernel's own rules lead them.
    pub(crate) fn against_rules<F: NetFamily>(&self) -> Option<String> {
        let of_family = F::tables(self);
        let used = &of_family.routes.used_tables;
        let command = command(F::FAMILY);
        let mut lookups = Vec::new();
        for rule in &of_family.rules {
            match rule.effect() {
                Effect::None => {}
                Effect::Interface(_) if !self.has_odd_routes::<F>(rule.table) => {}
                Effect::Interface(_) => {
                    return Some(format!(
                        "policy rule {} leads to table {}, which has local or broadcast routes (`{command}`)",
                        rule.priority,
                        table_name(rule.table)
                    ));
                }
                Effect::Lookup(table) if !used.contains_key(&table) => {}
                Effect::Lookup(table) => lookups.push((rule.priority, table)),
                Effect::Any => {
                    return Some(format!(
                        "policy rule {} can lead packets elsewhere (`{command}`)",
                        rule.priority
                    ));
                }
            }
        }
        lookups.sort_unstable();
        if let Some([(priority, _), _]) =
            lookups.array_windows().find(|[(a, x), (b, y)]| a == b && x != y)
        {
            return Some(format!("there are several policy rules {priority} (`{command}`)"));
        }
        lookups.dedup_by_key(|(_, table)| *table);
        let order = F::RULES.iter().map(|(_, table)| *table);
        let wanted: Vec<_> = order.filter(|table| used.contains_key(table)).collect();
        if lookups.iter().map(|(_, table)| table).eq(&wanted) {
            return None;
        }
        let stranger = lookups.iter().find(|(_, table)| !wanted.contains(table));
        Some(match stranger {
            Some((priority, table)) => format!(
                "policy rule {priority} looks up table {} for every packet (`{command}`)",
                table_name(*table)
            ),
            None => format!(
                "policy rules look up the kernel's own tables in another order, or not all of them (`{command}`)"
            ),
        })
    }

    /// What policy rules stand against forwarding what an interface receives.
    pub(crate) fn against_rules_of(&self, family: IpFamily, name: &str) -> Option<String> {
        let mut rules = match family {
            IpFamily::V4 => self.v4.rules.iter(),
            IpFamily::V6 => self.v6.rules.iter(),
        };
        let rule = rules.find(|rule| rule.effect() == Effect::Interface(name))?;
        let command = command(family);
        Some(format!("policy rule {} is for packets from {name} (`{command}`)", rule.priority))
    }

    /// An IPv4 rule by which the way back to a source is looked up elsewhere than the way forth: the kernel does it as if the
    /// packet came from where it leaves (`__fib_validate_source`).
    pub(crate) fn rule_of_ways_back(&self) -> Option<u32> {
        let by_interface =
            |rule: &&Rule| matches!(rule.effect(), Effect::Interface(name) if name != "lo");
        self.v4.rules.iter().find(by_interface).map(|rule| rule.priority)
    }

    /// Whether there are other IPv4 rules than those of a fresh namespace. If so, the kernel looks every source up
    /// (`fib4_has_custom_rules`).
    pub(crate) fn has_custom_rules(&self) -> bool {
        self.v4.rules.len() != V4::RULES.len()
            || self.v4.rules.iter().any(|rule| {
                rule.effect() != Effect::Lookup(rule.table)
                    || !V4::RULES.contains(&(rule.priority, rule.table))
            })
    }

    /// Whether a table beyond the kernel's own had routes to other than unicast destinations since the last dump.
    fn has_odd_routes<F: NetFamily>(&self, table: u32) -> bool {
        !matches!(table, TABLE_DEFAULT..=TABLE_LOCAL)
            && F::tables(self).routes.used_tables.get(&table).copied().unwrap_or(false)
    }
}

const fn command(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ip rule",
        IpFamily::V6 => "ip -6 rule",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::verdict::TABLE_MAIN;

    fn rule(priority: u32, table: u32) -> Rule {
        Rule {
            family: IpFamily::V4,
            priority,
            table,
            action: LOOKUP,
            iif: None,
            oif: None,
            l3mdev: false,
            inverted: false,
            selective: false,
        }
    }

    /// With routes in local, main and the tables given.
    fn tables(rules: &[Rule], used: &[u32]) -> Tables {
        let mut tables = Tables::default();
        tables.v4.rules = rules.to_vec();
        for table in [TABLE_LOCAL, TABLE_MAIN].iter().chain(used) {
            tables.v4.routes.used_tables.insert(*table, false);
        }
        tables
    }

    fn with(extra: Rule) -> [Rule; 4] {
        [rule(0, TABLE_LOCAL), rule(32_766, TABLE_MAIN), rule(32_767, TABLE_DEFAULT), extra]
    }

    #[test]
    fn row_19_the_default_three_rules_stand_against_nothing() {
        let default = &with(rule(0, 0))[..3];
        assert_eq!(tables(default, &[]).against_rules::<V4>(), None);
        assert_eq!(tables(default, &[TABLE_DEFAULT, 100]).against_rules::<V4>(), None);
        assert!(!tables(default, &[]).has_custom_rules());
        // Without the rule for table default: as long as that is empty.
        assert_eq!(tables(&default[..2], &[]).against_rules::<V4>(), None);
        assert!(tables(&default[..2], &[TABLE_DEFAULT]).against_rules::<V4>().is_some());
        assert!(tables(&default[1..], &[]).against_rules::<V4>().is_some());
        assert!(tables(&default[..1], &[]).against_rules::<V4>().is_some());
        assert!(tables(&[], &[]).against_rules::<V4>().is_some());
    }

    #[test]
    fn row_19_a_rule_for_one_interface_stands_against_that_one() {
        let of_eth1 = Rule { iif: Some("eth1".into()), ..rule(100, 7) };
        for of_eth1 in [of_eth1.clone(), Rule { selective: true, action: 6, ..of_eth1 }] {
            let mut tables = tables(&with(of_eth1), &[7]);
            assert_eq!(tables.against_rules::<V4>(), None);
            assert_eq!(tables.against_rules_of(IpFamily::V4, "eth0"), None);
            assert_eq!(
                tables.against_rules_of(IpFamily::V4, "eth1").as_deref(),
                Some("policy rule 100 is for packets from eth1 (`ip rule`)")
            );
            assert_eq!(tables.rule_of_ways_back(), Some(100));
            assert!(tables.has_custom_rules());
            tables.v4.routes.used_tables.insert(7, true);
            assert!(tables.against_rules::<V4>().is_some_and(|reason| reason.contains("table 7")));
        }
    }

    #[test]
    fn row_19_rules_that_no_forwarded_packet_meets_stand_against_nothing() {
        let local_only = Rule { oif: Some("eth1".into()), selective: true, ..rule(100, 7) };
        let of_vrfs = Rule { l3mdev: true, ..rule(1000, 0) };
        let of_the_host = Rule { iif: Some("lo".into()), ..rule(100, 7) };
        for harmless in [local_only, of_vrfs, of_the_host, rule(100, 8), rule(5, TABLE_LOCAL)] {
            let tables = tables(&with(harmless.clone()), &[7]);
            assert_eq!(tables.against_rules::<V4>(), None, "{harmless:?}");
            assert_eq!(tables.against_rules_of(IpFamily::V4, "eth1"), None, "{harmless:?}");
            assert_eq!(tables.rule_of_ways_back(), None, "{harmless:?}");
            assert!(tables.has_custom_rules());
        }
    }

    #[test]
    fn row_19_rules_that_can_matter_to_everything_stand_against_it() {
        let inverted = Rule { iif: Some("eth1".into()), inverted: true, ..rule(100, 7) };
        let by_mark = Rule { selective: true, ..rule(100, TABLE_MAIN) };
        let unreachable = Rule { action: 7, ..rule(100, 0) };
        for harmful in [inverted, by_mark, unreachable, rule(100, 7), rule(0, 7)] {
            let reason = tables(&with(harmful.clone()), &[7]).against_rules::<V4>();
            assert!(reason.is_some(), "{harmful:?}");
        }
        let twice_main = with(rule(100, TABLE_MAIN));
        assert_eq!(tables(&twice_main, &[]).against_rules::<V4>(), None);
        let default_first = with(rule(100, TABLE_DEFAULT));
        assert!(tables(&default_first, &[TABLE_DEFAULT]).against_rules::<V4>().is_some());
    }
}
