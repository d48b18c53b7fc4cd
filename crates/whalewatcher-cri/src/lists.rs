//! One list after the other, each compared with the one before where nobody tells of changes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, Notify};
use whalewatcher_core::adapter::EngineEvent;
use whalewatcher_core::{ContainerId, EngineError};

use crate::connection::Connection;
use crate::ends::{End, ends};
use crate::list::{Alive, alive};

/// The lists of a connection: the watcher's own and those of polling. None is asked for before the one before is here, so
/// that the newer one is known.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    /// Who was alive by the newest.
    newest: Mutex<Option<HashSet<ContainerId>>>,
    /// Notified of each list, for what awaits the first one.
    arrived: Notify,
    /// Whether what differs is to be told.
    compared: AtomicBool,
}

impl Lists {
    /// From now on the stream of events tells what differs between lists.
    pub(crate) fn compare(&self) {
        self.compared.store(true, Ordering::Relaxed);
    }

    /// Lists what is alive. What is not any more is looked up, for the runtime may still know how it ended: if nobody else
    /// reports that, or did so while there was no connection.
    pub(crate) async fn list(&self, connection: &Connection) -> Result<Alive, EngineError> {
        connection.transport().check_socket()?;
        let mut newest = self.newest.lock().await;
        let alive = alive(connection).await?;
        let ids = alive.ids();
        let compared = newest.as_ref().filter(|_| self.compared.load(Ordering::Relaxed));
        if newest.is_none() || compared.is_some() {
            let missing = connection.memory().missing(&ids);
            let ends = ends(connection, missing).await;
            let mut memory = connection.memory();
            for id in ends.keys() {
                memory.end(id);
            }
            let events = match compared {
                None => ends.into_iter().map(|(id, end)| end.event(id)).collect(),
                Some(before) => difference(before, &ids, SystemTime::now(), ends, |id| memory.get(id)?.pid),
            };
            for event in events {
                if let EngineEvent::Exited { id, .. } = &event {
                    memory.forget(id);
                }
                connection.report(event);
            }
        }
        connection.memory().retain(&ids);
        *newest = Some(ids);
        self.arrived.notify_one();
        Ok(alive)
    }

    /// What the newest list shows as alive, once there is one.
    #[cfg(feature = "containerd")]
    pub(crate) async fn newest(&self) -> HashSet<ContainerId> {
        loop {
            if let Some(newest) = &*self.newest.lock().await {
                return newest.clone();
            }
            self.arrived.notified().await;
        }
    }

    /// Whether there was a list.
    pub(crate) async fn is_begun(&self) -> bool {
        self.newest.lock().await.is_some()
    }
}

/// What came and what went. When exactly, nobody knows, but for what went as its status says.
fn difference(
    before: &HashSet<ContainerId>,
    now: &HashSet<ContainerId>,
    at: SystemTime,
    mut ends: HashMap<ContainerId, End>,
    pid: impl Fn(&ContainerId) -> Option<u32>,
) -> Vec<EngineEvent> {
    let gone = before.difference(now).cloned();
    let gone = gone.map(|id| match ends.remove(&id) {
        Some(end) => end.event(id),
        None => EngineEvent::Exited { pid: pid(&id), id, at: Some(at), code: None },
    });
    let new = now.difference(before).cloned();
    let new = new.map(|id| EngineEvent::Started { id, at: None, pid: None, preview: None });
    gone.collect::<Vec<_>>().into_iter().chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> HashSet<ContainerId> {
        ids.iter().map(|id| ContainerId::from(*id)).collect()
    }

    #[test]
    fn only_what_came_and_what_went_is_reported() {
        let at = SystemTime::now();
        let pid = |id: &ContainerId| (id.as_str() == "gone").then_some(7);
        assert_eq!(difference(&ids(&["a", "b"]), &ids(&["b", "a"]), at, HashMap::new(), pid), []);
        let reported = difference(&ids(&["a", "gone"]), &ids(&["new", "a"]), at, HashMap::new(), pid);
        let exited = EngineEvent::Exited { id: "gone".into(), pid: Some(7), at: Some(at), code: None };
        let started = EngineEvent::Started { id: "new".into(), at: None, pid: None, preview: None };
        assert_eq!(reported, [exited, started]);
        let end = End { pid: 8, at: None, code: Some(3) };
        let reported = difference(&ids(&["gone"]), &ids(&[]), at, HashMap::from([("gone".into(), end)]), pid);
        assert_eq!(reported, [end.event("gone".into())]);
    }
}
