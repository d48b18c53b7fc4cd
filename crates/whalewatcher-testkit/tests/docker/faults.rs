//! The engine stops, starts again, and ends.

use tokio::net::{TcpStream, UnixStream};
use whalewatcher_testkit::docker::{ContainerSpec, Error, RestartPolicy, Server};

use crate::client::{Events, get, inspect, names, now};

#[tokio::test]
async fn all_connections_can_be_closed_at_once() {
    let server = Server::builder().start().unwrap();
    let one = Events::registered(&server, "").await;
    let other = Events::registered(&server, "").await;
    server.disconnect_all();
    server.run("unseen").unwrap();
    assert!(one.all().await.is_empty());
    assert!(other.all().await.is_empty());
    assert_eq!(get(&server, "/_ping").await.status, 200);
    server.until(|stats| stats.listeners == 0 && stats.open == 0).await;
}

#[tokio::test]
async fn an_engine_that_is_gone_leaves_no_socket() {
    let server = Server::builder().tcp(true).start().unwrap();
    let port = server.tcp_endpoint().unwrap().replace("tcp://", "");
    TcpStream::connect(&port).await.unwrap();
    let events = Events::registered(&server, "").await;
    server.stop_listening().await;
    assert!(!server.socket().exists());
    assert_eq!(server.stats().open, 0);
    assert!(UnixStream::connect(server.socket()).await.is_err());
    assert!(TcpStream::connect(&port).await.is_err());
    assert!(events.all().await.is_empty());
    // A second call changes nothing.
    server.stop_listening().await;
    server.listen_again(true).unwrap();
    server.listen_again(true).unwrap();
    assert_eq!(get(&server, "/_ping").await.status, 200);
    TcpStream::connect(&port).await.unwrap();
}

#[tokio::test]
async fn with_live_restore_containers_outlive_the_engine_and_change_unseen() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    server.run("stays").unwrap();
    server.run("goes").unwrap();
    let stays = server.truth().into_iter().find(|alive| alive.name == "stays").unwrap();
    server.stop_listening().await;
    server.exit("goes", 0).unwrap();
    server.listen_again(true).unwrap();
    assert_eq!(server.truth(), [stays]);
    assert_eq!(names(&server, "").await, ["stays"]);
    let past = Events::request(&server, &format!("since={since}&until={}", now(&server))).await;
    assert!(past.all().await.is_empty());
}

#[tokio::test]
async fn without_live_restore_all_are_killed_and_some_start_again() {
    let server = Server::builder().start().unwrap();
    let since = now(&server);
    for (name, policy) in [
        ("no", RestartPolicy::No),
        ("always", RestartPolicy::Always),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("on-failure", RestartPolicy::OnFailure),
        ("stopped", RestartPolicy::UnlessStopped),
        ("stopped-always", RestartPolicy::Always),
        ("never-started", RestartPolicy::Always),
    ] {
        let spec = ContainerSpec::new(name).restart(policy);
        let id = server.create(spec).unwrap();
        if name != "never-started" {
            server.start(&id).unwrap();
        }
    }
    server.run(ContainerSpec::new("rm").auto_remove(true)).unwrap();
    server.stop("stopped").unwrap();
    server.stop("stopped-always").unwrap();
    let before = inspect(&server, "always").await["State"].clone();
    server.restart_engine(false).await.unwrap();
    let mut alive: Vec<_> = server.truth().into_iter().map(|alive| alive.name).collect();
    alive.sort();
    assert_eq!(alive, ["always", "on-failure", "stopped-always", "unless-stopped"]);
    let after = inspect(&server, "always").await["State"].clone();
    assert_ne!(before["Pid"], after["Pid"]);
    assert_ne!(before["StartedAt"], after["StartedAt"]);
    assert_eq!(inspect(&server, "no").await["State"]["ExitCode"], 137);
    assert_eq!(get(&server, "/containers/rm/json").await.status, 404);
    let past = Events::request(&server, &format!("since={since}&until={}", now(&server))).await;
    assert!(past.all().await.is_empty());
}

#[tokio::test]
async fn an_engine_can_come_back_with_another_version() {
    let server = Server::builder().start().unwrap();
    server.stop_listening().await;
    server.set_version("29.1.0", "1.52", "1.44");
    server.listen_again(true).unwrap();
    assert_eq!(get(&server, "/version").await.json()["Version"], "29.1.0");
    assert_eq!(get(&server, "/v1.43/info").await.status, 400);
}

#[tokio::test]
async fn dropping_the_last_handle_closes_everything() {
    let server = Server::builder().start().unwrap();
    let socket = server.socket();
    let events = Events::registered(&server, "").await;
    let other = server.clone();
    drop(server);
    assert_eq!(get(&other, "/_ping").await.status, 200);
    drop(other);
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
    assert!(events.all().await.is_empty());
}

#[tokio::test]
async fn a_socket_can_be_named_and_must_be_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    let server = Server::builder().socket(&path).start().unwrap();
    assert_eq!(server.endpoint(), format!("unix://{}", path.display()));
    let taken = Server::builder().socket(&path).start().unwrap_err();
    assert!(matches!(taken, Error::Listen { .. }));
    assert_eq!(get(&server, "/_ping").await.status, 200);
    drop(server);
    assert!(!path.exists() && folder.path().exists());
}

#[test]
fn without_a_runtime_there_is_no_server() {
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
}
