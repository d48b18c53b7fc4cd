//! Prints what is alive on several engines, then every change. The arguments are endpoints of Docker or podman, such as
//! `/run/docker.sock /run/podman/podman.sock`; the default is the engine that the environment names.
#![allow(clippy::print_stdout, reason = "the example prints")]

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

    // Does not wait for all engines to be ready: one that cannot be reached would delay the others.
    // Containers of each engine arrive as `started`, followed by `synced` when they are complete.
    let (mut alive, mut changes) = fleet.subscribe();
    print!("{alive}");
    while let Some(change) = changes.next().await {
        alive.apply(&change);
        println!("{change} ({} alive on {} engines)", alive.total(), alive.members().count());
    }
    Ok(())
}
