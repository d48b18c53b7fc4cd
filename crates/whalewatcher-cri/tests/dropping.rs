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
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineWatcher, Phase, Settings, Status, StatusFollower};
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{Flavour, Method, PodSpec, Server};

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

/// Starts a server with this many pods of one container.
fn server_with(flavour: Flavour, pods: usize) -> Server {
    let server = Server::builder().flavour(flavour).start().unwrap();
    for number in 0..pods {
        let pod = server.run_pod(PodSpec::new(format!("p{number}"))).unwrap();
        server.run(&pod, "c").unwrap();
    }
    server
}

/// The flavours whose changes come from events, from hints (with the feature `containerd`) and from polling.
const FLAVOURS: [Flavour; 3] = [Flavour::Containerd2_1, Flavour::Containerd1_7, Flavour::Crio];

fn client(server: &Server) -> Client {
    Client::builder().endpoint(server.endpoint()).poll_every(Duration::from_millis(10)).build().unwrap()
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
    for (method, flavour) in [
        (Method::Version, Flavour::Containerd2_1),
        (Method::GetContainerEvents, Flavour::Containerd2_1),
        (Method::ListContainers, Flavour::Containerd2_1),
        (Method::ListPodSandbox, Flavour::Containerd1_7),
        (Method::ContainerStatus, Flavour::Containerd1_7),
        (Method::PodSandboxStatus, Flavour::Crio),
    ] {
        let server = server_with(flavour, 20);
        let before = holdings();
        let gate = server.hold(method, None);
        let watcher = EngineWatcher::new(client(&server));
        tokio::select! {
            _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
            () = gate.until_waiting(1) => {}
        }
        gate.open();
        until_nothing_is_left(before, &format!("while {method:?} is awaited")).await;
        drop(server);
        until_nothing_is_left(bare, "with the server").await;
    }
    for flavour in FLAVOURS {
        let server = server_with(flavour, 20);
        let before = holdings();
        let watcher = EngineWatcher::new(client(&server));
        tokio::select! {
            _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
            ready = watcher.ready() => drop(ready.unwrap()),
        }
        until_nothing_is_left(before, "when live").await;

        let gate = server.hold(Method::ContainerStatus, None);
        tokio::select! {
            _ = watcher.watch(CancellationToken::new()) => unreachable!("it goes on"),
            () = async {
                gate.until_waiting(1).await;
                let pod = server.run_pod("late").unwrap();
                server.begin_start(&server.create(&pod, "late").unwrap()).unwrap();
                gate.until_waiting(2).await;
            } => {}
        }
        gate.open();
        until_nothing_is_left(before, "while statuses are awaited").await;

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
}

async fn after_any_number_of_steps() {
    let bare = holdings();
    for flavour in FLAVOURS {
        let server = server_with(flavour, 5);
        let before = holdings();
        let watcher = EngineWatcher::new(client(&server));
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
}

async fn a_connection_alone() {
    let server = server_with(Flavour::Containerd2_1, 1);
    let before = holdings();
    let connection = client(&server).connect(&Settings::default()).await.unwrap();
    assert_eq!(connection.list().await.unwrap().entries.len(), 2);
    assert!(holdings() > before, "its connection is held");
    drop(connection);
    until_nothing_is_left(before, "with an idle connection").await;
}
