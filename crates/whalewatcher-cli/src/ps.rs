//! `whalewatcher ps`: what is alive right now.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use tokio::time::{Instant, timeout_at};
use whalewatcher_core::{Backoff, Settings, WatchError, Watcher};

use crate::advice::{advised, place};
use crate::arguments::{self, Format};
use crate::json;
use crate::log;
use crate::output::Output;
use crate::people::{Headlines, View};
use crate::scope::Scope;
use crate::terminal::Terminal;

/// How long all engines together may take to tell.
const PATIENCE: Duration = Duration::from_secs(10);

/// One attempt: who asks what is alive now is not served by waiting.
pub(crate) fn settings() -> Settings {
    Settings::default().with_backoff(Backoff::default().with_attempts(1))
}

/// Shows all engines or, if one of them does not tell, none. What a part of an engine keeps back is an error too, but does
/// not hide the rest.
pub(crate) async fn ps(watchers: &[Arc<dyn Watcher>], view: arguments::View) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut incomplete = None;
    for watcher in watchers {
        incomplete = incomplete.or(ready(&**watcher, deadline).await?);
    }
    let pictures: Vec<_> = watchers.iter().map(|watcher| (&**watcher, watcher.portfolio())).collect();
    let scope = Scope::new(view.project);
    let text = match view.format {
        Format::Json => {
            let all = pictures.iter().flat_map(|(watcher, portfolio)| {
                portfolio.containers().map(|container| (*watcher, &**container))
            });
            json::containers(all.filter(|(_, container)| scope.holds(container)))?
        }
        Format::Text => {
            let headlines = if pictures.len() > 1 { Headlines::Plain } else { Headlines::No };
            let mut people = View::new(Terminal::of_stdout(), scope, headlines);
            let now = SystemTime::now();
            pictures.iter().map(|(watcher, portfolio)| people.picture(*watcher, portfolio, now)).collect()
        }
    };
    Output::new().write(&text).await?;
    incomplete.map_or(Ok(()), Err)
}

/// What is missing in its picture, if anything; an error if there is none.
async fn ready(watcher: &dyn Watcher, deadline: Instant) -> anyhow::Result<Option<anyhow::Error>> {
    match timeout_at(deadline, watcher.ready()).await {
        Ok(Ok(_)) => {}
        Ok(Err(WatchError::GaveUp { error } | WatchError::Refused { error })) => {
            return Err(anyhow!(advised(watcher, &error)));
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let status = watcher.status();
            let still = anyhow!("{} is still {status} after {} s", place(watcher), PATIENCE.as_secs());
            // The rest is shown.
            return if status.unlisted.is_empty() { Err(still) } else { Ok(Some(still)) };
        }
    }
    match watcher.status().unresolved.total() {
        0 => {}
        unknown => log::tell(&format!(
            "{} tells nothing about {unknown} containers: they may be missing",
            place(watcher)
        )),
    }
    Ok(None)
}
