//! One script for model and product, which must agree after every step and every walk: on the live clones and when each
//! expires, on the timeout in force, and on the next wake-up of every CPU.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{
    data_plane::DataPlane,
    model::{Model, STATIC, Switches},
    script::{Script, Step, script, switches},
};
use crate::sweep::{cpu::Purpose, settings::Seconds};

/// Where jiffies start, as the kernel has it: five minutes before 32 bits overflow.
const BOOT: u64 = (1 << 32) - 300_000;

struct Driver {
    model: Model,
    product: DataPlane,
    cpus: usize,
    now: u64,
}

fn run(script: Script, switches: Switches) -> TestCaseResult {
    let Script { cpus, hz, settings, steps } = script;
    let mut driver = Driver {
        model: Model::new(cpus, hz, &settings, switches, BOOT),
        product: DataPlane::new(cpus, hz, settings, switches, BOOT),
        cpus,
        now: BOOT,
    };
    driver.agree("start")?;
    for step in &steps {
        // No two steps in one jiffy: what came first would not be told by `last_used`.
        driver.run_for(1)?;
        driver.take(step, switches)?;
        driver.agree(step)?;
        driver.fire()?;
    }
    Ok(())
}

impl Driver {
    fn take(&mut self, step: &Step, switches: Switches) -> TestCaseResult {
        let (model, product, now) = (&mut self.model, &mut self.product, self.now);
        match *step {
            Step::Packet { cpu, destination } => {
                model.packet(cpu % self.cpus, destination, now);
                product.packet(cpu % self.cpus, destination, now);
            }
            Step::Run { jiffies } => self.run_for(jiffies)?,
            Step::Jump { jiffies } => {
                self.now += jiffies;
                self.fire()?;
            }
            Step::Set(setting, value) => {
                model.set(setting, value, now);
                prop_assert_eq!(product.life.set(setting, value, now), Ok(()));
            }
            Step::Drain { cpu } => {
                model.drain(cpu % self.cpus, now);
                let drained = if switches.drain_reaches_all {
                    product.life.drain(now)
                } else {
                    let is_drained = product.life.drain_cpu(cpu % self.cpus, now);
                    is_drained.then_some(cpu % self.cpus).into_iter().collect()
                };
                self.carry_out(drained)?;
            }
            Step::LinkDown { interface, is_forced } => {
                model.link_down(interface, is_forced, now);
                product.link_down(interface, is_forced, now);
            }
            Step::Pressure(pressure) => {
                model.pressure(pressure, now);
                let relief = product.life.note_pressure(pressure, now);
                self.carry_out(relief.drained)?;
            }
            Step::Stick { destination } => {
                if !model.stuck.remove(&destination) {
                    model.stuck.insert(destination);
                }
            }
        }
        Ok(())
    }

    /// Lets time pass; timers fire when they are due.
    fn run_for(&mut self, jiffies: u64) -> TestCaseResult {
        let end = self.now + jiffies;
        loop {
            let due = (0..self.cpus).filter_map(|cpu| self.product.life.wake(cpu)).min();
            self.now = due.map_or(end, |due| due.clamp(self.now, end));
            self.fire()?;
            if due.is_none_or(|due| due > end) || self.now == end {
                return Ok(());
            }
        }
    }

    /// Carries out what is due now, CPU by CPU.
    fn fire(&mut self) -> TestCaseResult {
        for cpu in 0..self.cpus {
            let is_due = self.model.tables[cpu].timer <= self.now;
            let Some(ticket) = self.product.life.begin_walk(cpu, self.now) else {
                prop_assert!(!is_due, "CPU {} does not begin its walk", cpu);
                continue;
            };
            prop_assert!(is_due, "CPU {} walks early", cpu);
            prop_assert_eq!(ticket.purpose(), Purpose::Due);
            self.model.walk(cpu, self.now);
            if self.product.walk(cpu, ticket, &self.model.stuck, self.now).updating {
                let ticket = self.product.life.begin_walk(cpu, self.now);
                let ticket = ticket.expect("the second walk is due at once");
                prop_assert_eq!(ticket.purpose(), Purpose::Updating);
                let next = self.product.walk(cpu, ticket, &self.model.stuck, self.now);
                prop_assert!(!next.updating, "a third walk");
            }
            self.agree(format_args!("walk of CPU {cpu}"))?;
        }
        Ok(())
    }

    /// Carries out drains, which come before walks.
    fn carry_out(&mut self, drained: Vec<usize>) -> TestCaseResult {
        for cpu in drained {
            let ticket = self.product.life.begin_walk(cpu, self.now).expect("a drain is due");
            prop_assert_eq!(ticket.purpose(), Purpose::Drain);
            self.product.walk(cpu, ticket, &self.model.stuck, self.now);
        }
        Ok(())
    }

    fn agree(&self, after: impl std::fmt::Debug) -> TestCaseResult {
        let (life, now) = (&self.product.life, self.now);
        let when = || format!("after {after:?} at {now}");
        prop_assert_eq!(life.rtexpire(), Seconds(self.model.rtexpire), "timeout {}", when());
        for (cpu, table) in self.model.tables.iter().enumerate() {
            // Of what has expired, the product only says so.
            let bound = |expire: u64| if expire <= now { now } else { expire };
            let product: BTreeMap<_, _> =
                self.product.live(cpu).into_iter().map(|(key, at)| (key, bound(at))).collect();
            let model: BTreeMap<_, _> = table
                .entries
                .iter()
                .filter(|(_, entry)| entry.is_managed)
                .map(|(key, entry)| (*key, bound(entry.expire)))
                .collect();
            prop_assert_eq!(product, model, "clones of CPU {} {}", cpu, when());
            prop_assert!(table.entries.contains_key(&STATIC), "S18 {}", when());
            prop_assert_eq!(life.wake(cpu), Some(table.timer), "wake-up of CPU {} {}", cpu, when());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_policy_agrees_with_the_seed(script in script()) {
        run(script, Switches::SEED)?;
    }

    #[test]
    fn the_policy_agrees_with_the_seed_bettered(script in script()) {
        run(script, Switches::PRODUCT)?;
    }

    #[test]
    fn each_betterment_is_independent_of_the_others(
        (script, switches) in (script(), switches())
    ) {
        run(script, switches)?;
    }
}
