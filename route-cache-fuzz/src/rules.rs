//! Random policy rules, and tables of their own.

use crate::{
    case::PORTS,
    random::Random,
    tables::{gateway, source_net},
    topology::PROTOCOL,
};

/// Tables that nothing but a rule leads to.
const TABLES: [u32; 2] = [100, 101];

/// The rules that were made: what they are written behind, and what is written behind `rule add`.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    made: Vec<(&'static str, String)>,
}

impl Rules {
    /// A rule, and most often routes in the table that it leads to.
    pub fn add(&mut self, random: &mut Random) -> Vec<String> {
        let (v6, table) = (random.percent(40), random.pick(&TABLES));
        let mut commands: Vec<_> = (0..random.below(4)).map(|_| route(random, v6, table)).collect();
        let action = match random.below(10) {
            0 => random.pick(&["blackhole", "unreachable", "prohibit"]).to_owned(),
            1 => "lookup main".to_owned(),
            _ => format!("lookup {table}"),
        };
        let ip = if v6 { "ip -6" } else { "ip" };
        let port = random.below(PORTS);
        let selector = match random.below(12) {
            0..4 => format!("from all iif p{port}"),
            4 | 5 => format!("from all oif p{port}"),
            6 | 7 => format!("from {}", source_net(v6, port)),
            8 => format!("from {} iif p{port}", source_net(v6, random.below(PORTS))),
            9 => format!("from all to {}", source_net(v6, port)),
            10 => "from all fwmark 1".to_owned(),
            _ => format!("not from {}", source_net(v6, port)),
        };
        // One for each, so that their order is that of these numbers; some behind the kernel's own.
        let priority = if random.percent(80) { 100 } else { 40_000 } + self.made.len();
        let rule = format!("{selector} pref {priority} {action}");
        commands.push(format!("{ip} rule add {rule}"));
        self.made.push((ip, rule));
        commands
    }

    /// One goes, if there is any.
    pub fn remove(&self, random: &mut Random) -> Option<String> {
        (!self.made.is_empty()).then(|| {
            let (ip, rule) = random.pick(&self.made);
            format!("{ip} rule del {rule}")
        })
    }
}

/// A route of such a table, to much of what the other tables lead to.
fn route(random: &mut Random, v6: bool, table: u32) -> String {
    let to = if v6 {
        random.pick(&["::/0", "2001:db8::/32", "2001:db8:8000::/33", "fd00:0:0:2::/64"])
    } else {
        random.pick(&["0.0.0.0/0", "10.8.0.0/14", "10.8.0.0/16", "10.9.0.0/16", "10.0.2.0/24"])
    };
    let port = random.below(PORTS);
    let more = format!("table {table} proto {PROTOCOL}");
    match random.below(8) {
        0 => format!("ip route add {} {to} {more}", random.pick(&["blackhole", "throw"])),
        1 => format!("ip route add {to} dev p{port} {more}"),
        _ => {
            let gateway = gateway(v6, port, random.pick(&[2, 3, 4, 20, 21]));
            format!("ip route add {to} via {gateway} dev p{port} {more}")
        }
    }
}
