//! What must hold between settings.

use std::time::Duration;

use super::{
    origin::Origin,
    problem::{Problem, Problems},
    settings::Settings,
    table::Setting,
};

/// What is wrong between settings whose values are right, each for itself.
pub(super) fn check(settings: &Settings) -> Problems {
    let mut wrong = Problems::default();
    let rtexpire: Duration = settings.get(Setting::RtExpire);
    let rtminexpire: Duration = settings.get(Setting::RtMinExpire);
    // 0 is not a short timeout: it turns the cache off, and there is nothing to shrink.
    if rtminexpire > rtexpire && rtexpire != Duration::ZERO {
        wrong.0.push(more_than(settings, Setting::RtMinExpire, Setting::RtExpire));
    }
    if settings.get::<u32>(Setting::RtMaxCache) > settings.get(Setting::ClonesPerCpu) {
        wrong.0.push(more_than(settings, Setting::RtMaxCache, Setting::ClonesPerCpu));
    }
    wrong
}

/// `FILE:3:14: rtminexpire (2h) is more than rtexpire (1h, default)`.
fn more_than(settings: &Settings, less: Setting, more: Setting) -> Problem {
    let (first, second) = (settings.given(less), settings.given(more));
    let (value, limit) = (settings.value(less), settings.value(more));
    match (&first.origin, &second.origin) {
        (Origin::File(place), origin) => {
            Problem::at(place, format!("{less} ({value}) is more than {more} ({limit}, {origin})"))
        }
        (origin, Origin::File(place)) => {
            Problem::at(place, format!("{more} ({limit}) is less than {less} ({value}, {origin})"))
        }
        (one, other) => {
            Problem::new(format!("{less} ({value}, {one}) is more than {more} ({limit}, {other})"))
        }
    }
}
