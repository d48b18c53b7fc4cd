//! Connecting: identity, API version, and the errors that prevent it.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use std::fs;
use std::process::Command;

use tokio::net::UnixListener;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{EngineError, ErrorKind, Settings, WatchError};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Flavour, Kind, Server};

use crate::watched::{in_time, watch, watch_by};

async fn refusal(endpoint: impl Into<String>) -> EngineError {
    in_time(Client::new(endpoint).unwrap().connect(&Settings::default())).await.unwrap_err()
}

#[tokio::test]
async fn the_engine_is_identified() {
    let server = Server::builder().id("whale").version("27.3.1").start().unwrap();
    let identity =
        Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap().identity();
    assert_eq!((identity.engine_type.as_str(), identity.id.as_str()), ("docker.com", "whale"));
    assert_eq!((identity.version.as_str(), identity.endpoint), ("27.3.1", server.endpoint()));
    assert_eq!(identity.pid, None, "this test does not have an engine's name");
}

#[tokio::test]
async fn the_api_version_is_negotiated() {
    for (newest, oldest, spoken) in [
        ("1.41", "1.12", "1.41"),
        ("1.45", "1.24", "1.45"),
        ("1.52", "1.44", "1.52"),
        ("1.60", "1.44", "1.52"),
    ] {
        let server = Server::builder().api_versions(newest, oldest).start().unwrap();
        let list = server.arrival(|request| request.kind() == Kind::List);
        let events = server.arrival(|request| request.kind() == Kind::Events);
        let watched = watch(&server).live().await;
        assert_eq!(in_time(list).await.api_version(), Some(spoken));
        assert_eq!(in_time(events).await.api_version(), Some(spoken));
        drop(watched);
        let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
        assert_eq!(connection.api_version(), spoken);
    }
}

#[tokio::test]
async fn a_handshake_takes_few_requests() {
    for (newest, versions) in [("1.41", 0), ("1.52", 0), ("1.60", 1)] {
        let server = Server::builder().api_versions(newest, "1.24").start().unwrap();
        let _connection =
            Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
        let asked = server.stats().requests;
        assert_eq!((asked.ping, asked.info, asked.version), (1, 1, versions), "{newest}");
        assert_eq!(asked.total(), 2 + versions, "{newest}");
    }
}

#[tokio::test]
async fn an_engine_too_old_is_distinguished_from_a_missing_one() {
    let server = Server::builder().api_versions("1.40", "1.12").start().unwrap();
    let error = refusal(server.endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::TooOld);
    assert_eq!(error.to_string(), "Docker API 1.40 is too old, 1.41 or newer is needed: Docker 20.10");

    let podman = Server::builder().flavour(Flavour::OldPodman).version("3.4.4").api_versions("1.40", "1.24");
    let error = refusal(podman.start().unwrap().endpoint()).await;
    assert_eq!(error.to_string(), "podman 3.4.4 is too old: podman 4 or newer is needed");

    let server = Server::builder().api_versions("1.70", "1.60").start().unwrap();
    assert_eq!(refusal(server.endpoint()).await.kind(), ErrorKind::TooNew);

    server.stop_listening().await;
    let error = refusal(server.endpoint()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let expected = format!("no such socket: {}; is the engine running?", server.endpoint());
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_socket_without_a_listener_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let error = refusal(socket.to_str().unwrap()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(error.to_string().starts_with("nothing listens at unix://"), "{error}");

    let folder = folder.path().display();
    let error = refusal(folder.to_string()).await;
    let expected =
        format!("unix://{folder} is a directory, not a socket: check what was mounted or created there");
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Unreachable, expected));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(refusal(format!("tcp://{address}")).await.kind(), ErrorKind::Unreachable);
    assert_eq!(refusal("tcp://whale.invalid:1").await.kind(), ErrorKind::Unreachable);
}

/// Set in the environment of this test when it runs itself as a user without permission.
const SOCKET: &str = "WHALEWATCHER_TEST_SOCKET";
const NOBODY: u32 = 65534;

#[tokio::test]
async fn a_refused_permission_names_the_group_that_has_it() {
    if let Ok(socket) = std::env::var(SOCKET) {
        let error = refusal(socket).await;
        writeln!(std::io::stdout(), "{:?}: {error}", error.kind()).unwrap();
        return;
    }
    let server = Server::builder().start().unwrap();
    let socket = server.socket();
    // No other user may connect. A user other than root cannot change a file's group, but may be refused as its owner.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o020)).unwrap();
    let groups = fs::read_to_string("/etc/group").unwrap();
    let (group, gid) = groups
        .lines()
        .filter_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            Some((fields.first()?.to_string(), fields.get(2)?.parse::<u32>().ok()?))
        })
        .find(|(_, gid)| *gid != 0 && *gid != NOBODY)
        .unwrap();
    if chown(&socket, None, Some(gid)).is_err() {
        let error = refusal(server.endpoint()).await;
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("which members of group '"), "{error}");
        return;
    }
    // Root may do anything, so this test runs itself as another user, which needs access to it and to the socket.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for open in [folder.path(), &program, socket.parent().unwrap()] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let name = "connecting::a_refused_permission_names_the_group_that_has_it";
    let mut command = Command::new(program);
    command.args(["--exact", name, "--nocapture"]).env(SOCKET, &socket).uid(NOBODY).gid(NOBODY);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!(
        "PermissionDenied: no permission to use {}, which members of group '{group}' may use: add yourself with",
        server.endpoint()
    );
    assert!(output.contains(&expected), "{output}");
}

#[tokio::test]
async fn hooks_run_before_the_watch_and_before_each_attempt() {
    let server = Server::builder().start().unwrap();
    let (watches, attempts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (watch_calls, attempt_calls) = (watches.clone(), attempts.clone());
    let client = Client::builder()
        .endpoint(server.endpoint())
        .before_watch(move || {
            watch_calls.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        })
        .before_attempt(move || {
            let first = attempt_calls.fetch_add(1, Ordering::SeqCst) == 0;
            async move { if first { Err(EngineError::new(ErrorKind::Failed, "not yet")) } else { Ok(()) } }
        });
    let mut watched = watch_by(client.build().unwrap());
    assert_eq!(watched.reported_all(2).await, ["disconnected not yet", "synced 0"]);
    assert_eq!((watches.load(Ordering::SeqCst), attempts.load(Ordering::SeqCst)), (1, 2));

    let client = Client::builder()
        .endpoint(server.endpoint())
        .before_watch(|| async { Err(EngineError::new(ErrorKind::Failed, "never")) });
    let watcher = whalewatcher_core::EngineWatcher::new(client.build().unwrap());
    let refused = in_time(watcher.watch(tokio_util::sync::CancellationToken::new())).await;
    assert!(matches!(refused, Err(WatchError::Refused { .. })));
}

#[cfg(feature = "bollard")]
#[tokio::test]
async fn the_bollard_client_reaches_the_same_engine() {
    let server = Server::builder().id("whale").start().unwrap();
    let web = server.run("web").unwrap();
    let docker = Client::new(server.endpoint()).unwrap().client().unwrap();
    assert_eq!(in_time(docker.info()).await.unwrap().id.as_deref(), Some("whale"));
    let inspected = in_time(docker.inspect_container(&web, None)).await.unwrap();
    assert_eq!(inspected.name.as_deref(), Some("/web"));
    server.stop_listening().await;
    let error = in_time(docker.info()).await.unwrap_err();
    assert!(error.to_string().contains("no such socket"), "{error}");
}
