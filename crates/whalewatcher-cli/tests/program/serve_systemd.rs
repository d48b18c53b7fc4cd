//! The server under a service manager: its reports, and sockets that it is passed.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use hyper::StatusCode;
use rustix::process::Signal;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::process::Command;
use tokio::time::timeout;
use whalewatcher_testkit::docker::Server;

use crate::http::ask;
use crate::program::{Ended, LIMIT, PATH, Program, command};

/// Returns a command for the server with a socket as a service manager passes it.
fn activated(socket: impl Into<OwnedFd>, arguments: &[&str]) -> Command {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" serve \"$@\"",
        PATH,
    ]);
    shell.args(arguments).stdin(socket.into()).kill_on_drop(true);
    shell
}

async fn status(socket: &Path) -> StatusCode {
    let stream = UnixStream::connect(socket).await.unwrap();
    ask(stream, "/healthz", &[("host", "localhost")]).await.unwrap().status()
}

#[tokio::test]
async fn the_service_manager_knows_when_it_is_ready_waits_works_and_ends() {
    let engine = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(folder.path().join("manager")).unwrap();
    let received = async || {
        let mut text = [0; 4096];
        let count = timeout(LIMIT, manager.recv(&mut text)).await.expect("no report comes").unwrap();
        String::from_utf8(text[..count].to_vec()).unwrap()
    };
    let until = async |awaited: &str| {
        loop {
            let report = received().await;
            if report.starts_with(awaited) {
                return report;
            }
        }
    };
    let mut serve = command(&["serve", "--socket", "s", "-H", &engine.endpoint()]);
    serve.current_dir(folder.path()).env("NOTIFY_SOCKET", folder.path().join("manager"));
    let program = Program::started(serve.env("WATCHDOG_USEC", "60000000"));
    assert_eq!(until("WATCHDOG").await, "WATCHDOG=1\n");
    until("READY=1\n").await;
    engine.stop_listening().await;
    let waiting = until("STATUS=waiting: ").await;
    assert!(waiting.contains(&engine.endpoint()) && waiting.lines().count() == 1, "{waiting}");
    engine.listen_again().unwrap();
    assert_eq!(until("STATUS=in sync").await, "STATUS=in sync with 1 engine\n");
    program.signal(Signal::TERM);
    until("STOPPING=1\n").await;
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn sockets_that_are_passed_are_served_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut program =
        Program::started(&mut activated(listener.try_clone().unwrap(), &["-H", "/no/such.sock"]));
    // The socket of the option is not needed beside it.
    let line = program.error_line().await;
    assert_eq!(line, format!("whalewatcher: serving at unix://{}", socket.display()));
    assert_eq!(status(&socket).await, StatusCode::OK);
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code, Some(0));
    assert!(socket.metadata().unwrap().file_type().is_socket());
}

#[tokio::test]
async fn an_address_that_is_passed_needs_a_token_too() {
    let folder = tempfile::tempdir().unwrap();
    let address = || TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = Ended::of(&mut activated(address(), &["-H", "/no/such.sock"])).await;
    assert!(
        refused.code == Some(2) && refused.stderr.contains("clients need a token or a certificate there")
    );
    let datagrams = std::os::unix::net::UnixDatagram::bind(folder.path().join("d")).unwrap();
    let refused = Ended::of(&mut activated(datagrams, &["-H", "/no/such.sock"])).await;
    assert!(refused.error().ends_with("use ListenStream="), "{refused:?}");
}
