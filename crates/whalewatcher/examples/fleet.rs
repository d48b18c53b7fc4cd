//! Prints what is alive on several engines, and then every change. Its arguments are endpoints of Docker or podman, such as
//! `/run/docker.sock /run/podman/podman.sock`; without any, it watches the engine that the environment names.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use whalewatcher::{EngineWatcher, Fleet, moby};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let fleet = Fleet::new();
    let endpoints: Vec<_> = std::env::args().skip(1).collect();
    if endpoints.is_empty() {
        fleet.add(EngineWatcher::new(moby::Client::from_env()?))?;
    }
    for endpoint in endpoints {
        fleet.add(EngineWatcher::new(moby::Client::new(endpoint)?))?;
    }

    // Nobody waits for all engines to be ready: one that cannot be reached would hold up the others. What is alive on an
    // engine comes as started, and `synced` says that this was all.
    let (pictures, mut changes) = fleet.subscribe();
    for (watcher, alive) in pictures {
        println!("{}: {} alive so far", watcher.endpoint(), alive.total());
    }
    while let Some((watcher, event)) = changes.next().await {
        println!("{}: {event} ({} alive)", watcher.endpoint(), watcher.portfolio().total());
    }
    Ok(())
}
