//! Step: does the agent still vouch for the tables (ARCHITECTURE.md, "Freshness")?

use route_cache_common::{Config, Family, Outcome};

/// Past the deadline everything passes: an agent that is dead, stopped or stuck leaves a plain Linux router behind.
#[inline(always)]
pub fn check(config: Option<&Config>, now: u64) -> Result<&Config, Outcome> {
    let Some(config) = config else {
        return Err(Outcome::PassDisabled);
    };
    if now > config.deadline {
        return Err(Outcome::PassExpired);
    }
    Ok(config)
}

/// A family as a whole may stand aside.
#[inline(always)]
pub fn family<F: Family>(config: &Config) -> Result<(), Outcome> {
    if config.flags & F::ACCELERATE == 0 {
        return Err(Outcome::PassDisabled);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use route_cache_common::{V4, V6};

    #[test]
    fn row_44_past_the_deadline_everything_passes() {
        let config = Config { deadline: 100, flags: Config::ACCELERATE4, ..Config::default() };
        assert!(check(Some(&config), 100).is_ok());
        assert_eq!(check(Some(&config), 101).err(), Some(Outcome::PassExpired));
    }

    #[test]
    fn tables_nobody_vouched_for_are_not_used() {
        assert_eq!(check(Some(&Config::default()), 1).err(), Some(Outcome::PassExpired));
        assert_eq!(check(None, 1).err(), Some(Outcome::PassDisabled));
    }

    #[test]
    fn one_family_stands_aside_without_the_other() {
        let config = Config { flags: Config::ACCELERATE6, ..Config::default() };
        assert_eq!(family::<V4>(&config), Err(Outcome::PassDisabled));
        assert_eq!(family::<V6>(&config), Ok(()));
    }
}
