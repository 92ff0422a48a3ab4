//! Random scripts.

use proptest::prelude::*;

use super::model::{INTERFACES, STATIC, Switches};
use crate::sweep::{
    pressure::Pressure,
    settings::{Seconds, Setting, Settings},
};

/// Destinations that packets go to.
const DESTINATIONS: u8 = 10;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Packet {
        cpu: usize,
        destination: u8,
    },
    /// Time passes, and timers fire when they are due.
    Run {
        jiffies: u64,
    },
    /// Time passes at once, and late timers fire at its end.
    Jump {
        jiffies: u64,
    },
    Set(Setting, u64),
    Drain {
        cpu: usize,
    },
    LinkDown {
        interface: u8,
        is_forced: bool,
    },
    Pressure(Pressure),
    /// A clone cannot be deleted, or can be again.
    Stick {
        destination: u8,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) cpus: usize,
    pub(super) hz: u64,
    pub(super) settings: Settings,
    pub(super) steps: Vec<Step>,
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    let hz = prop::sample::select(vec![24, 100, 250, 1000]);
    (1..4usize, hz, settings(), steps()).prop_map(|(cpus, hz, settings, steps)| Script {
        cpus,
        hz,
        settings,
        steps,
    })
}

pub(super) fn switches() -> impl Strategy<Value = Switches> {
    let cap = prop::option::of(1..6usize);
    any::<[bool; 4]>().prop_flat_map(move |on| {
        let [recovery, punctual, drain_reaches_all, scan_resistance] = on;
        cap.clone().prop_map(move |hard_cap| Switches {
            recovery,
            punctual,
            drain_reaches_all,
            hard_cap,
            scan_resistance,
        })
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    (rtexpire(), rtminexpire(), rtmaxcache(), interval()).prop_map(
        |(rtexpire, rtminexpire, rtmaxcache, sweep_interval)| Settings {
            rtexpire: Seconds(rtexpire),
            rtminexpire: Seconds(rtminexpire),
            rtmaxcache,
            sweep_interval: Seconds(sweep_interval),
        },
    )
}

fn rtexpire() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 6 => 1..60u64, 3 => 60..1000u64, 2 => Just(3600)]
}

fn rtminexpire() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(10), 1..100u64]
}

fn rtmaxcache() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..8u64, 1 => Just(128)]
}

fn interval() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..5u64, 3 => 5..60u64, 2 => Just(600)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let packet = || {
        let destination = prop_oneof![20 => 0..DESTINATIONS, 1 => Just(STATIC)];
        (0..3usize, destination).prop_map(|(cpu, destination)| Step::Packet { cpu, destination })
    };
    let setting = prop_oneof![
        3 => rtexpire().prop_map(|value| (Setting::RtExpire, value)),
        1 => rtminexpire().prop_map(|value| (Setting::RtMinExpire, value)),
        1 => rtmaxcache().prop_map(|value| (Setting::RtMaxCache, value)),
        1 => interval().prop_map(|value| (Setting::SweepInterval, value)),
    ];
    let pressure = prop::sample::select(vec![
        Pressure::None,
        Pressure::None,
        Pressure::Sweep,
        Pressure::Shrink,
        Pressure::Drain,
    ]);
    let step = prop_oneof![
        24 => packet(),
        4 => (0..3000u64).prop_map(|jiffies| Step::Run { jiffies }),
        4 => (0..60_000u64).prop_map(|jiffies| Step::Run { jiffies }),
        1 => (0..10_000_000u64).prop_map(|jiffies| Step::Jump { jiffies }),
        4 => setting.prop_map(|(setting, value)| Step::Set(setting, value)),
        1 => (0..3usize).prop_map(|cpu| Step::Drain { cpu }),
        1 => (0..INTERFACES, any::<bool>())
            .prop_map(|(interface, is_forced)| Step::LinkDown { interface, is_forced }),
        1 => pressure.prop_map(Step::Pressure),
        1 => (0..DESTINATIONS).prop_map(|destination| Step::Stick { destination }),
    ];
    prop::collection::vec(step, 1..60)
}
