//! A test for each rule of the seed that is policy. The steps of S11 stand in `timeout`, the clamps of S9 in `history`, S15
//! in `exempt`.

use crate::sweep::{
    cpu::{Purpose, WalkTicket},
    life::{Adjustment, Better, Life, Next},
    policy::{Fate, Reason, Walk},
    pressure::Pressure,
    settings::{Seconds, Setting, Settings},
};

const HZ: u64 = 250;
/// Some time after boot.
const START: u64 = 1_000_000;

/// So many seconds after the start.
const fn at(seconds: u64) -> u64 {
    START + seconds * HZ
}

fn life(cpus: usize, better: Better) -> Life {
    Life::new(
        cpus,
        HZ,
        Settings { rtmaxcache: 100, ..Settings::for_capacity(65_536) },
        better,
        START,
    )
}

fn seed(cpus: usize) -> Life {
    life(cpus, Better { recovery: false, punctual: false })
}

fn begin(life: &mut Life, cpu: usize, now: u64) -> WalkTicket {
    life.begin_walk(cpu, now).expect("a walk is due")
}

/// A walk that finds so many clones and kills none.
fn walk(life: &mut Life, cpu: usize, found: u64, now: u64) -> Next {
    let ticket = begin(life, cpu, now);
    life.end_walk(ticket, Walk { found, ..Walk::default() }, now)
}

#[test]
fn s7_a_packet_revives_an_idle_clone() {
    let life = seed(1);
    assert_eq!(life.judge(Purpose::Due, at(0), None, at(3600)), Fate::Expire(Reason::Timeout));
    assert_eq!(life.judge(Purpose::Due, at(3599), None, at(3600)), Fate::Keep(at(7199)));
}

#[test]
fn s8_the_expiry_counts_from_the_last_packet_and_a_timeout_of_zero_keeps_nothing() {
    let mut life = seed(1);
    assert_eq!(life.expiry(at(5)), at(3605));
    life.set(Setting::RtExpire, 0, at(10)).unwrap();
    for last_used in [at(5), at(10), at(20)] {
        let fate = life.judge(Purpose::Due, last_used, None, at(20));
        assert_eq!(fate, Fate::Expire(Reason::Timeout));
    }
    assert_eq!(life.wake(0), Some(START), "the first walk is still due");
    walk(&mut life, 0, 0, at(10));
    life.set(Setting::RtExpire, 10, at(11)).unwrap();
    life.set(Setting::RtExpire, 0, at(12)).unwrap();
    assert_eq!(life.wake(0), Some(at(13)), "within a second");
}

#[test]
fn s9_a_failed_delete_is_not_counted_and_is_tried_again() {
    let mut life = seed(1);
    let ticket = begin(&mut life, 0, START);
    let mut result = Walk { found: 101, killed: 0, first_expiry: None };
    result.note_expiry(START);
    let next = life.end_walk(ticket, result, START);
    assert!(next.updating, "what is still there counts for rtmaxcache");
    let ticket = begin(&mut life, 0, START);
    assert_eq!(life.end_walk(ticket, result, START).at, at(1));
}

#[test]
fn s10_the_first_walk_is_at_start_and_the_next_within_the_interval_by_cpu() {
    let mut life = seed(2);
    assert_eq!([life.wake(0), life.wake(1)], [Some(START); 2]);
    assert_eq!(walk(&mut life, 1, 0, at(5)).at, at(605));
    assert_eq!([life.wake(0), life.wake(1)], [Some(START), Some(at(605))]);
    assert!(life.begin_walk(1, at(604)).is_none(), "not before its time");
}

#[test]
fn s11_the_timeout_shrinks_by_a_third_and_not_below_its_minimum() {
    let mut life = seed(1);
    let mut seen = Vec::new();
    for step in 0..20 {
        let next = walk(&mut life, 0, 101, at(600 * step));
        if next.updating {
            assert_eq!(next.at, at(600 * step), "walk again");
            let second = walk(&mut life, 0, 101, at(600 * step));
            assert_eq!((second.updating, second.adjusted), (false, None), "but not a third time");
        }
        seen.extend(next.adjusted.map(|adjustment| adjustment.to.0));
    }
    assert_eq!(seen, [2400, 1600, 1066, 710, 473, 315, 210, 140, 93, 62, 41, 27, 18, 12, 10]);
}

#[test]
fn s11_what_counts_is_what_is_left_after_the_walk() {
    let mut life = seed(1);
    let ticket = begin(&mut life, 0, START);
    let result = Walk { found: 300, killed: 200, first_expiry: None };
    assert_eq!(life.end_walk(ticket, result, START).adjusted, None, "100 is not more than 100");
}

