//! Prints the live containers of the engine that the environment names, then every change.
#![allow(clippy::print_stdout, reason = "the example prints")]

use whalewatcher::{EventKind, moby};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let docker = whalewatcher::watch(moby::Client::from_env()?);
    docker.ready().await?;

    // `changes` are exactly those after the snapshot `alive`: applied to it, they keep it up to date.
    let (mut alive, mut changes) = docker.subscribe();
    print!("{alive}");
    while let Some(event) = changes.next().await {
        alive.apply(&event.kind);
        match &event.kind {
            // The watcher reconnects; meanwhile the portfolio stays as last known.
            EventKind::Disconnected { error } => println!("waiting for the engine: {error}"),
            _ => println!("{event} ({} alive)", alive.total()),
        }
    }
    Ok(())
}
