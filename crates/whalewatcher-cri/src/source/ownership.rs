//! Decides which of containerd's tasks belong to CRI.

use std::collections::HashMap;

use tokio::time::Instant;
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError};

use crate::cache::Cache;
use crate::decode::container::Kind;

/// The started tasks whose owner is not known yet.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    pending: HashMap<ContainerId, Pending>,
}

/// A start event, with the OOM kill and the exit that followed.
#[derive(Debug)]
struct Pending {
    start: EngineEvent,
    oom: Option<EngineEvent>,
    end: Option<EngineEvent>,
}

/// What follows from an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Decision {
    /// It is passed on, or skipped.
    Report(Option<EngineEvent>),
    /// The owner of this container must be requested.
    Ask(ContainerId),
}

impl Ownership {
    /// Handles an event. CRI never pauses tasks.
    pub(crate) fn handle(&mut self, event: EngineEvent, cache: &mut Cache) -> Decision {
        let reported = match event {
            EngineEvent::Started { ref id, .. } if self.pending.contains_key(id) => None,
            EngineEvent::Started { ref id, .. } if !is_known(cache, id) => {
                let id = id.clone();
                self.pending.insert(id.clone(), Pending { start: event, oom: None, end: None });
                return Decision::Ask(id);
            }
            EngineEvent::Started { ref id, .. } => {
                cache.entry(id).started = Some(Instant::now());
                Some(event)
            }
            EngineEvent::Exited { ref id, .. } => {
                cache.end_early(id);
                if let Some(pending) = self.pending.get_mut(id) {
                    pending.end = Some(event);
                    None
                } else {
                    Some(event)
                }
            }
            EngineEvent::OomKilled { ref id, .. } => {
                if let Some(pending) = self.pending.get_mut(id) {
                    pending.oom = Some(event);
                    None
                } else {
                    let is_known = is_known(cache, id);
                    Some(event).filter(|_| is_known)
                }
            }
            EngineEvent::Paused { .. } | EngineEvent::Unpaused { .. } => None,
            other => Some(other),
        };
        Decision::Report(reported)
    }

    /// Returns the starts of containers that a list has shown to belong to CRI meanwhile, with what followed. The
    /// pending answers about their owner no longer matter: containerd may have removed them by then.
    pub(crate) fn take_listed(&mut self, cache: &mut Cache) -> Vec<EngineEvent> {
        let known: Vec<_> = self.pending.extract_if(|id, _| is_known(cache, id)).collect();
        known.into_iter().flat_map(|(id, pending)| pass_on(&id, pending, cache)).collect()
    }

    /// Handles the answer about a container's owner: returns its start, and what followed, if it belongs to CRI or
    /// may do so.
    pub(crate) fn resolve(
        &mut self,
        id: &ContainerId,
        answer: Result<Option<Kind>, EngineError>,
        cache: &mut Cache,
    ) -> Vec<EngineEvent> {
        let Some(mut pending) = self.pending.remove(id) else { return Vec::new() };
        match answer {
            Ok(None) => return Vec::new(),
            Ok(Some(kind)) => cache.record_kind(id, kind, None).is_owned = true,
            // CRI decides.
            Err(error) => {
                tracing::debug!(%id, %error, "cannot find out whether this container belongs to CRI");
                let at = pending.start.at();
                pending.start = EngineEvent::Touched { id: id.clone(), at };
            }
        }
        pass_on(id, pending, cache)
    }
}

/// Whether the runtime has reported it, so that it is known to belong to CRI.
fn is_known(cache: &Cache, id: &ContainerId) -> bool {
    cache.get(id).is_some_and(|entry| entry.kind.is_some())
}

