//! Errors are one line, with advice.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;
use tokio::process::Command;
use whalewatcher_testkit::docker::{Kind, Server, Verdict};

use crate::program::{Ended, PATH, Program, command, run};

const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../whalewatcher-adapter/tests/tls/version-1.pem");

#[tokio::test]
async fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["dance"],
        &["ps", "--host"],
        &["ps", "--host", "ftp://whale"],
        &["watch", "--host", "/run/a", "--host", "unix:///run/a"],
        &["watch", "--format", "xml"],
        &["ps", "--host", "/run/a", "--all-namespaces"],
        &["ps", "--discover", "--ignore-namespace", "no good"],
        &["ps", "--discover", "--context", "default"],
        &["ps", "--host", "containerd://", "--all-namespaces", "--ignore-namespace", "moby"],
        &["ps", "--host", "containerd://", "--ignore-namespace", "no good"],
        &["ps", "--context", "unknown"],
        &["ps", "--context", "default", "--host", "/var/run/docker.sock"],
        &["ps", "--tls-cert", "cert.pem"],
        &["ps", "--tls-key", "key.pem"],
        &["ps", "--host", "/run/a", "--tls-ca", CERTIFICATE],
        &["ps", "--host", "http://whale", "--tls-ca", CERTIFICATE],
        &["demo", "--for", "soon"],
        &["demo", "--for", "0s"],
    ] {
        let ended = run(arguments).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!ended.stderr.is_empty());
    }
}

#[tokio::test]
async fn help_and_version_exit_with_0() {
    for arguments in [
        ["--help"].as_slice(),
        &["ps", "--help"],
        &["watch", "-h"],
        &["demo", "--help"],
        &["whose", "--help"],
    ] {
        let ended = run(arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert!(ended.stdout.contains("Examples:\n  whalewatcher "), "{}", ended.stdout);
    }
    assert!(run(&["--version"]).await.stdout.starts_with("whalewatcher 0"));
}

#[tokio::test]
async fn ps_fails_without_a_socket_and_watch_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let endpoint = format!("unix://{}", socket.display());
    let ended = run(&["ps", "--host", &endpoint]).await;
    let error = ended.error();
    assert!(error.starts_with(&format!("whalewatcher: no such socket: {endpoint}; is ")), "{error}");
    assert!(error.contains("--host"), "{error}");

    let mut program = Program::start(&["watch", "--host", &endpoint]);
    let waiting = program.error_line().await;
    assert!(waiting.starts_with("whalewatcher: waiting for the engine: no such socket: "), "{waiting}");
    let engine = Server::builder().socket(&socket).start().unwrap();
    assert_eq!(program.line().await, "no container is alive");
    engine.run("web").unwrap();
    assert_eq!(program.line().await, "");
    assert!(program.line().await.contains("● started  web "));
}

#[tokio::test]
async fn without_host_the_environment_names_the_engine() {
    let engine = Server::builder().start().unwrap();
    let output = command(&["ps"]).env("DOCKER_HOST", engine.endpoint()).output().await.unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(0), b"no container is alive\n".as_slice())
    );
    let output = command(&["ps"]).env("DOCKER_HOST", "ftp://whale").output().await.unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.iter().filter(|byte| **byte == b'\n').count()),
        (Some(1), 1)
    );
}

#[tokio::test]
async fn watch_does_not_wait_for_what_is_not_docker() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"-ERR what whale?\r\n");
        }
    });
    let host = socket.to_str().unwrap();
    for arguments in [
        ["ps", "--host", host].as_slice(),
        &["watch", "--host", host],
        &["watch", "--format", "json", "--host", host],
    ] {
        let ended = run(arguments).await;
        let error = ended.error();
        assert!(error.contains(host) && error.contains("Docker's API"), "{error}");
    }
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_named() {
    let engine = Server::builder().version("1.9").api_versions("1.21", "1.12").start().unwrap();
    for subcommand in ["ps", "watch"] {
        let ended = run(&[subcommand, "--host", &engine.endpoint()]).await;
        let error = ended.error();
        assert!(error.contains("1.21 is too old") && error.contains("upgrade"), "{error}");
    }
}

