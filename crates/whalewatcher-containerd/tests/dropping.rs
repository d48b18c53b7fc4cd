//! A dropped watch leaves nothing behind: no descriptor, no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whalewatcher_containerd::Client;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineWatcher, Phase, Settings, Status, StatusFollower};
use whalewatcher_testkit::containerd::{Gate, Method, Server, Verdict};

/// Returns the number of tasks and descriptors of this process.
fn holdings() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    (Handle::current().metrics().num_alive_tasks(), descriptors)
}

/// Waits until there are no more than before: parts of a server may still have been ending then.
async fn until_nothing_is_left(before: (usize, usize), when: &str) {
    let settled = async {
        while holdings().0 > before.0 || holdings().1 > before.1 {
            yield_now().await;
        }
    };
    if timeout(Duration::from_secs(60), settled).await.is_err() {
        panic!("dropped {when}: tasks and descriptors were {before:?} and are {:?}", holdings());
    }
}

async fn until(status: &mut StatusFollower, wanted: impl FnMut(&Status) -> bool) {
    status.wait_for(wanted).await.expect("the watcher outlives its followers");
}

fn server_with(containers: usize) -> Server {
    let server = Server::builder().start().unwrap();
    for number in 0..containers {
        server.run(format!("n{}/c{number}", number % 4)).unwrap();
    }
    server
}

/// All in one test, because other tests would hold tasks and descriptors of their own.
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
    for method in [
        Method::Version,
        Method::Server,
        Method::Subscribe,
        Method::Publish,
        Method::NamespacesList,
        Method::TasksList,
        Method::ContainersListStream,
        Method::TasksGet,
    ] {
        let server = server_with(20);
        let before = holdings();
        let gate = Gate::closed();
        let held = gate.clone();
        server.on_call(
            move |call| {
                if call.method() == method { Verdict::Hold(held.clone()) } else { Verdict::Pass }
            },
        );
        let watcher = EngineWatcher::new(Client::new(server.endpoint()).unwrap());
        let mut status = watcher.follow_status();
        tokio::select! {
            _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
            () = async {
                if method == Method::TasksGet {
                    until(&mut status, Status::is_live).await;
                    server.run("late").unwrap();
                }
                gate.until_waiting(1).await;
            } => {}
        }
        gate.open();
        until_nothing_is_left(before, &format!("while {method:?} is awaited")).await;
        drop(server);
        until_nothing_is_left(bare, "with the server").await;
    }
    let server = server_with(20);
    let before = holdings();
    let watcher = EngineWatcher::new(Client::new(server.endpoint()).unwrap());
    tokio::select! {
        _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
        ready = watcher.ready() => drop(ready.unwrap()),
    }
    until_nothing_is_left(before, "when live").await;

    server.stop_listening().await;
    let before = holdings();
    let mut status = watcher.follow_status();
    tokio::select! {
        _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
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
            // Once it is live, nothing wakes it.
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
    assert!(holdings() > before, "its connection is held");
    drop(connection);
    until_nothing_is_left(before, "with an idle connection").await;
}
