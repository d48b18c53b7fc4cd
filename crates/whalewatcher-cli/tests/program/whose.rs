//! The containers that processes belong to. Processes in real containers are left to the scenarios.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use whalewatcher_testkit::containerd;
use whalewatcher_testkit::docker::Server;

use crate::program::run;

#[tokio::test]
async fn a_process_outside_of_all_containers_has_none_and_one_that_ended_is_an_error() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    let whose = |more: &[&str]| {
        let endpoint = engine.endpoint();
        let arguments: Vec<_> =
            ["whose", &pid, "--host", &endpoint].into_iter().chain(more.iter().copied()).collect();
        let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
        async move { run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };

    let ended = whose(&[]).await;
    let width = pid.len().max("PID".len());
    let expected = format!("{:width$}  NAME\n{pid:width$}  -\n", "PID");
    assert_eq!((ended.code, ended.stdout, ended.stderr.as_str()), (Some(0), expected, ""));
    let ended = whose(&["--format", "json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), json!([{ "pid": child.id() }]));

    child.kill().unwrap();
    child.wait().unwrap();
    let ended = whose(&["--format", "json"]).await;
    assert_eq!(ended.error(), format!("whalewatcher: process {pid}: no such process"));
    let expected = json!([{ "pid": child.id(), "error": "no such process" }]);
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), expected);
}

#[tokio::test]
async fn namespaces_that_are_not_searched_are_named() {
    let server = containerd::Server::builder().start().unwrap();
    server.run("lone").unwrap();
    server.run("k8s.io/pod").unwrap();
    let (host, pid) = (server.endpoint().replace("unix://", "containerd://"), std::process::id().to_string());
    let note = format!(
        "whalewatcher: containerd.io at {}: namespaces 'moby' and 'k8s.io' ignored; --all-namespaces shows all\n",
        server.endpoint()
    );
    for (arguments, note) in
        [(&[][..], note.as_str()), (&["--all-namespaces"], ""), (&["--ignore-namespace", "moby"], "")]
    {
        let ended = run(&[&["whose", &pid, "--format", "json", "--host", &host], arguments].concat()).await;
        let expected = format!("[{{\"pid\":{pid}}}]\n");
        assert_eq!(
            (ended.code, ended.stdout, ended.stderr.as_str()),
            (Some(0), expected, note),
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn without_any_engine_nothing_is_known_of_processes() {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("unix://{}/d.sock", folder.path().display());
    let ended = run(&["whose", "1", "--host", &endpoint]).await;
    assert!(ended.error().starts_with("whalewatcher: no such socket"), "{ended:?}");
    assert_eq!(ended.stdout, "");
    for wrong in ["0", "-1", "web", "2147483648"] {
        assert_eq!(run(&["whose", wrong, "--host", &endpoint]).await.code, Some(2), "{wrong}");
    }
    assert_eq!(run(&["whose"]).await.code, Some(2));
}
