//! Engines that the program finds, on a made-up host.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;
use whalewatcher_testkit::docker::Server;

use crate::program::{Ended, Program, command, run};

/// A made-up host, without processes.
pub(crate) struct Host(TempDir);

impl Host {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(crate) fn docker(&self, path: &str, container: &str) -> Server {
        let docker = Server::builder().socket(self.path(path)).start().unwrap();
        docker.run(container).unwrap();
        docker
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let folder = self.0.path();
        let mut command = command(arguments);
        command.arg("--root").arg(folder).arg("--proc").arg(folder.join("proc"));
        command.env("HOME", folder).env_remove("CONTAINER_HOST");
        command
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&mut self.command(arguments)).await
    }
}

#[tokio::test]
async fn all_engines_are_shown_unless_dockers_tools_are_set_to_one() {
    let host = Host::new();
    let one = host.docker("var/run/docker.sock", "web");
    let _other = host.docker("run/user/1000/docker.sock", "job");
    let shown = |ended: &Ended| ["web", "job"].map(|name| ended.stdout.contains(name));
    let all = host.run(&["ps"]).await;
    assert_eq!((all.code, &*all.stderr, shown(&all)), (Some(0), "", [true; 2]), "{all:?}");
    let set = |arguments: &[&str]| {
        let mut command = host.command(arguments);
        command.env("DOCKER_HOST", one.endpoint());
        command
    };
    assert_eq!(shown(&Ended::of(&mut set(&["ps"])).await), [true, false]);
    assert_eq!(shown(&Ended::of(&mut set(&["ps", "--discover"])).await), [true; 2]);
    assert_eq!(host.run(&["ps", "--discover", "--host", "/run/d.sock"]).await.code, Some(2));
}

#[tokio::test]
async fn engines_that_are_not_selected_are_not_connected_to() {
    let host = Host::new();
    let docker = host.docker("var/run/docker.sock", "web");
    let path = host.path("run/containerd/containerd.sock");
    let other = UnixListener::bind(&path).unwrap();
    other.set_nonblocking(true).unwrap();
    let named = format!("containerd://{}", path.display());
    for engines in [&["--host", &docker.endpoint(), "--host", &named][..], &[]] {
        for command in [&["ps"][..], &["watch", "--until", "synced"]] {
            let ended = match engines {
                [] => host.run(&[command, &["--engine", "docker"]].concat()).await,
                _ => run(&[command, engines, &["--engine", "docker"]].concat()).await,
            };
            assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
            assert!(ended.stdout.contains("web"), "{ended:?}");
        }
    }
    assert_eq!(other.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let none = host.run(&["ps", "--engine", "podman"]).await;
    assert_eq!(none.stdout, "");
    assert_eq!(none.stderr, "whalewatcher: no live container matches the filters\n");
}

#[tokio::test]
async fn a_host_without_engines_is_one_error_and_watch_waits() {
    let host = Host::new();
    let ended = host.run(&["ps"]).await;
    assert!(ended.error().starts_with("whalewatcher: no container engine was found: start one"), "{ended:?}");
    assert_eq!(ended.stdout, "");
    let mut program = Program::started(&mut host.command(&["watch"]));
    assert_eq!(program.error_line().await, "whalewatcher: no container engine was found; waiting for one");
    let _docker = host.docker("run/docker.sock", "web");
    while !program.line().await.contains("web") {}
}

#[tokio::test]
async fn engines_are_numbered_once_there_are_several() {
    let host = Host::new();
    let first = host.docker("run/docker.sock", "web");
    let mut program = Program::started(&mut host.command(&["watch"]));
    assert!(program.line().await.starts_with("NAME"));
    while !program.line().await.contains("web") {}
    let _second = host.docker("run/user/1000/docker.sock", "job");
    assert_eq!(program.line().await, "");
    let headline = program.line().await;
    assert!(headline.starts_with("[1] docker.com ") && headline.ends_with("run/docker.sock"), "{headline}");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|last: &String| !last.contains("job")) {
        lines.push(program.line().await);
    }
    assert!(lines.iter().any(|line| line.starts_with("[2] docker.com ")), "{lines:?}");
    first.run("db").unwrap();
    while !program.line().await.contains("● started  db") {}
}

#[tokio::test]
async fn an_engine_that_does_not_run_is_noted_and_no_failure() {
    let host = Host::new();
    let docker = host.docker("run/docker.sock", "web");
    let _podman = UnixListener::bind(host.path("run/podman/podman.sock")).unwrap();
    let ended = host.run(&["ps"]).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(0), 1), "{ended:?}");
    assert!(
        ended.stderr.contains("podman.sock: no engine runs there") && ended.stderr.contains("--activate")
    );
    docker.stop("web").unwrap();
    let ended = host.run(&["ps"]).await;
    assert!(ended.stdout.is_empty() || ended.stdout.contains("known to be alive"), "{ended:?}");
    drop(docker);
    let ended = host.run(&["ps"]).await;
    assert!(ended.error().contains("podman.sock: no engine runs there"), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_watched_is_noted_and_a_failure_of_ps() {
    let host = Host::new();
    let _docker = host.docker("run/docker.sock", "web");
    let old = Server::builder().socket(host.path("run/user/1/docker.sock")).version("1.9");
    let _old = old.api_versions("1.21", "1.12").start().unwrap();
    let ended = host.run(&["ps", "--format", "json"]).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 1), "{ended:?}");
    assert!(ended.stderr.contains("run/user/1/docker.sock") && ended.stderr.contains("too old"), "{ended:?}");
    assert!(ended.stdout.contains("web"));
    let mut program = Program::started(&mut host.command(&["watch", "--format", "json"]));
    assert!(program.error_line().await.contains("too old"));
    while program.json().await["event"] != "synced" {}
}
