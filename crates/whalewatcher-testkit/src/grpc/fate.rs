//! Faults of single events: lost, repeated or delayed.

/// The fate of an event, decided by a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is delivered.
    Deliver,
    /// It is lost, as if the engine had failed to forward it.
    Vanish,
    /// It is delivered twice.
    Duplicate,
    /// It is delivered after the next delivered event.
    Postpone,
}

type Decision<E> = Box<dyn FnMut(&E) -> Fate + Send>;
type Selection<E> = Box<dyn Fn(&E) -> bool + Send>;

/// Decides about events.
pub(crate) struct Fates<E> {
    decisions: Vec<Decision<E>>,
    /// Selections whose next event is lost.
    losing: Vec<Selection<E>>,
    postponed: Vec<E>,
}

impl<E> Default for Fates<E> {
    fn default() -> Self {
        Self { decisions: Vec::new(), losing: Vec::new(), postponed: Vec::new() }
    }
}

impl<E> Fates<E> {
    pub(crate) fn decide(&mut self, decision: Decision<E>) {
        self.decisions.push(decision);
    }

    pub(crate) fn lose_next(&mut self, selection: Selection<E>) {
        self.losing.push(selection);
    }

    /// Delivers the event as often as decided, and then the postponed ones.
    pub(crate) fn pass(&mut self, event: E, mut deliver: impl FnMut(&E)) {
        let mut fate = Fate::Deliver;
        if let Some(losing) = self.losing.iter().position(|lost| lost(&event)) {
            drop(self.losing.swap_remove(losing));
            fate = Fate::Vanish;
        }
        for decide in &mut self.decisions {
            if fate == Fate::Deliver {
                fate = decide(&event);
            }
        }
        match fate {
            Fate::Vanish => return,
            Fate::Postpone => return self.postponed.push(event),
            Fate::Duplicate => deliver(&event),
            Fate::Deliver => {}
        }
        deliver(&event);
        for event in std::mem::take(&mut self.postponed) {
            deliver(&event);
        }
    }
}
