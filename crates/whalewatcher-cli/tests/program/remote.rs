//! Docker on other machines: contexts, certificates, ssh.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::Signal;
use whalewatcher_testkit::docker::Server;

use crate::discovery::Host;
use crate::program::{Ended, Program, command};

/// Adds a context to a folder of Docker's tools.
fn add(folder: &Path, name: &str, endpoint: &str) {
    let meta = folder.join("contexts/meta").join(name);
    fs::create_dir_all(&meta).unwrap();
    let text = format!(r#"{{"Name":"{name}","Endpoints":{{"docker":{{"Host":"{endpoint}"}}}}}}"#);
    fs::write(meta.join("meta.json"), text).unwrap();
}

async fn ps(folder: &Path, arguments: &[&str]) -> Ended {
    Ended::of(command(&["ps"]).args(arguments).env("DOCKER_CONFIG", folder)).await
}

#[tokio::test]
async fn contexts_are_watched_beside_hosts_and_the_current_one_by_default() {
    let [one, other, third] = [(); 3].map(|()| Server::builder().start().unwrap());
    for (engine, name) in [(&one, "web"), (&other, "mysql"), (&third, "job")] {
        engine.run(name).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "one", &one.endpoint());
    add(folder.path(), "other", &other.endpoint());
    fs::write(folder.path().join("config.json"), r#"{"currentContext":"other"}"#).unwrap();

    let shown = async |arguments: &[&str]| {
        let ended = ps(folder.path(), arguments).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        ["web", "mysql", "job"].map(|name| ended.stdout.contains(name))
    };
    assert_eq!(shown(&[]).await, [false, true, false]);
    assert_eq!(shown(&["--context", "one"]).await, [true, false, false]);
    assert_eq!(shown(&["--context", "one", "--context", "other"]).await, [true, true, false]);
    assert_eq!(shown(&["--host", &third.endpoint(), "--context", "one"]).await, [true, false, true]);
}

#[tokio::test]
async fn an_error_names_the_variable_that_names_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), "away", "unix:///no/such.sock");
    for (name, value, expected) in [
        ("DOCKER_HOST", "whale", "DOCKER_HOST: endpoint 'whale' cannot be used: "),
        ("DOCKER_HOST", "unix:///no/such.sock", "DOCKER_HOST: no such socket: unix:///no/such.sock"),
        ("DOCKER_HOST", "/no/such.sock", "DOCKER_HOST: no such socket: unix:///no/such.sock"),
        ("DOCKER_CONTEXT", "gone", "DOCKER_CONTEXT: there is no Docker context 'gone'"),
        ("DOCKER_CONTEXT", "away", "DOCKER_CONTEXT: no such socket: unix:///no/such.sock"),
    ] {
        let ended = Ended::of(command(&["ps"]).env("DOCKER_CONFIG", folder.path()).env(name, value)).await;
        assert!(ended.error().starts_with(&format!("whalewatcher: {expected}")), "{ended:?}");
    }
    let host = Host::new();
    for value in ["whale", "unix:///no/such.sock"] {
        let ended = Ended::of(host.command(&["ps"]).env("CONTAINER_HOST", value)).await;
        assert!(ended.error().contains(&format!("(CONTAINER_HOST: {value}: ")), "{ended:?}");
    }
    // The program's own option is not blamed on a variable.
    let mut named = command(&["ps", "--host", "unix:///no/such.sock"]);
    let ended = Ended::of(named.env("DOCKER_HOST", "unix:///other.sock")).await;
    assert!(ended.error().starts_with("whalewatcher: no such socket: unix:///no/such.sock"), "{ended:?}");
}

#[tokio::test]
async fn the_api_version_of_the_environment_may_begin_with_v() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut ps = command(&["ps", "-o", "name"]);
    let ended = Ended::of(ps.env("DOCKER_HOST", engine.endpoint()).env("DOCKER_API_VERSION", "v1.44")).await;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "web\n", ""));
}

#[tokio::test]
async fn a_malformed_file_is_one_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let ended = ps(folder.path(), &[]).await;
    assert!(ended.error().contains("/config.json cannot be used: "), "{ended:?}");
}

#[tokio::test]
async fn an_engine_without_tls_is_refused_if_tls_is_asked_for() {
    let engine = Server::builder().tcp(true).start().unwrap();
    let certificate = concat!(env!("CARGO_MANIFEST_DIR"), "/../whalewatcher-adapter/tests/tls/version-1.pem");
    let host = engine.tcp_endpoint().unwrap();
    let ended = ps(Path::new("/no/such"), &["--host", &host, "--tls-ca", certificate]).await;
    let error = ended.error();
    assert!(error.contains(&format!("what answers at {host} does not speak TLS")), "{error}");
    assert!(error.ends_with("--tlsverify"), "no advice follows about something else: {error}");
}

/// Returns a PATH in which this program is run in place of `ssh`, with what it does with the arguments.
fn path_with_ssh(folder: &Path, program: &str) -> String {
    symlink(program, folder.join("ssh")).unwrap();
    folder.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_host_that_does_not_answer_costs_nothing_of_the_others() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let (folder, hangs) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
    fs::write(hangs.path(), "#!/bin/sh\nexec /bin/sleep 1000\n").unwrap();
    fs::set_permissions(hangs.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // Not one that is open for writing.
    let hangs = hangs.into_temp_path();
    let path = path_with_ssh(folder.path(), hangs.to_str().unwrap());
    let arguments = ["watch", "--host", "ssh://whale", "--host", &engine.endpoint()];
    let mut program = Program::started(command(&arguments).env("PATH", &path).env("TMPDIR", folder.path()));
    while !program.line().await.contains("web") {}
    engine.run("mysql").unwrap();
    while !program.line().await.contains("mysql") {}
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code, Some(0));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ssh"], "no folder of a shared connection is left");

    let ended =
        Ended::of(command(&["ps", "--host", "ssh://whale", "--host", &engine.endpoint()]).env("PATH", &path))
            .await;
    assert!(ended.error().contains("ssh://whale"), "{ended:?}");
    assert!(ended.stdout.contains("web") && ended.stdout.contains("mysql"), "{ended:?}");
}

#[tokio::test]
async fn a_failure_of_ssh_is_one_line_without_advice_about_sockets() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_with_ssh(folder.path(), "/bin/false");
    let ended = Ended::of(command(&["ps", "--host", "ssh://whale"]).env("PATH", &path)).await;
    let error = ended.error();
    assert!(
        error.ends_with("'docker system dial-stdio' fails at ssh://whale: status 1 without a reason"),
        "{error}"
    );
    let ended = Ended::of(command(&["ps", "--host", "ssh://whale"]).env("PATH", "/no/such")).await;
    assert!(ended.error().ends_with("install OpenSSH's client"), "{ended:?}");
}