fn pass_on(id: &ContainerId, pending: Pending, cache: &mut Cache) -> Vec<EngineEvent> {
    let entry = cache.entry(id);
    (entry.started, entry.is_over) = (Some(Instant::now()), pending.end.is_some());
    [Some(pending.start), pending.oom, pending.end].into_iter().flatten().collect()
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

    fn reported(event: EngineEvent) -> Decision {
        Decision::Report(Some(event))
    }

    const NOTHING: Decision = Decision::Report(None);

    #[tokio::test]
    async fn what_a_list_contains_needs_no_owner_and_an_exit_none_at_all() {
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        cache.record_kind(&id(), Kind::Container, None);
        assert_eq!(ownership.handle(started(), &mut cache), reported(started()));
        assert_eq!(ownership.handle(exited(), &mut cache), reported(exited()));
        let mut cache = Cache::default();
        assert_eq!(ownership.handle(exited(), &mut cache), reported(exited()), "the watcher may know it");
    }

    #[tokio::test]
    async fn tasks_of_others_are_skipped() {
        for ends_first in [false, true] {
            let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
            assert_eq!(ownership.handle(started(), &mut cache), Decision::Ask(id()));
            assert_eq!(ownership.handle(started(), &mut cache), NOTHING, "its owner is requested already");
            if ends_first {
                assert_eq!(ownership.handle(exited(), &mut cache), NOTHING);
            }
            assert_eq!(ownership.resolve(&id(), Ok(None), &mut cache), []);
            assert!(cache.get(&id()).is_none() && ownership.pending.is_empty());
        }
    }

    #[tokio::test]
    async fn tasks_of_cri_are_reported_with_their_exit() {
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        ownership.handle(started(), &mut cache);
        assert_eq!(ownership.resolve(&id(), Ok(Some(Kind::Sandbox)), &mut cache), [started()]);
        let entry = cache.get(&id()).unwrap();
        assert!(entry.is_owned && entry.started.is_some() && entry.kind == Some(Kind::Sandbox));

        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        ownership.handle(started(), &mut cache);
        ownership.handle(exited(), &mut cache);
        let settled = ownership.resolve(&id(), Ok(Some(Kind::Container)), &mut cache);
        assert_eq!(settled, [started(), exited()]);
        assert!(cache.get(&id()).unwrap().is_over);
    }

    #[tokio::test]
    async fn oom_kills_of_cri_are_reported_before_the_exit_and_others_skipped() {
        let oom = || EngineEvent::OomKilled { id: id(), at: None };
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        assert_eq!(ownership.handle(oom(), &mut cache), NOTHING, "nothing is known of it");
        ownership.handle(started(), &mut cache);
        for event in [oom(), exited()] {
            assert_eq!(ownership.handle(event, &mut cache), NOTHING, "its owner is requested");
        }
        let settled = ownership.resolve(&id(), Ok(Some(Kind::Container)), &mut cache);
        assert_eq!(settled, [started(), oom(), exited()]);

        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        cache.record_kind(&id(), Kind::Container, None);
        assert_eq!(ownership.handle(oom(), &mut cache), reported(oom()));
    }

    #[tokio::test]
    async fn a_listed_container_is_reported_before_the_answer() {
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        ownership.handle(started(), &mut cache);
        assert_eq!(ownership.take_listed(&mut cache), []);
        cache.record_kind(&id(), Kind::Container, None);
        ownership.handle(exited(), &mut cache);
        assert_eq!(ownership.take_listed(&mut cache), [started(), exited()]);
        assert_eq!(ownership.take_listed(&mut cache), []);
        assert_eq!(ownership.resolve(&id(), Ok(None), &mut cache), [], "it is no longer pending");
    }

    #[tokio::test]
    async fn an_unknown_owner_is_reported_without_a_pid() {
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        ownership.handle(started(), &mut cache);
        let error = EngineError::new(ErrorKind::Failed, "no");
        let without = EngineEvent::Touched { id: id(), at: None };
        assert_eq!(ownership.resolve(&id(), Err(error), &mut cache), [without], "CRI decides");
        let entry = cache.get(&id()).unwrap();
        assert!(!entry.is_owned && entry.started.is_some() && entry.kind.is_none());
    }

    #[test]
    fn pauses_are_skipped_and_other_events_passed_on() {
        let (mut ownership, mut cache) = (Ownership::default(), Cache::default());
        assert_eq!(ownership.handle(EngineEvent::Paused { id: id(), at: None }, &mut cache), NOTHING);
        assert_eq!(ownership.handle(EngineEvent::Unpaused { id: id(), at: None }, &mut cache), NOTHING);
        let changed = EngineEvent::Changed { id: id(), at: None };
        assert_eq!(ownership.handle(changed.clone(), &mut cache), reported(changed));
        assert_eq!(ownership.handle(EngineEvent::Gap, &mut cache), reported(EngineEvent::Gap));
    }
}
