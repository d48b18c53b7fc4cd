//! A dropped watch leaves no descriptor and no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineWatcher, Phase, Settings, Status, StatusFollower};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Gate, Kind, Server, Verdict};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The number of tasks and of descriptors.
fn holdings() -> (usize, usize) {
    (Handle::current().metrics().num_alive_tasks(), descriptors())
}

/// Resolves once there are as many as before.
async fn until_nothing_is_left(before: (usize, usize), when: &str) {
    let settled = async {
        while holdings() != before {
            yield_now().await;
        }
    };
    if timeout(Duration::from_secs(60), settled).await.is_err() {
        panic!("dropped {when}: tasks and descriptors were {before:?} and are {:?}", holdings());
    }
}

async fn until(status: &mut StatusFollower, wanted: impl FnMut(&Status) -> bool) {
    status.wait_for(wanted).await.expect("the watcher exists");
}

fn server_with(containers: usize) -> Server {
    // Newer than this client, so that the oldest API version is requested too.
    let server = Server::builder().api_versions("1.60", "1.24").start().unwrap();
    for number in 0..containers {
        server.run(format!("c{number}")).unwrap();
    }
    server
}

/// All in one test, because others would hold tasks and descriptors meanwhile.
#[test]
fn a_dropped_watch_leaves_no_descriptor_and_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while_something_is_awaited().await;
        after_any_number_of_steps().await;
        a_connection_alone().await;
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(while_something_is_awaited());
}

async fn while_something_is_awaited() {
    let bare = holdings();
    for kind in [Kind::Ping, Kind::Version, Kind::Info, Kind::Events, Kind::List, Kind::Inspect] {
        let server = server_with(20);
        let before = holdings();
        let gate = Gate::closed();
        let held = gate.clone();
        server.on_request(
            move |request| {
                if request.kind() == kind { Verdict::Hold(held.clone()) } else { Verdict::Pass }
            },
        );
        let watcher = EngineWatcher::new(Client::new(server.endpoint()).unwrap());
        tokio::select! {
            _ = watcher.watch(CancellationToken::new()) => unreachable!("the watch does not end"),
            () = gate.until_waiting(if kind == Kind::Inspect { 16 } else { 1 }) => {}
        }
        gate.open();
        until_nothing_is_left(before, &format!("while {kind:?} is awaited")).await;
        drop(server);
        until_nothing_is_left(bare, "with the server").await;
    }
    let server = server_with(20);
    let before = holdings();
    let watcher = EngineWatcher::new(Client::new(server.endpoint()).unwrap());
    tokio::select! {
        _ = watcher.watch(CancellationToken::new()) => unreachable!("the watch does not end"),
        ready = watcher.ready() => drop(ready.unwrap()),
    }
    until_nothing_is_left(before, "when live").await;

    server.stop_listening().await;
    let before = holdings();
    let mut status = watcher.follow_status();
    tokio::select! {
        _ = watcher.watch(CancellationToken::new()) => unreachable!("the watch does not end"),
        () = until(&mut status, |status| matches!(status.phase, Phase::Disconnected { .. })) => {}
    }
    until_nothing_is_left(before, "during the back-off").await;
    drop(server);
    until_nothing_is_left(bare, "with the server").await;
}

async fn after_any_number_of_steps() {
    let bare = holdings();
    let server = server_with(10);
    let before = holdings();
    let watcher = EngineWatcher::new(Client::new(server.endpoint()).unwrap());
    for steps in 1..60 {
        let mut left = steps;
        let mut watching = Box::pin(watcher.watch(CancellationToken::new()));
        let mut status = watcher.follow_status();
        tokio::select! {
            () = poll_fn(|context| {
                left -= 1;
                assert!(watching.as_mut().poll(context).is_pending());
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            }) => {}
            // Nothing wakes it again.
            () = until(&mut status, Status::is_live) => {}
        }
        drop(watching);
        until_nothing_is_left(before, &format!("after {steps} steps")).await;
    }
    drop(server);
    until_nothing_is_left(bare, "with the server").await;
}

async fn a_connection_alone() {
    let server = server_with(1);
    let before = holdings();
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    assert_eq!(connection.list().await.unwrap().entries.len(), 1);
    assert!(holdings() > before, "an idle connection is kept");
    drop(connection);
    until_nothing_is_left(before, "with an idle connection").await;
}
