//! A watcher with those who subscribed to it.

use std::time::Duration;

use anyhow::Result;
use whalewatcher_core::{EngineClient, Watching};

use crate::recorder::Recorder;

/// A watcher, with subscribers that joined before it was ready.
pub(crate) struct Watched<C: EngineClient> {
    pub(crate) watching: Watching<C>,
    /// At least one, which reads as fast as it can.
    pub(crate) recorders: Vec<Recorder>,
    /// Whether the scenario cuts the connection.
    pub(crate) is_cut: bool,
}

impl<C: EngineClient> Watched<C> {
    /// A first subscriber joins.
    pub(crate) fn new(watching: Watching<C>) -> Watched<C> {
        let recorder = Recorder::start("first", watching.subscribe(), Duration::ZERO);
        Watched { watching, recorders: vec![recorder], is_cut: false }
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
        self.is_cut = true;
        self
    }

    /// Waits until the picture is right again after so many outages.
    pub(crate) async fn in_sync_again(&self, outages: usize) -> Result<()> {
        let what = format!("it is in sync after {outages} outages");
        self.recorder().until(&what, |record| record.synced() == outages + 1).await
    }
}