#[test]
fn s11_one_shrink_an_interval_whichever_cpu() {
    let mut life = seed(2);
    assert!(walk(&mut life, 0, 101, at(0)).updating);
    walk(&mut life, 0, 101, at(0));
    assert_eq!(walk(&mut life, 1, 101, at(0)).adjusted, None);
    let early = at(600) - 1;
    life.call(1, early);
    assert_eq!(walk(&mut life, 1, 101, early).adjusted, None);
    life.call(1, at(601));
    let expected = Adjustment { from: Seconds(2400), to: Seconds(1600) };
    assert_eq!(walk(&mut life, 1, 101, at(601)).adjusted, Some(expected));
}

#[test]
fn s12_the_next_walk_is_when_the_first_clone_expires() {
    let mut life = seed(1);
    for (start, first_expiry, next) in
        [(at(0), at(0) + 1, at(1)), (at(1), at(42), at(42)), (at(42), at(9000), at(642))]
    {
        let ticket = begin(&mut life, 0, start);
        let result = Walk { found: 1, killed: 0, first_expiry: Some(first_expiry) };
        assert_eq!(life.end_walk(ticket, result, start).at, next);
        assert_eq!(life.wake(0), Some(next));
    }
}

#[test]
fn s13_a_drain_reaches_all_cpus_but_none_twice_in_a_second() {
    let mut life = seed(3);
    for cpu in 0..3 {
        walk(&mut life, cpu, 0, START);
    }
    assert!(life.drain_cpu(1, at(10)));
    assert_eq!(life.drain(at(10)), [0, 2], "CPU 1 is draining");
    for cpu in 0..3 {
        let ticket = begin(&mut life, cpu, at(10));
        assert_eq!(ticket.purpose(), Purpose::Drain);
        let fate = life.judge(ticket.purpose(), at(10), None, at(10));
        assert_eq!(fate, Fate::Expire(Reason::Drain));
        assert_eq!(life.end_walk(ticket, Walk::default(), at(10)).at, at(600), "the timer stands");
    }
    assert!(life.drain(at(11) - 1).is_empty(), "drained in this same second");
    assert_eq!(life.drain(at(11)), [0, 1, 2]);
}

#[test]
fn s13_a_drain_during_a_walk_follows_it_and_one_during_a_drain_is_skipped() {
    let mut life = seed(1);
    let ticket = begin(&mut life, 0, START);
    assert_eq!(life.drain(at(1)), [0]);
    assert!(life.begin_walk(0, at(1)).is_none());
    assert_eq!(life.end_walk(ticket, Walk::default(), at(2)).at, at(1), "the drain is due");
    let ticket = begin(&mut life, 0, at(2));
    assert_eq!(ticket.purpose(), Purpose::Drain);
    assert!(life.drain(at(5)).is_empty());
    life.break_off(ticket, at(6));
    assert_eq!(life.wake(0), Some(at(7)), "a drain that broke off is due again");
    assert_eq!(begin(&mut life, 0, at(7)).purpose(), Purpose::Drain);
}

#[test]
fn s14_a_clone_that_is_not_current_goes_for_its_own_reason() {
    let life = seed(1);
    let fate = life.judge(Purpose::Due, at(0), Some(Reason::LinkDown), at(0));
    assert_eq!(fate, Fate::Expire(Reason::LinkDown));
}

#[test]
fn s16_settings_act_at_once_and_impossible_values_change_nothing() {
    let mut life = seed(2);
    for cpu in 0..2 {
        walk(&mut life, cpu, 0, START);
    }
    life.set(Setting::RtExpire, 60, at(100)).unwrap();
    assert_eq!((life.rtexpire(), life.expiry(at(50))), (Seconds(60), at(160)), "as a shrink");
    assert_eq!([life.wake(0), life.wake(1)], [Some(at(160)); 2]);
    life.set(Setting::RtExpire, 1000, at(110)).unwrap();
    assert_eq!(life.expiry(at(50)), at(160), "not lengthened");
    assert_eq!(life.expiry(at(105)), at(165), "not lengthened");
    assert_eq!(life.expiry(at(110)), at(1110));
    life.set(Setting::SweepInterval, 5, at(110)).unwrap();
    assert_eq!(life.wake(0), Some(at(115)));
    life.set(Setting::RtMaxCache, 7, at(110)).unwrap();
    assert!(walk(&mut life, 0, 8, at(115)).updating);
    let before = *life.settings();
    let error = life.set(Setting::SweepInterval, 0, at(116)).unwrap_err().to_string();
    assert_eq!(error, "sweep-interval cannot be 0: it must be 1 to 4294967295");
    for setting in Setting::ALL {
        assert!(life.set(setting, 1 << 32, at(116)).is_err(), "{}", setting.name());
    }
    assert_eq!(*life.settings(), before);
}

