//! The clients in `examples/clients`, each where its interpreter or compiler is there.

use std::path::{Path, PathBuf};

use tokio::process::Command;
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::proxy::Proxy;

use crate::program::Program;
use crate::serve::Serving;

fn path(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/clients").join(client)
}

/// Has a client follow the events through a lost connection, unless a program that it needs is missing.
async fn follows(client: &str, needs: &[&str]) {
    for program in needs {
        if Command::new(program).arg("--version").output().await.is_err() {
            return;
        }
    }
    goes_on_after_a_lost_connection(&path(client)).await;
}

async fn goes_on_after_a_lost_connection(client: &Path) {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let serving = Serving::start(&[&engine.endpoint()], &[]).await;
    serving.until_ready().await;
    let folder = serving.folder.path();
    let proxy = Proxy::builder().listen_unix(folder.join("proxy"));
    let proxy = proxy.upstream(format!("unix://{}", folder.join("s").display())).start().unwrap();
    let mut command = Command::new(client);
    let mut printed = Program::started(command.arg(folder.join("proxy")).kill_on_drop(true));
    assert_eq!(printed.line().await, "alive web");
    engine.run("db").unwrap();
    assert_eq!(printed.line().await, "started db");
    proxy.cut_all();
    engine.exit("db", 0).unwrap();
    // It goes on behind what it has received: a new snapshot would be printed.
    assert_eq!(printed.line().await, "exited db");
    engine.run("job").unwrap();
    assert_eq!(printed.line().await, "started job");
}

#[tokio::test]
async fn the_client_in_python_goes_on_after_a_lost_connection() {
    follows("whalewatcher.py", &["python3"]).await;
}

#[tokio::test]
async fn the_client_in_shell_goes_on_after_a_lost_connection() {
    follows("whalewatcher.sh", &["bash", "curl", "jq"]).await;
}

#[tokio::test]
async fn the_client_in_go_goes_on_after_a_lost_connection() {
    let folder = tempfile::tempdir().unwrap();
    let client = folder.path().join("client");
    let mut go = Command::new("go");
    go.arg("build").arg("-o").arg(&client).arg(path("whalewatcher.go"));
    let Ok(built) = go.env("GOCACHE", folder.path().join("cache")).output().await else { return };
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    goes_on_after_a_lost_connection(&client).await;
}
