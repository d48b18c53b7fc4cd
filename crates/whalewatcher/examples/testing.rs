//! Prints the PID of the container that its argument names, as soon as that is alive: a program with tests of its own, which
//! need no container engine. `cargo test` runs them.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use whalewatcher::{Watcher, moby};

/// The PID of the container of this name, as soon as it is alive; `None` if the watcher was closed before.
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

    // In the scripted engine nothing happens but what the test says. It needs no real time, so tokio's clock can be paused.
    #[tokio::test(start_paused = true)]
    async fn a_container_is_found_whenever_it_starts() {
        let engine = Engine::new();
        engine.start(Container::new("1", "early", 4711));
        let watching = watch(engine.clone());
        let watcher = &**watching.watcher();
        assert_eq!(pid_of(watcher, "early").await, Some(4711));

        let start = async { engine.start(Container::new("2", "late", 4712)) };
        let (pid, ()) = join!(pid_of(watcher, "late"), start);
        assert_eq!(pid, Some(4712));
    }

    #[tokio::test(start_paused = true)]
    async fn it_survives_that_the_connection_is_lost() {
        let engine = Engine::new();
        let watching = watch(engine.clone());
        watching.ready().await.unwrap();
        let restart = async {
            engine.be_silent(true); // no event says that it starts: the reconnect finds it
            engine.start(Container::new("1", "web", 4711));
            engine.disconnect();
        };
        let (pid, ()) = join!(pid_of(&**watching.watcher(), "web"), restart);
        assert_eq!(pid, Some(4711));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_the_watcher() {
        let watching = watch(Engine::new());
        let close = async { watching.watcher().close() };
        assert_eq!(join!(pid_of(&**watching.watcher(), "web"), close).0, None);
    }
}