/// Returns an engine that is too old and a good one, and hosts for the first, for a missing socket and for the second.
fn mixed() -> (tempfile::TempDir, [Server; 2], [String; 3]) {
    let old = Server::builder().version("1.9").api_versions("1.21", "1.12").start().unwrap();
    let good = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let missing = format!("unix://{}", folder.path().join("d.sock").display());
    let hosts = [old.endpoint(), missing, good.endpoint()];
    (folder, [old, good], hosts)
}

#[tokio::test]
async fn ps_shows_what_is_known_and_reports_the_rest() {
    let (_folder, [_old, good], hosts) = mixed();
    good.run("web").unwrap();
    let hosts: Vec<_> = hosts.iter().flat_map(|host| ["--host", host]).collect();
    for (format, begin) in [("text", "docker.com 28.5.2 at unix://"), ("json", "[{\"id\"")] {
        let ended = run(&[&["ps", "--format", format], &hosts[..]].concat()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.starts_with(begin) && ended.stdout.contains("web"), "{ended:?}");
        let errors: Vec<_> = ended.stderr.lines().collect();
        assert_eq!(errors.len(), 2, "{ended:?}");
        assert!(errors[0].contains(hosts[1]) && errors[0].contains("too old"), "{ended:?}");
        assert!(errors[1].contains(hosts[3]) && errors[1].contains("no such socket"), "{ended:?}");
    }
    let ended = run(&[&["ps", "--format", "json"], &hosts[..4]].concat()).await;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.lines().count()), (Some(1), "", 2));
}

#[tokio::test]
async fn watch_goes_on_while_one_host_can_be_watched_or_may_come() {
    let (_folder, [_old, good], hosts) = mixed();
    let hosts: Vec<_> = hosts.iter().flat_map(|host| ["--host", host]).collect();
    for format in ["text", "json"] {
        let mut program = Program::start(&[&["watch", "--format", format], &hosts[..]].concat());
        let mut errors = vec![program.error_line().await];
        if format == "text" {
            errors.push(program.error_line().await);
        }
        errors.sort();
        let without = format!("whalewatcher: going on without this engine: docker.com at {}: ", hosts[1]);
        assert!(errors[0].starts_with(&without) && errors[0].contains("too old"), "{errors:?}");
        let name = format!("web-{format}");
        good.run(name.as_str()).unwrap();
        while !program.line().await.contains(&name) {}
        program.signal(Signal::TERM);
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    let older = Server::builder().version("1.8").api_versions("1.20", "1.12").start().unwrap();
    let all_fail = ["watch", "--host", &older.endpoint(), hosts[0], hosts[1]];
    let ended = run(&all_fail).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(1), 2), "{ended:?}");
}

#[tokio::test]
async fn containers_that_cannot_be_inspected_are_named() {
    let engine = Server::builder().start().unwrap();
    let ids: Vec<_> = (10..22).map(|nth| engine.run(format!("c{nth}")).unwrap()).collect();
    let broken = ids[0].clone();
    let hook = engine.on(Kind::Inspect, Verdict::error(500, "no luck"));
    let ps = ["ps", "--host", &engine.endpoint()];
    let ended = run(&ps).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), "no container is known to be alive\n"));
    let errors: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(errors.len(), 11, "{ended:?}");
    for error in &errors[..10] {
        let begin = format!("whalewatcher: docker.com at {}: container 'c", engine.endpoint());
        assert!(error.starts_with(&begin) && error.contains(" cannot be inspected: "), "{error}");
        assert!(error.ends_with("no luck"), "{error}");
    }
    assert!(errors[10].ends_with(": and 2 more containers cannot be inspected"), "{ended:?}");
    let json = run(&[&ps[..], &["--format", "json"]].concat()).await;
    assert_eq!((json.code, json.stdout.as_str()), (Some(1), "[]\n"));

    engine.remove_hook(hook);
    let hook = engine.on_request(move |request| match request.container() {
        Some(id) if id == broken => Verdict::error(500, "no luck"),
        _ => Verdict::Pass,
    });
    let mut program = Program::start(&["watch", "--format", "json", "--host", &engine.endpoint()]);
    let error = program.error_line().await;
    assert!(error.contains(&format!("container 'c10'/{} cannot be inspected: ", ids[0])), "{error}");
    let mut last = program.json().await;
    while last["event"] != "synced" {
        last = program.json().await;
    }
    assert_eq!((&last["containers"], &last["unresolved"]), (&11.into(), &1.into()));
    engine.remove_hook(hook);
    assert_eq!(program.json().await["container"]["name"], "c10");
    let resolved = program.error_line().await;
    assert!(resolved.ends_with(&format!("container 'c10'/{} is resolved", ids[0])), "{resolved}");
}

