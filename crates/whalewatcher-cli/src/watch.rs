//! `whalewatcher watch`: what is alive, then every change, until somebody ends it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;

use anyhow::anyhow;
use futures_util::future::{FusedFuture, FutureExt, join_all};
use futures_util::stream::StreamExt;
use whalewatcher_core::{Event, EventKind, Fleet, Portfolio, Watcher};

use crate::advice::{advised, place};
use crate::arguments::{self, Format};
use crate::complaints::complain;
use crate::json;
use crate::log;
use crate::output::Output;
use crate::people::{Headlines, View};
use crate::scope::Scope;
use crate::terminal::Terminal;

/// How many events are written at once at most, if that many are there.
const AT_ONCE: usize = 256;

/// Watches all members of the fleet, which must only just have been added: it shows what happens from its call on.
pub(crate) async fn watch(fleet: &Fleet, view: arguments::View) -> anyhow::Result<()> {
    let (_, changes) = fleet.subscribe();
    let mut changes = pin!(changes.ready_chunks(AT_ONCE));
    let mut output = Output::new();
    let watchers = fleet.watchers();
    let mut story = Story::new(view, watchers.len() > 1);
    let mut complaints = pin!(join_all(watchers.iter().map(complain)).fuse());
    loop {
        let events = tokio::select! {
            biased;
            events = changes.next() => events,
            _ = &mut complaints, if !complaints.is_terminated() => continue,
        };
        let Some(events) = events else { break };
        let mut text = String::new();
        let mut told = Ok(());
        for (watcher, event) in events {
            told = story.tell(&mut text, &watcher, &event);
            if told.is_err() {
                break;
            }
        }
        output.write(&text).await?;
        told?;
    }
    Err(anyhow!("the watch ended by itself"))
}

/// What was told so far, and how to tell the rest.
struct Story {
    scope: Scope,
    /// `None`: programs listen.
    people: Option<View>,
    /// By place.
    engines: HashMap<String, Engine>,
}

/// What was told of one engine.
#[derive(Default)]
struct Engine {
    picture: Portfolio,
    /// An attempt to reach it has been told of, be it a success or not.
    tried: bool,
    /// What is alive has been shown.
    shown: bool,
}

impl Story {
    fn new(view: arguments::View, several: bool) -> Self {
        let scope = Scope::new(view.project);
        let headlines = if several { Headlines::Numbered } else { Headlines::No };
        let people = || View::new(Terminal::of_stdout(), scope.clone(), headlines);
        let people = (view.format == Format::Text).then(people);
        Self { scope, people, engines: HashMap::new() }
    }

    /// Adds to the text what this event means; an error where waiting for the engine is in vain.
    fn tell(&mut self, text: &mut String, watcher: &Arc<dyn Watcher>, event: &Event) -> anyhow::Result<()> {
        let engine = self.engines.entry(place(&**watcher)).or_default();
        let is_first = !std::mem::replace(&mut engine.tried, true);
        let is_told = self.scope.tells(event, &engine.picture);
        match &mut self.people {
            None if is_told => *text += &json::event(&**watcher, event)?,
            None => {}
            Some(people) => {
                let was_shown = engine.shown;
                let is_synced = match event.kind {
                    EventKind::Synced { .. } => true,
                    // What told so is among what was missed.
                    EventKind::Lagged { .. } => watcher.status().is_live(),
                    // It will not be all for a while.
                    _ => !watcher.status().unlisted.is_empty(),
                };
                if is_synced && !was_shown {
                    // The events so far add up to the picture.
                    *text += &people.picture(&**watcher, &engine.picture, event.time);
                    engine.shown = true;
                }
                let is_all = !was_shown && matches!(event.kind, EventKind::Synced { .. });
                if engine.shown && is_told && !is_all {
                    let known = event.container().and_then(|it| engine.picture.by_id(it.id()));
                    *text += &people.event(&**watcher, event, known.map(|known| &**known));
                }
            }
        }
        engine.picture.apply(&event.kind);
        if let EventKind::Disconnected { error } = &event.kind {
            if is_first && !error.is_transient() {
                return Err(anyhow!(advised(&**watcher, error)));
            }
            if self.people.is_some() && !engine.shown {
                log::tell(&format!("waiting for the engine: {}", advised(&**watcher, error)));
            }
        }
        Ok(())
    }
}
