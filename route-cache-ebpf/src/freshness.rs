//! Step: does the agent still vouch for the tables (ARCHITECTURE.md, "Freshness")?

use route_cache_common::{Config, Outcome};

/// Past the deadline everything passes: an agent that is dead, stopped or stuck leaves a plain Linux router behind.
#[inline(always)]
pub fn check(config: Option<&Config>, now: u64) -> Result<&Config, Outcome> {
    let Some(config) = config else {
        return Err(Outcome::PassDisabled);
    };
    if now > config.deadline {
        return Err(Outcome::PassExpired);
    }
    if config.flags & Config::ACCELERATE4 == 0 {
        return Err(Outcome::PassDisabled);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_44_past_the_deadline_everything_passes() {
        let config = Config { deadline: 100, flags: Config::ACCELERATE4, ..Config::default() };
        assert!(check(Some(&config), 100).is_ok());
        assert_eq!(check(Some(&config), 101).err(), Some(Outcome::PassExpired));
    }

    #[test]
    fn tables_nobody_vouched_for_are_not_used() {
        assert_eq!(check(Some(&Config::default()), 1).err(), Some(Outcome::PassExpired));
        let off = Config { deadline: 100, ..Config::default() };
        assert_eq!(check(Some(&off), 1).err(), Some(Outcome::PassDisabled));
    }
}
