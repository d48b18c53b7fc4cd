//! A dropped watch leaves no descriptor and no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

#[cfg(feature = "ssh")]
mod fake_ssh;

use whalewatcher_core::EngineWatcher;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Kind, Server};
use whalewatcher_testkit::dropping::{
    Holdings, dropped_after_any_number_of_steps, dropped_alone, dropped_during_back_off, dropped_when,
    dropped_when_live,
};

#[cfg(feature = "ssh")]
use crate::fake_ssh::FakeSsh;

fn server_with(containers: usize) -> Server {
    // Newer than this client, so that the oldest API version is requested too.
    let server = Server::builder().api_versions("1.60", "1.24").start().unwrap();
    for number in 0..containers {
        server.run(format!("c{number}")).unwrap();
    }
    server
}

fn client(server: &Server) -> Client {
    Client::new(server.endpoint()).unwrap()
}

/// All in one test, because others would hold tasks and descriptors meanwhile.
#[test]
fn a_dropped_watch_leaves_no_descriptor_and_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while_something_is_awaited().await;
        let bare = Holdings::now();
        let server = server_with(10);
        dropped_after_any_number_of_steps(&EngineWatcher::new(client(&server))).await;
        dropped_alone(client(&server), 10).await;
        drop(server);
        bare.regained("with the server").await;
        #[cfg(feature = "ssh")]
        through_ssh().await;
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(while_something_is_awaited());
}

/// Processes end as well.
#[cfg(feature = "ssh")]
async fn through_ssh() {
    // What the runtime needs to notice the end of processes stays.
    tokio::process::Command::new("true").status().await.unwrap();
    let server = Server::builder().tcp(true).start().unwrap();
    for number in 0..10 {
        server.run(format!("c{number}")).unwrap();
    }
    let ssh = FakeSsh::to(&server);
    dropped_after_any_number_of_steps(&EngineWatcher::new(ssh.client())).await;
    dropped_alone(ssh.client(), 10).await;
    dropped_when_live(&EngineWatcher::new(ssh.client())).await;
    ssh.until_gone().await;
}

async fn while_something_is_awaited() {
    let bare = Holdings::now();
    for kind in [Kind::Ping, Kind::Version, Kind::Info, Kind::Events, Kind::List, Kind::Inspect] {
        let server = server_with(20);
        let gate = server.hold(kind);
        let requests = if kind == Kind::Inspect { 16 } else { 1 };
        let watcher = EngineWatcher::new(client(&server));
        let before = dropped_when(&watcher, gate.until_waiting(requests)).await;
        gate.open();
        before.regained(&format!("while {kind:?} is awaited")).await;
        drop((watcher, server));
        bare.regained("with the server").await;
    }
    let server = server_with(20);
    let watcher = EngineWatcher::new(client(&server));
    dropped_when_live(&watcher).await;
    server.stop_listening().await;
    dropped_during_back_off(&watcher).await;
    drop((watcher, server));
    bare.regained("with the server").await;
}
