//! Slots of routes and their generations (ARCHITECTURE.md, "Freshness").

use crate::sweep::policy::Reason;

/// Hands out slots. A slot keeps its generation when it changes hands, so that a clone of the earlier holder never
/// looks current.
#[derive(Debug)]
pub(crate) struct Slots {
    generations: Vec<u32>,
    /// Why each was last raised.
    reasons: Vec<Reason>,
    free: Vec<u32>,
    capacity: u32,
}

impl Slots {
    /// As many slots as the generations map has elements.
    pub(crate) const fn new(capacity: u32) -> Self {
        Self { generations: Vec::new(), reasons: Vec::new(), free: Vec::new(), capacity }
    }

    /// A slot nobody holds, or nothing if all are taken.
    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            return Some(slot);
        }
        let slot =
            u32::try_from(self.generations.len()).ok().filter(|slot| *slot < self.capacity)?;
        self.generations.push(0);
        self.reasons.push(Reason::Route);
        Some(slot)
    }

    /// Gives a slot back. Its generation must have been raised, see [`Slots::raise`].
    pub(crate) fn give_back(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// The next generation of a slot, which voids every copy of the present one for this reason.
    pub(crate) fn raise(&mut self, slot: u32, reason: Reason) -> u32 {
        if let Some(known) = self.reasons.get_mut(slot as usize) {
            *known = reason;
        }
        match self.generations.get_mut(slot as usize) {
            Some(generation) => {
                *generation = generation.wrapping_add(1);
                *generation
            }
            None => 0,
        }
    }

    /// The present generation of a slot.
    pub(crate) fn generation(&self, slot: u32) -> Option<u32> {
        self.generations.get(slot as usize).copied()
    }

    /// Why a clone with this generation of a slot is void; nothing if it is not.
    pub(crate) fn stale(&self, slot: u32, generation: u32) -> Option<Reason> {
        if self.generation(slot) == Some(generation) {
            return None;
        }
        Some(self.reasons.get(slot as usize).copied().unwrap_or(Reason::Route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_changes_hands_keeps_its_generation() {
        let mut slots = Slots::new(1);
        let slot = slots.take().unwrap();
        assert_eq!(slots.take(), None);
        let first = slots.generation(slot);
        slots.raise(slot, Reason::LinkDown);
        assert_eq!(slots.stale(slot, 0), Some(Reason::LinkDown));
        assert_eq!(slots.stale(slot, 1), None);
        slots.give_back(slot);
        assert_eq!(slots.take(), Some(slot));
        assert_ne!(slots.generation(slot), first);
    }
}
