//! Why a packet goes where it goes: the steps of the data plane in its order, judged by the tables it was written.
//!
//! [`arrival`]: what is asked of any packet; [`sender`]: where it comes from; [`way`]: where it goes; [`kernel`]: what the
//! kernel says to the same. [`addresses`]: which ones are never forwarded.

mod addresses;
mod arrival;
mod kernel;
mod sender;
mod way;

use route_cache_common::Outcome;

use crate::{control::protocol::StepEntry, fib::why::Why};

pub(super) use self::{
    arrival::arrive,
    kernel::{DIFFERS, Ours, compare, question},
    sender::send,
    way::{Destination, admit, follow},
};

/// What a step comes to: what is so, or how a packet ends there and why.
type Judged = Result<String, (Outcome, String)>;

/// The steps so far.
#[derive(Default)]
pub(super) struct Steps {
    all: Vec<StepEntry>,
    ended: Option<(Outcome, String)>,
}

impl Steps {
    /// How the packet ends, if it ends before the last step.
    pub(super) fn ended(&self) -> Option<&(Outcome, String)> {
        self.ended.as_ref()
    }

    /// All of them.
    pub(super) fn into_entries(self) -> Vec<StepEntry> {
        self.all
    }

    fn ok(&mut self, step: &str, reason: impl Into<String>) {
        self.add(step, "ok", None, reason.into());
    }

    /// The step depends on what was not given.
    fn not_asked(&mut self, step: &str, reason: &str) {
        self.add(step, "not_asked", None, reason.to_owned());
    }

    fn judge(&mut self, step: &str, judged: Judged) {
        match judged {
            Ok(reason) => self.ok(step, reason),
            Err((outcome, reason)) => {
                self.add(step, "passes", Some(outcome), reason.clone());
                // What comes after the first has no say any more.
                self.ended.get_or_insert((outcome, reason));
            }
        }
    }

    /// The same with reasons that have codes.
    fn stand_aside(&mut self, step: &str, outcome: Outcome, reasons: &[Why], fine: String) {
        if reasons.is_empty() {
            return self.ok(step, fine);
        }
        let sentences: Vec<_> = reasons.iter().map(|why| why.sentence.as_str()).collect();
        self.judge(step, Err((outcome, sentences.join("; "))));
        if let Some(entry) = self.all.last_mut() {
            entry.codes = reasons.iter().map(|why| why.code.name().to_owned()).collect();
        }
    }

    fn add(&mut self, step: &str, result: &str, outcome: Option<Outcome>, reason: String) {
        self.all.push(StepEntry {
            step: step.to_owned(),
            result: result.to_owned(),
            outcome: outcome.map(|outcome| outcome.name().to_owned()),
            codes: Vec::new(),
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fib::why::Code;

    #[test]
    fn the_first_step_that_passes_decides_and_the_others_are_told_all_the_same() {
        let mut steps = Steps::default();
        let rules = Why::new(Code::Rules, "a rule");
        let reasons = [Why::new(Code::Tc, "a hook"), rules];
        steps.ok("promise", "fresh");
        steps.stand_aside("family", Outcome::PassDisabled, &[], "fine".to_owned());
        steps.not_asked("source", "give it");
        assert!(steps.ended().is_none());
        steps.stand_aside("interface", Outcome::PassInterface, &reasons, String::new());
        steps.judge("route", Err((Outcome::PassNoRoute, "none".to_owned())));
        let ended = steps.ended().cloned();
        assert_eq!(ended, Some((Outcome::PassInterface, "a hook; a rule".to_owned())));
        let entries = steps.into_entries();
        let results: Vec<_> = entries.iter().map(|entry| entry.result.as_str()).collect();
        assert_eq!(results, ["ok", "ok", "not_asked", "passes", "passes"]);
        assert_eq!(entries[3].codes, ["tc", "rules"]);
        assert_eq!(entries[4].outcome.as_deref(), Some("pass_no_route"));
    }
}
