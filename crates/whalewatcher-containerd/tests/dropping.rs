//! A dropped watch leaves no descriptor and no task. In a process of its own, to count them.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use whalewatcher_containerd::Client;
use whalewatcher_core::{EngineWatcher, Status};
use whalewatcher_testkit::containerd::{Method, Server};
use whalewatcher_testkit::dropping::{
    Holdings, dropped_after_any_number_of_steps, dropped_alone, dropped_during_back_off, dropped_when,
    dropped_when_live,
};

fn server_with(containers: usize) -> Server {
    let server = Server::builder().start().unwrap();
    for number in 0..containers {
        server.run(format!("n{}/c{number}", number % 4)).unwrap();
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
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(while_something_is_awaited());
}

async fn while_something_is_awaited() {
    let bare = Holdings::now();
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
        let gate = server.hold(method);
        let watcher = EngineWatcher::new(client(&server));
        let mut status = watcher.follow_status();
        let awaited = async {
            if method == Method::TasksGet {
                status.wait_for(Status::is_live).await;
                server.run("late").unwrap();
            }
            gate.until_waiting(1).await;
        };
        let before = dropped_when(&watcher, awaited).await;
        gate.open();
        before.regained(&format!("while {method:?} is awaited")).await;
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