#[tokio::test]
async fn watch_reports_polling_with_its_reason() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    engine.on(Kind::Events, Verdict::error(403, "not for you"));
    let mut program = Program::start(&["watch", "--host", &engine.endpoint()]);
    let error = program.error_line().await;
    let begin = format!("whalewatcher: docker.com at {}: ", engine.endpoint());
    assert!(error.starts_with(&begin) && error.contains("not for you; polling every "), "{error}");
    while !program.line().await.contains("  web ") {}
    engine.run("db").unwrap();
    while !program.line().await.contains("● started  db ") {}
    let ended = run(&["ps", "--host", &engine.endpoint()]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_reported_with_the_step() {
    let engine = Server::builder().on_request(|_| Verdict::Hang).start().unwrap();
    let ended = run(&["ps", "--host", &engine.endpoint()]).await;
    let error = ended.error();
    assert!(error.contains(&engine.endpoint()) && error.contains("connecting"), "{error}");
    assert!(error.ends_with("(is the engine overloaded or stopped?)"), "{error}");
    assert_eq!(ended.stdout, "");
}

#[tokio::test]
async fn too_few_descriptors_are_an_error() {
    let engine = Server::builder().start().unwrap();
    for nth in 0..40 {
        engine.run(format!("c{nth}")).unwrap();
    }
    let mut codes = Vec::new();
    for limit in (4..=24).chain([64]) {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, PATH, "ps", "--host", &engine.endpoint()])
            .output()
            .await
            .unwrap();
        let (shown, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        let code = output.status.code();
        match code {
            Some(0) => assert_eq!((shown.lines().count(), errors.as_str()), (42, ""), "{limit}"),
            Some(1) => {
                assert!((1..=11).contains(&errors.lines().count()), "{limit}: {errors}");
                assert!(errors.lines().all(|line| line.starts_with("whalewatcher: ")), "{limit}: {errors}");
            }
            // The loader itself needs some.
            _ => assert_eq!(code, Some(127), "{limit}: {errors}"),
        }
        codes.push(code);
    }
    assert!(codes.contains(&Some(1)) && codes.last() == Some(&Some(0)), "{codes:?}");
}

#[tokio::test]
async fn a_socket_without_permission_is_reported_with_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let _engine = Server::builder().socket(&socket).start().unwrap();
    let ended = if rustix::process::geteuid().is_root() {
        let group = fs::read_to_string("/etc/group").unwrap();
        let (name, id) = group
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .map(|fields| (fields[0], fields[2].parse().unwrap()))
            .find(|(_, id): &(_, u32)| !matches!(id, 0 | 65_534))
            .expect("a group other than root");
        chown(&socket, None, Some(id)).unwrap();
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ended = as_other_user(folder.path(), &socket).await;
        assert!(ended.error().contains(&format!("group '{name}'")), "{ended:?}");
        ended
    } else {
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o000)).unwrap();
        run(&["watch", "--host", socket.to_str().unwrap()]).await
    };
    assert!(ended.error().contains("no permission to use"), "{ended:?}");
}

/// Runs `watch` as a user without rights, from a copy of the program: that user may not enter the build folder.
async fn as_other_user(folder: &Path, socket: &Path) -> Ended {
    let program = folder.join("whalewatcher");
    if fs::hard_link(PATH, &program).is_err() {
        fs::copy(PATH, &program).unwrap();
    }
    let mut command = Command::new(program);
    command.args(["watch", "--host"]).arg(socket).env_clear().uid(65_534).gid(65_534);
    Program::started(&mut command).ended().await
}

#[tokio::test]
async fn output_that_cannot_be_written_is_an_error() {
    let engine = Server::builder().start().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["ps", "--host", &engine.endpoint()])
        .stdout(full)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("No space left"));
}
