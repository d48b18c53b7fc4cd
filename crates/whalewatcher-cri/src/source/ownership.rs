//! Hints of tasks of which it is not known yet whether they are CRI's.

use std::collections::HashMap;

use tokio::time::Instant;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError};

use crate::cache::Memory;
use crate::decode::container::Kind;

/// Starts of which it is not known yet whether they are CRI's.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    open: HashMap<ContainerId, Open>,
}

/// A start, with the end that followed.
#[derive(Debug)]
struct Open {
    start: EngineEvent,
    end: Option<EngineEvent>,
}

/// What becomes of a hint.
#[derive(Debug, PartialEq)]
pub(crate) enum Taken {
    /// It is passed on, if it is worth anything.
    Reported(Option<EngineEvent>),
    /// It is to be asked whose this start is.
    Asked(ContainerId),
}

impl Claims {
    /// Tasks are paused by nobody in CRI's name, and what has ended does not begin again.
    pub(crate) fn take(&mut self, event: EngineEvent, memory: &mut Memory) -> Taken {
        let reported = match event {
            EngineEvent::Started { ref id, .. }
                if memory.was_reported_to_end(id) || self.open.contains_key(id) =>
            {
                None
            }
            EngineEvent::Started { ref id, .. } if !is_known(memory, id) => {
                let id = id.clone();
                self.open.insert(id.clone(), Open { start: event, end: None });
                return Taken::Asked(id);
            }
            EngineEvent::Started { ref id, .. } => {
                memory.member(id).started = Some(Instant::now());
                Some(event)
            }
            EngineEvent::Exited { ref id, .. } => {
                let reported_before = memory.was_reported_to_end(id);
                memory.end(id);
                if let Some(open) = self.open.get_mut(id) {
                    open.end = Some(event);
                    None
                } else {
                    Some(event).filter(|_| !reported_before)
                }
            }
            EngineEvent::Paused { .. } | EngineEvent::Unpaused { .. } => None,
            other => Some(other),
        };
        Taken::Reported(reported)
    }

    /// Returns the starts that a list has shown to be CRI's meanwhile, with the ends that followed. Their answers do not
    /// matter any more: containerd may have forgotten by then whose they were.
    pub(crate) fn release(&mut self, memory: &mut Memory) -> Vec<EngineEvent> {
        let known: Vec<_> = self.open.extract_if(|id, _| is_known(memory, id)).collect();
        known.into_iter().flat_map(|(id, open)| pass_on(&id, open, memory)).collect()
    }

    /// Returns the start of that, and the end that followed, if the answer is that it is CRI's or may be.
    pub(crate) fn settle(
        &mut self,
        id: &ContainerId,
        answer: Result<Option<Kind>, EngineError>,
        memory: &mut Memory,
    ) -> Vec<EngineEvent> {
        let Some(mut open) = self.open.remove(id) else { return Vec::new() };
        match answer {
            Ok(None) => return Vec::new(),
            Ok(Some(kind)) => memory.is(id, kind, None).is_claimed = true,
            // CRI is asked. Without a PID nothing is made of it but what CRI says.
            Err(error) => {
                tracing::debug!(%id, %error, "nobody knows whether that is CRI's");
                if let EngineEvent::Started { pid, .. } = &mut open.start {
                    *pid = None;
                }
            }
        }
        pass_on(id, open, memory)
    }
}

/// Whether the runtime has listed it, so that it is known to be CRI's.
fn is_known(memory: &Memory, id: &ContainerId) -> bool {
    memory.get(id).is_some_and(|member| member.kind.is_some())
}

