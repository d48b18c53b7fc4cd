//! What is amiss with an engine that is watched all the same, told on the standard error once for as long as it is so.

use std::sync::Arc;

use whalewatcher_core::{ChangeSource, Status, Watcher};

use crate::advice::place;
use crate::log;

/// Tells what there is to complain of for as long as the engine is watched.
pub(crate) async fn complain(watcher: &Arc<dyn Watcher>) {
    let mut status = watcher.follow_status();
    let mut complaints = Complaints::default();
    while let Some(status) = status.changed().await {
        let place = place(&**watcher);
        for complaint in complaints.about(&status, &place) {
            log::tell(&format!("{place}: {complaint}"));
        }
    }
}

/// What was complained of so far.
#[derive(Default)]
struct Complaints {
    /// The parts of the engine that could not be listed.
    unlisted: Vec<String>,
    source: ChangeSource,
}

impl Complaints {
    /// What is amiss now and was not before.
    fn about(&mut self, status: &Status, place: &str) -> Vec<String> {
        let parts = status.unlisted.iter().filter(|part| !self.unlisted.contains(&part.scope));
        let mut new: Vec<_> =
            parts.map(|part| format!("'{}' cannot be listed: {}", part.scope, part.error)).collect();
        self.unlisted = status.unlisted.iter().map(|part| part.scope.clone()).collect();
        // While there is no connection nothing is known of that.
        if let Some(source) = status.source.filter(|source| *source != self.source) {
            self.source = source;
            match source {
                ChangeSource::Polling { every } => {
                    let every = every.as_secs_f32();
                    new.push(format!("it tells of no changes, so it is asked for them every {every} s"));
                }
                // As good as events, so that is for those who ask.
                _ => tracing::info!("{place}: changes are learned of by {source}"),
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn that_an_engine_must_be_polled_is_told_once_for_as_long_as_it_is_so() {
        let polling = |millis| ChangeSource::Polling { every: Duration::from_millis(millis) };
        let mut complaints = Complaints::default();
        let mut told = Vec::new();
        let sources = [
            ChangeSource::Events,
            polling(1_500),
            polling(1_500),
            ChangeSource::Hints,
            polling(1_500),
            polling(2_500),
        ];
        for source in sources {
            let watching = whalewatcher_core::watch(Engine::new().with_source(source));
            told.push(complaints.about(&watching.status(), "here"));
            watching.ready().await.unwrap();
            told.push(complaints.about(&watching.status(), "here"));
        }
        let told: Vec<_> = told.iter().map(|new| new.concat()).collect();
        let polled = |every: &str| format!("it tells of no changes, so it is asked for them every {every} s");
        let (once, slower) = (polled("1.5"), polled("2.5"));
        assert_eq!(told, ["", "", "", &once, "", "", "", "", "", &once, "", &slower]);
    }
}
