//! A watcher with its subscribers.

use std::time::Duration;

use anyhow::Result;
use whalewatcher_core::WatchHandle;
use whalewatcher_core::adapter::EngineClient;

use crate::recorder::Recorder;

/// A watcher, with subscribers that joined before it was ready.
pub(crate) struct Watched<C: EngineClient> {
    pub(crate) watching: WatchHandle<C>,
    /// At least one, which reads as fast as it can.
    pub(crate) recorders: Vec<Recorder>,
    /// What the scenario does to the way between it and the engine.
    pub(crate) way: Way,
}

/// The way between a watcher and its engine, and so what may happen to the watcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// One connection lasts, and nothing goes wrong on it.
    Clear,
    /// Connections are lost, but nothing else goes wrong on them.
    Cut,
    /// Anything goes wrong, but not any more when it is checked whether the picture is right.
    Faulty,
}

impl<C: EngineClient> Watched<C> {
    /// A first subscriber joins.
    pub(crate) fn new(watching: WatchHandle<C>) -> Watched<C> {
        let recorder = Recorder::start("first", watching.subscribe(), Duration::ZERO);
        Watched { watching, recorders: vec![recorder], way: Way::Clear }
    }

    /// The subscriber that reads as fast as it can.
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorders[0]
    }

    /// Waits until the picture is right and the subscriber knows.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.watching.ready().await?;
        self.recorder().until("it is in sync", |record| record.synced() > 0).await
    }

    /// For a scenario that cuts the connection.
    pub(crate) fn that_is_cut(mut self) -> Watched<C> {
        self.way = Way::Cut;
        self
    }

    /// For a scenario that lets anything go wrong on the way.
    pub(crate) fn that_is_hindered(mut self) -> Watched<C> {
        self.way = Way::Faulty;
        self
    }

    /// Waits until the picture is right again after so many outages.
    pub(crate) async fn in_sync_again(&self, outages: usize) -> Result<()> {
        let what = format!("it is in sync after {outages} outages");
        self.recorder().until(&what, |record| record.synced() > outages).await
    }
}
