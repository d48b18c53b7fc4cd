//! A dropped watch leaves no descriptor and no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use whalewatcher_core::EngineWatcher;
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{Flavour, Method, PodSpec, Server};
use whalewatcher_testkit::dropping::{
    Holdings, dropped_after_any_number_of_steps, dropped_alone, dropped_during_back_off, dropped_when,
    dropped_when_live,
};

/// The flavours whose changes come from events, from hints (with the feature `containerd`) and from polling.
const FLAVOURS: [Flavour; 3] = [Flavour::Containerd2_1, Flavour::Containerd1_7, Flavour::Crio];

/// Starts a server with this many pods of one container.
fn server_with(flavour: Flavour, pods: usize) -> Server {
    let server = Server::builder().flavour(flavour).start().unwrap();
    for number in 0..pods {
        let pod = server.run_pod(PodSpec::new(format!("p{number}"))).unwrap();
        server.run(&pod, "c").unwrap();
    }
    server
}

fn client(server: &Server) -> Client {
    Client::builder().endpoint(server.endpoint()).poll_every(Duration::from_millis(10)).build().unwrap()
}

/// All in one test, because others would hold tasks and descriptors meanwhile.
#[test]
fn a_dropped_watch_leaves_no_descriptor_and_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        while_something_is_awaited().await;
        let bare = Holdings::now();
        for flavour in FLAVOURS {
            let server = server_with(flavour, 5);
            dropped_after_any_number_of_steps(&EngineWatcher::new(client(&server))).await;
            dropped_alone(client(&server), 10).await;
            drop(server);
            bare.regained("with the server").await;
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(while_something_is_awaited());
}

async fn while_something_is_awaited() {
    let bare = Holdings::now();
    for (method, flavour) in [
        (Method::Version, Flavour::Containerd2_1),
        (Method::GetContainerEvents, Flavour::Containerd2_1),
        (Method::ListContainers, Flavour::Containerd2_1),
        (Method::ListPodSandbox, Flavour::Containerd1_7),
        (Method::ContainerStatus, Flavour::Containerd1_7),
        (Method::PodSandboxStatus, Flavour::Crio),
    ] {
        let server = server_with(flavour, 20);
        let gate = server.hold(method, None);
        let watcher = EngineWatcher::new(client(&server));
        let before = dropped_when(&watcher, gate.until_waiting(1)).await;
        gate.open();
        before.regained(&format!("while {method:?} is awaited")).await;
        drop((watcher, server));
        bare.regained("with the server").await;
    }
    for flavour in FLAVOURS {
        let server = server_with(flavour, 20);
        let watcher = EngineWatcher::new(client(&server));
        dropped_when_live(&watcher).await;
        let gate = server.hold(Method::ContainerStatus, None);
        let awaited = async {
            gate.until_waiting(1).await;
            let pod = server.run_pod("late").unwrap();
            server.begin_start(&server.create(&pod, "late").unwrap()).unwrap();
            gate.until_waiting(2).await;
        };
        let before = dropped_when(&watcher, awaited).await;
        gate.open();
        before.regained("while statuses are awaited").await;
        server.stop_listening().await;
        dropped_during_back_off(&watcher).await;
        drop((watcher, server));
        bare.regained("with the server").await;
    }
}
