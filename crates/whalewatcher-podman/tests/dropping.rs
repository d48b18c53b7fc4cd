//! A dropped watch leaves no descriptor and no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use whalewatcher_core::EngineWatcher;
use whalewatcher_podman::Client;
use whalewatcher_testkit::docker::{ContainerSpec, Flavour, Kind, Server};
use whalewatcher_testkit::dropping::{
    Holdings, dropped_after_any_number_of_steps, dropped_alone, dropped_during_back_off, dropped_when,
    dropped_when_live,
};

fn server() -> Server {
    let server = Server::builder().flavour(Flavour::Podman).version("4.3.1").api_versions("1.41", "1.24");
    let server = server.start().unwrap();
    for number in 0..10 {
        server.run(ContainerSpec::new(format!("c{number}")).pod("pool", false)).unwrap();
    }
    server
}

fn watcher(server: &Server) -> EngineWatcher<Client> {
    EngineWatcher::new(Client::builder().endpoint(server.endpoint()).inspect_all().build().unwrap())
}

/// All in one test, because others would hold tasks and descriptors meanwhile.
#[test]
fn a_dropped_watch_leaves_no_descriptor_and_no_task() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bare = Holdings::now();
        for kind in [Kind::Ping, Kind::Info, Kind::Events, Kind::List, Kind::Inspect] {
            let server = server();
            let gate = server.hold(kind);
            let watcher = watcher(&server);
            let before = dropped_when(&watcher, gate.until_waiting(1)).await;
            gate.open();
            before.regained(&format!("while {kind:?} is awaited")).await;
            drop((watcher, server));
            bare.regained("with the server").await;
        }
        let server = server();
        let watcher = watcher(&server);
        dropped_after_any_number_of_steps(&watcher).await;
        dropped_alone(Client::new(server.endpoint()).unwrap(), 10).await;
        dropped_when_live(&watcher).await;
        server.stop_listening().await;
        dropped_during_back_off(&watcher).await;
        drop((watcher, server));
        bare.regained("with the server").await;
    });
}
