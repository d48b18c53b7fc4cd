//! Prints the PID of the container that the argument names, as soon as it is alive. A program with tests that
//! need no container engine; `cargo test` runs them.
#![allow(clippy::print_stdout, reason = "the example prints")]

use whalewatcher::{Watcher, moby};

/// Returns the PID of the container with this name as soon as it is alive; `None` if the watcher is closed before that.
async fn pid_of(watcher: &dyn Watcher, name: &str) -> Option<u32> {
    let (mut alive, mut changes) = watcher.subscribe();
    loop {
        if let Some(container) = alive.by_name(name) {
            return Some(container.pid());
        }
        alive.apply(&changes.next().await?.kind);
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "web".to_owned());
    let docker = whalewatcher::watch(moby::Client::from_env()?);
    match pid_of(&**docker.watcher(), &name).await {
        Some(pid) => println!("{pid}"),
        None => println!("the watcher was closed"),
    }
    docker.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::join;
    use whalewatcher::{Container, watch};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    // On the scripted engine, only what the test says happens. It needs no real time, so tokio's clock can be paused.
    #[tokio::test(start_paused = true)]
    async fn a_container_is_found_whenever_it_starts() {
        let engine = Engine::new();
        engine.start(Container::new("1", "early", 4711));
        let handle = watch(engine.clone());
        let watcher = &**handle.watcher();
        assert_eq!(pid_of(watcher, "early").await, Some(4711));

        let start = async { engine.start(Container::new("2", "late", 4712)) };
        let (pid, ()) = join!(pid_of(watcher, "late"), start);
        assert_eq!(pid, Some(4712));
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_is_found_after_a_lost_connection() {
        let engine = Engine::new();
        let handle = watch(engine.clone());
        handle.ready().await.unwrap();
        let restart = async {
            engine.be_silent(true); // no event reports the start; the reconnect finds it
            engine.start(Container::new("1", "web", 4711));
            engine.disconnect();
        };
        let (pid, ()) = join!(pid_of(&**handle.watcher(), "web"), restart);
        assert_eq!(pid, Some(4711));
    }

    #[tokio::test(start_paused = true)]
    async fn closing_the_watcher_ends_the_search() {
        let handle = watch(Engine::new());
        let close = async { handle.watcher().close() };
        assert_eq!(join!(pid_of(&**handle.watcher(), "web"), close).0, None);
    }
}