#[test]
fn s18_what_is_not_a_clone_is_never_asked_about() {
    // Routes of the operator are in no clone table, and nothing but a clone's last packet leads to a fate. That the
    // entries beside the clones stay is held by the model, step by step.
    let life = seed(1);
    assert_eq!(life.judge(Purpose::Due, u64::MAX, None, at(0)), Fate::Keep(u64::MAX));
}

#[test]
fn s19_a_walk_that_still_runs_is_not_started_twice_and_no_cpu_waits_for_another() {
    let mut life = seed(2);
    let ticket = begin(&mut life, 0, START);
    assert_eq!(life.wake(0), None);
    assert!(life.begin_walk(0, at(5000)).is_none());
    assert_eq!(walk(&mut life, 1, 0, at(5000)).at, at(5600));
    life.call(0, at(5000));
    assert!(life.begin_walk(0, at(5000)).is_none(), "called, but still walking");
    assert_eq!(life.end_walk(ticket, Walk::default(), at(5000)).at, at(5001), "then soon");
    let ticket = begin(&mut life, 0, at(5001));
    life.break_off(ticket, at(5001));
    assert_eq!(life.wake(0), Some(at(5002)), "a walk that broke off is due again");
    assert!(life.begin_walk(2, at(9999)).is_none(), "there is no such CPU");
}

#[test]
fn s9_a_shrink_during_a_walk_is_not_lost() {
    let mut life = seed(1);
    let ticket = begin(&mut life, 0, at(0));
    life.set(Setting::RtExpire, 20, at(3)).unwrap();
    let stale = Walk { found: 9, killed: 0, first_expiry: Some(at(3600)) };
    assert_eq!(life.end_walk(ticket, stale, at(4)).at, at(23));
}

#[test]
fn better_the_timeout_recovers_when_every_cpu_has_been_quiet_for_an_interval() {
    let mut life = life(2, Better::ALL);
    assert!(walk(&mut life, 0, 101, at(0)).updating);
    walk(&mut life, 0, 101, at(0));
    walk(&mut life, 1, 50, at(0));
    let mut grown = Vec::new();
    for step in 1..5 {
        for cpu in 0..2 {
            // Half of it is not below half: CPU 1 becomes quiet an interval after CPU 0.
            let left = if cpu == 1 && step == 1 { 50 } else { 49 };
            let next = walk(&mut life, cpu, left, at(600 * step));
            grown.extend(next.adjusted.map(|adjustment| (step, cpu, adjustment.to.0)));
        }
    }
    assert_eq!(grown, [(3, 1, 3600)], "2400 · 3/2");
    assert_eq!(life.rtexpire(), life.settings().rtexpire);
}

#[test]
fn better_no_recovery_under_pressure() {
    let mut life = life(1, Better::ALL);
    assert_eq!(life.note_pressure(Pressure::Shrink, at(0)).adjusted.unwrap().to, Seconds(2400));
    assert_eq!(life.note_pressure(Pressure::Shrink, at(1)).adjusted, None, "one an interval");
    life.note_pressure(Pressure::Sweep, at(2));
    for step in 1..4 {
        assert_eq!(walk(&mut life, 0, 0, at(600 * step)).adjusted, None);
    }
    life.note_pressure(Pressure::None, at(1801));
    assert_eq!(walk(&mut life, 0, 0, at(2400)).adjusted, None, "quiet only now");
    assert_eq!(walk(&mut life, 0, 0, at(3000)).adjusted.unwrap().to, Seconds(3600));
}

#[test]
fn better_pressure_drains_when_it_begins_and_is_not_a_standing_order() {
    let mut life = life(2, Better::ALL);
    assert_eq!(life.note_pressure(Pressure::Drain, at(0)).drained, [0, 1]);
    for cpu in 0..2 {
        let ticket = begin(&mut life, cpu, at(0));
        life.end_walk(ticket, Walk::default(), at(0));
    }
    assert!(life.note_pressure(Pressure::Drain, at(5)).drained.is_empty());
    life.note_pressure(Pressure::Shrink, at(6));
    assert_eq!(life.note_pressure(Pressure::Drain, at(7)).drained, [0, 1]);
}

#[test]
fn better_a_clone_made_after_a_walk_expires_at_its_second() {
    let mut life = life(1, Better::ALL);
    life.set(Setting::RtExpire, 2, START).unwrap();
    assert_eq!(walk(&mut life, 0, 0, at(0)).at, at(2));
}

#[test]
fn better_rtmaxcache_defaults_to_three_quarters_of_the_table() {
    let settings = Settings::for_capacity(65_536);
    assert_eq!(settings.rtmaxcache, 49_152);
    assert_eq!((settings.rtexpire, settings.rtminexpire), (Seconds(3600), Seconds(10)));
    assert_eq!(settings.sweep_interval, Seconds(600));
}
