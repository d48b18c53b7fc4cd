//! One list after the other, each compared with the one before where nobody tells of changes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tokio::sync::{Mutex, Notify};
use whalewatcher_core::{ContainerId, EngineError, EngineEvent};

use crate::connection::Connection;
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

    /// Lists what is alive.
    pub(crate) async fn list(&self, connection: &Connection) -> Result<Alive, EngineError> {
        let mut newest = self.newest.lock().await;
        let alive = alive(connection).await?;
        let ids = alive.ids();
        if let Some(before) = newest.as_ref().filter(|_| self.compared.load(Ordering::Relaxed)) {
            let at = SystemTime::now();
            for event in difference(before, &ids, at, |id| connection.memory().forget(id)?.pid) {
                connection.tell(event);
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

/// What came and what went. When exactly, nobody knows.
fn difference(
    before: &HashSet<ContainerId>,
    now: &HashSet<ContainerId>,
    at: SystemTime,
    pid: impl Fn(&ContainerId) -> Option<u32>,
) -> Vec<EngineEvent> {
    let gone = before.difference(now).cloned();
    let gone = gone.map(|id| EngineEvent::Exited { pid: pid(&id), id, at: Some(at), code: None });
    let new = now.difference(before).cloned();
    let new = new.map(|id| EngineEvent::Started { id, at: None, pid: None, glimpse: None });
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> HashSet<ContainerId> {
        ids.iter().map(|id| ContainerId::from(*id)).collect()
    }

    #[test]
    fn only_what_came_and_what_went_is_told() {
        let at = SystemTime::now();
        let pid = |id: &ContainerId| (id.as_str() == "gone").then_some(7);
        assert_eq!(difference(&ids(&["a", "b"]), &ids(&["b", "a"]), at, pid), []);
        let told = difference(&ids(&["a", "gone"]), &ids(&["new", "a"]), at, pid);
        let exited = EngineEvent::Exited { id: "gone".into(), pid: Some(7), at: Some(at), code: None };
        let started = EngineEvent::Started { id: "new".into(), at: None, pid: None, glimpse: None };
        assert_eq!(told, [exited, started]);
    }
}