fn pass_on(id: &ContainerId, open: Open, memory: &mut Memory) -> Vec<EngineEvent> {
    memory.member(id).started = Some(Instant::now());
    [Some(open.start), open.end].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::ErrorKind;

    use super::*;

    fn id() -> ContainerId {
        "a".into()
    }

    fn started() -> EngineEvent {
        EngineEvent::Started { id: id(), at: None, pid: Some(7), preview: None }
    }

    fn exited() -> EngineEvent {
        EngineEvent::Exited { id: id(), at: None, pid: Some(7), code: Some(1) }
    }

    fn reported(event: EngineEvent) -> Taken {
        Taken::Reported(Some(event))
    }

    const NOTHING: Taken = Taken::Reported(None);

    #[tokio::test]
    async fn an_end_is_reported_once_and_nothing_of_that_life_afterwards() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        memory.is(&id(), Kind::Container, None);
        assert_eq!(
            claims.take(started(), &mut memory),
            reported(started()),
            "a list reported that it is CRI's"
        );
        assert_eq!(claims.take(exited(), &mut memory), reported(exited()));
        for again in [exited(), started()] {
            assert_eq!(claims.take(again, &mut memory), NOTHING);
        }
        let mut memory = Memory::default();
        assert_eq!(
            claims.take(exited(), &mut memory),
            reported(exited()),
            "it may be known from another connection"
        );
    }

    #[tokio::test]
    async fn of_what_is_not_cris_nothing_is_reported() {
        for ends_first in [false, true] {
            let (mut claims, mut memory) = (Claims::default(), Memory::default());
            assert_eq!(claims.take(started(), &mut memory), Taken::Asked(id()));
            assert_eq!(claims.take(started(), &mut memory), NOTHING, "it is asked about already");
            if ends_first {
                assert_eq!(claims.take(exited(), &mut memory), NOTHING);
            }
            assert_eq!(claims.settle(&id(), Ok(None), &mut memory), []);
            assert!(memory.get(&id()).is_none() && claims.open.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_cris_is_reported_with_the_end_that_followed() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        assert_eq!(claims.settle(&id(), Ok(Some(Kind::Sandbox)), &mut memory), [started()]);
        let member = memory.get(&id()).unwrap();
        assert!(member.is_claimed && member.started.is_some() && member.kind == Some(Kind::Sandbox));

        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        claims.take(exited(), &mut memory);
        let settled = claims.settle(&id(), Ok(Some(Kind::Container)), &mut memory);
        assert_eq!(settled, [started(), exited()]);
        assert!(memory.has_ended(&id()));
    }

    #[tokio::test]
    async fn what_a_list_shows_to_be_cris_is_reported_before_the_answer_and_not_again() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        assert_eq!(claims.release(&mut memory), []);
        memory.is(&id(), Kind::Container, None);
        claims.take(exited(), &mut memory);
        assert_eq!(claims.release(&mut memory), [started(), exited()]);
        assert_eq!(claims.release(&mut memory), []);
        assert_eq!(claims.settle(&id(), Ok(None), &mut memory), [], "containerd has forgotten it by now");
    }

    #[tokio::test]
    async fn what_may_not_be_cris_is_reported_without_a_pid() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        claims.take(started(), &mut memory);
        let error = EngineError::new(ErrorKind::Failed, "no");
        let without = EngineEvent::Started { id: id(), at: None, pid: None, preview: None };
        assert_eq!(claims.settle(&id(), Err(error), &mut memory), [without]);
        let member = memory.get(&id()).unwrap();
        assert!(!member.is_claimed && member.started.is_some() && member.kind.is_none());
    }

    #[test]
    fn pauses_are_nothing_in_cri_and_whatever_else_is_reported_is() {
        let (mut claims, mut memory) = (Claims::default(), Memory::default());
        assert_eq!(claims.take(EngineEvent::Paused { id: id(), at: None }, &mut memory), NOTHING);
        assert_eq!(claims.take(EngineEvent::Unpaused { id: id(), at: None }, &mut memory), NOTHING);
        let changed = EngineEvent::Changed { id: id(), at: None };
        assert_eq!(claims.take(changed.clone(), &mut memory), reported(changed));
        assert_eq!(claims.take(EngineEvent::Gap, &mut memory), reported(EngineEvent::Gap));
    }
}
