//! Discovery on a made-up host: a folder with sockets, and another one in place of `/proc`.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use whalewatcher_core::fleet::FleetSubscription;
use whalewatcher_core::{Container, Fleet};
use whalewatcher_discover::{Discovery, FindingKind, Options, PREFIX_LABEL, discover};
use whalewatcher_testkit::docker::{Flavour, Server as Docker};
use whalewatcher_testkit::{containerd, cri};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(3600);

/// A made-up host.
struct Host {
    folder: TempDir,
    fleet: Arc<Fleet>,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            folder: tempfile::tempdir().expect("files of a made-up host"),
            fleet: Arc::new(Fleet::new()),
        };
        for folder in ["proc/net", "root", "home"] {
            fs::create_dir_all(host.folder.path().join(folder)).expect("files of a made-up host");
        }
        host.listens_here(&[]);
        host
    }

    fn options(&self) -> Options {
        let within = |name: &str| self.folder.path().join(name);
        Options::default()
            .with_proc(within("proc"))
            .with_root(within("root"))
            .with_home(within("home"))
            .with_endpoints([""; 0])
    }

    /// Returns a path of the host's file system, and creates the folder that it is in.
    fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join("root").join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("files of a made-up host");
        path
    }

    fn docker_at(&self, path: &Path) -> Docker {
        fs::create_dir_all(path.parent().expect("a folder")).expect("files of a made-up host");
        let docker = Docker::builder().socket(path).start().expect("an engine");
        docker.run("web").expect("a container");
        docker
    }

    fn docker(&self, path: &str) -> Docker {
        self.docker_at(&self.path(path))
    }

    /// Has a process appear that sees this folder as its root, and listens there.
    fn process(&self, pid: u32, name: &str, root: &Path, sockets: &[(u64, &str)]) {
        let folder = self.folder.path().join("proc").join(pid.to_string());
        for name in ["fd", "net"] {
            fs::create_dir_all(folder.join(name)).expect("files of a made-up host");
        }
        symlink(root, folder.join("root")).expect("files of a made-up host");
        fs::write(folder.join("stat"), format!("{pid} ({name}) S 1 {}{pid} 0", "0 ".repeat(17)))
            .expect("files of a made-up host");
        fs::write(folder.join("net/unix"), sockets_text(sockets)).expect("files of a made-up host");
        for (nth, (inode, _)) in sockets.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), folder.join("fd").join(nth.to_string()))
                .expect("files of a made-up host");
        }
        // Last: a look may be going on.
        fs::write(folder.join("comm"), format!("{name}\n")).expect("files of a made-up host");
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.folder.path().join("proc").join(pid.to_string()))
            .expect("files of a made-up host");
    }

    fn listens_here(&self, sockets: &[(u64, &str)]) {
        fs::write(self.folder.path().join("proc/net/unix"), sockets_text(sockets))
            .expect("files of a made-up host");
    }

    /// Returns what is watched: types and endpoints, without the folders that are made up.
    fn engines(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().expect("UTF-8");
        let watchers = self.fleet.watchers();
        let names = watchers
            .iter()
            .map(|watcher| format!("{} {}", watcher.engine_type(), watcher.endpoint().replace(folder, "")));
        names.collect()
    }
}

fn sockets_text(sockets: &[(u64, &str)]) -> String {
    let line = |(inode, path): &(u64, &str)| {
        format!("0000000000000000: 00000002 00000000 00010000 0001 01 {inode} {path}\n")
    };
    let lines: String = sockets.iter().map(line).collect();
    format!("Num       RefCount Protocol Flags    Type St Inode Path\n{lines}")
}

/// Waits for an event, and returns the names of those before it.
async fn until(changes: &mut FleetSubscription, wanted: &str) -> Vec<&'static str> {
    let mut before = Vec::new();
    loop {
        let change = changes.next().await.expect("the fleet is not closed");
        if change.event.kind.name() == wanted {
            return before;
        }
        before.push(change.event.kind.name());
    }
}

fn kinds(discovery: &Discovery) -> Vec<FindingKind> {
    discovery.findings().iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn engines_in_the_usual_places_are_found_by_what_answers_there() {
    let host = Host::new();
    let _docker = host.docker("/var/run/docker.sock");
    let _rootless = host.docker("/run/user/1000/docker.sock");
    // Another engine than its name lets one expect.
    let path = host.path("/run/user/1001/docker.sock");
    let _containerd = containerd::Server::builder().socket(&path).start().unwrap();
    let _runtime = cri::Server::builder()
        .flavour(cri::Flavour::Crio)
        .socket(host.path("/run/crio/crio.sock"))
        .start()
        .unwrap();
    symlink(host.path("/var/run/docker.sock"), host.path("/run/docker.sock")).unwrap();
    drop(UnixListener::bind(host.path("/run/user/1002/docker.sock")).unwrap());
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    assert_eq!(
        host.engines(),
        [
            "k8s.io/cri-api unix:///root/run/crio/crio.sock",
            "docker.com unix:///root/run/user/1000/docker.sock",
            "containerd.io unix:///root/run/user/1001/docker.sock",
            "docker.com unix:///root/var/run/docker.sock",
        ]
    );
    assert_eq!(kinds(&discovery), []);
}

#[tokio::test]
async fn podman_is_watched_once_and_through_its_own_api() {
    let host = Host::new();
    let podman = Docker::builder()
        .flavour(Flavour::Podman)
        .version("4.3.1")
        .api_versions("1.41", "1.24")
        .socket(host.path("/run/docker.sock"));
    let _podman = podman.start().unwrap();
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    assert_eq!(host.engines(), ["podman.io unix:///root/run/docker.sock"]);
}

#[tokio::test]
async fn a_socket_that_serves_two_apis_is_two_engines() {
    let host = Host::new();
    let path = host.path("/run/containerd/containerd.sock");
    let server = cri::Server::builder().socket(&path).start().unwrap();
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    assert_eq!(
        host.engines(),
        [
            "containerd.io unix:///root/run/containerd/containerd.sock",
            "k8s.io/cri-api unix:///root/run/containerd/containerd.sock",
        ]
    );
    drop(server);
}

#[tokio::test]
async fn a_socket_that_appears_is_noticed_before_the_next_look() {
    let host = Host::new();
    let discovery = discover(&host.fleet, host.options().with_interval(NEVER));
    discovery.settled().await;
    let (_, mut changes) = host.fleet.subscribe();
    // Its folder does not exist yet either.
    let _docker = host.docker("/run/user/1000/docker.sock");
    until(&mut changes, "synced").await;
    assert_eq!(host.engines(), ["docker.com unix:///root/run/user/1000/docker.sock"]);
}

#[tokio::test]
async fn a_restarted_engine_is_the_same_and_one_that_is_gone_leaves_after_its_exits() {
    let host = Host::new();
    let docker = host.docker("/run/docker.sock");
    let options = host.options().with_interval(Duration::ZERO).with_grace(Duration::from_millis(500));
    let _discovery = discover(&host.fleet, options);
    let (_, mut changes) = host.fleet.subscribe();
    assert_eq!(until(&mut changes, "synced").await, ["joined", "started"]);
    docker.stop_listening().await;
    assert_eq!(until(&mut changes, "disconnected").await, [""; 0]);
    docker.listen_again().unwrap();
    assert_eq!(until(&mut changes, "synced").await, [""; 0], "survivors are not announced again");
    drop(docker);
    assert_eq!(until(&mut changes, "left").await, ["disconnected", "exited"]);
    // It starts again after it was given up.
    let _docker = host.docker("/run/docker.sock");
    until(&mut changes, "synced").await;
    assert_eq!(host.engines(), ["docker.com unix:///root/run/docker.sock"]);
}

#[tokio::test]
async fn an_engine_in_a_container_is_found_in_its_root_and_followed_after_a_restart() {
    let host = Host::new();
    // No socket can have that path.
    let root = host.folder.path().join("x".repeat(120));
    let inside = root.join("run/docker.sock");
    fs::create_dir_all(root.join("run")).unwrap();
    symlink("/run", root.join("var")).unwrap();
    let docker = {
        // The kernel would not bind it either.
        let near = host.folder.path().join("near");
        symlink(root.join("run"), &near).unwrap();
        Docker::builder().socket(near.join("docker.sock")).start().unwrap()
    };
    docker.run("nested").unwrap();
    assert!(inside.to_str().unwrap().len() > 107);
    // A link in the container leads to the container's own folder, not to the host's.
    host.process(4711, "dockerd", &root, &[(11, "/var/docker.sock"), (12, "/run/missing.sock")]);
    let options = host.options().with_interval(Duration::ZERO).with_grace(NEVER);
    let discovery = discover(&host.fleet, options);
    discovery.settled().await;
    assert_eq!(host.engines(), ["docker.com unix:///proc/4711/root/var/docker.sock"]);
    let (_, mut changes) = host.fleet.subscribe();
    until(&mut changes, "synced").await;
    assert!(host.fleet.portfolio().containers().any(|(_, found)| found.name() == "nested"));

    docker.stop_listening().await;
    host.end(4711);
    until(&mut changes, "disconnected").await;
    docker.listen_again().unwrap();
    host.process(4712, "dockerd", &root, &[(13, "/run/docker.sock")]);
    assert_eq!(until(&mut changes, "synced").await, [""; 0]);
    assert_eq!(host.engines().len(), 1);
}

#[tokio::test]
async fn containers_of_a_nested_engine_have_the_names_of_the_outer_ones_and_their_pids_on_the_host() {
    let host = Host::new();
    let outer = Docker::builder().first_pid(4710).socket(host.path("/run/docker.sock")).start().unwrap();
    let id = outer.run("outer").unwrap();
    let root = host.folder.path().join("container");
    let inner = Docker::builder().first_pid(42);
    fs::create_dir_all(root.join("run")).unwrap();
    let inner = inner.socket(root.join("run/docker.sock")).start().unwrap();
    inner.run("inner").unwrap();
    let group = format!("0::/docker/{id}\n");
    let within = |pid: u32, name: &str, parent: u32, pids: &str, namespace: &str| {
        host.process(pid, name, &root, &[]);
        let folder = host.folder.path().join(format!("proc/{pid}"));
        fs::create_dir_all(folder.join("ns")).unwrap();
        symlink(namespace, folder.join("ns/pid")).unwrap();
        fs::write(folder.join("status"), format!("NSpid:\t{pid} {pids}\n")).unwrap();
        fs::write(folder.join("cgroup"), &group).unwrap();
        fs::write(folder.join("stat"), format!("{pid} (x) S {parent} {}7 0", "0 ".repeat(17))).unwrap();
    };
    within(outer.truth()[0].pid, "init", 1, "1", "pid:[2]");
    within(4800, "shim", outer.truth()[0].pid, "7", "pid:[2]");
    within(4801, "web", 4800, &format!("{} 1", inner.truth()[0].pid), "pid:[3]");
    within(4711, "engine", outer.truth()[0].pid, "6", "pid:[2]");
    fs::write(host.folder.path().join("proc/4711/net/unix"), sockets_text(&[(11, "/run/docker.sock")]))
        .unwrap();
    symlink("socket:[11]", host.folder.path().join("proc/4711/fd/3")).unwrap();
    fs::write(host.folder.path().join("proc/4711/comm"), "dockerd\n").unwrap();

    let _discovery = discover(&host.fleet, host.options().with_interval(Duration::ZERO));
    let (mut alive, mut changes) = host.fleet.subscribe();
    let prefix = |found: &Container| found.labels().get(PREFIX_LABEL).map(str::to_owned);
    let found = loop {
        alive.apply(&changes.next().await.unwrap());
        let inner = alive.container("inner").map(|(_, found)| found.clone());
        if let Some(inner) = inner.filter(|inner| prefix(inner).as_deref() == Some("outer")) {
            break inner;
        }
    };
    assert_eq!((found.pid(), found.host_pid()), (inner.truth()[0].pid, Some(4801)));
    let (_, outermost) = alive.container("outer").unwrap();
    assert_eq!((prefix(outermost).as_deref(), outermost.host_pid()), (Some(""), None));

    outer.rename("outer", "renamed").unwrap();
    while alive.container("inner").and_then(|(_, found)| prefix(found)).as_deref() != Some("renamed") {
        alive.apply(&changes.next().await.unwrap());
    }
}

#[tokio::test]
async fn an_engine_of_the_hosts_own_files_has_its_plain_path() {
    let host = Host::new();
    let _docker = host.docker("/srv/docker/private.sock");
    let root = host.folder.path().join("root");
    host.process(4711, "dockerd", &root, &[(11, "/srv/docker/private.sock")]);
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    assert_eq!(host.engines(), ["docker.com unix:///root/srv/docker/private.sock"]);
}

#[tokio::test]
async fn looking_starts_no_engine_unless_that_is_allowed() {
    let host = Host::new();
    let (podman, docker) = (host.path("/run/podman/podman.sock"), host.path("/run/docker.sock"));
    let listeners = [&podman, &docker].map(|path| UnixListener::bind(path).unwrap());
    let [podman, docker] = [&podman, &docker].map(|path| path.to_str().unwrap());
    host.listens_here(&[(21, podman), (22, docker)]);
    let root = host.folder.path().join("root");
    // Of podman it is unknown what listens, which is what other users see.
    host.process(1, "systemd", &root, &[(22, docker)]);
    let discovery = discover(&host.fleet, host.options().with_interval(NEVER));
    discovery.settled().await;
    assert_eq!(kinds(&discovery), [FindingKind::NotStarted; 2]);
    for listener in &listeners {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nothing has connected");
    }
    drop(discovery);
    let _discovery = discover(&host.fleet, host.options().with_activation(true).with_interval(NEVER));
    let accepted = listeners.map(|listener| {
        listener.set_nonblocking(true).unwrap();
        tokio::net::UnixListener::from_std(listener).unwrap()
    });
    for listener in accepted {
        listener.accept().await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_the_service_manager_started_is_watched_while_its_process_runs() {
    let host = Host::new();
    let docker = host.docker("/run/docker.sock");
    let path = host.path("/run/docker.sock");
    let path = path.to_str().unwrap();
    host.listens_here(&[(22, path)]);
    let root = host.folder.path().join("root");
    host.process(1, "systemd", &root, &[(22, path)]);
    host.process(7, "dockerd", &root, &[(22, path)]);
    let discovery = discover(&host.fleet, host.options().with_interval(NEVER));
    discovery.settled().await;
    host.fleet.ready(NEVER).await;
    assert_eq!((host.engines().len(), kinds(&discovery)), (1, vec![]));
    let connected = docker.stats();
    host.end(7);
    docker.disconnect_all();
    let watcher = host.fleet.watchers().remove(0);
    let refused = |status: &whalewatcher_core::Status| {
        status.counters.connects > 1 && status.to_string().contains("would start one")
    };
    watcher.follow_status().wait_for(refused).await.unwrap();
    assert_eq!(docker.stats().accepted, connected.accepted, "it did not even connect");
}

#[tokio::test]
async fn processes_that_only_claim_to_be_engines_delay_no_others() {
    let host = Host::new();
    let root = host.folder.path().join("container");
    fs::create_dir_all(root.join("run")).unwrap();
    let silent = UnixListener::bind(root.join("run/docker.sock")).unwrap();
    host.process(7, "dockerd", &root, &[(1, "/run/docker.sock")]);
    let docker = host.docker("/run/docker.sock");
    let _discovery = discover(&host.fleet, host.options());
    let (_, mut changes) = host.fleet.subscribe();
    until(&mut changes, "synced").await;
    assert_eq!(host.engines().len(), 1);
    drop((silent, docker));
}

#[tokio::test]
async fn what_answers_as_no_engine_is_a_finding_unless_only_a_process_name_led_there() {
    let host = Host::new();
    let server = |path: PathBuf| {
        let listener = tokio::net::UnixListener::bind(path).unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(answer).await;
            }
        })
    };
    let _usual = server(host.path("/run/docker.sock"));
    let _metrics = server(host.path("/run/docker/metrics.sock"));
    let root = host.folder.path().join("root");
    host.process(7, "dockerd", &root, &[(1, "/run/docker/metrics.sock")]);
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    let findings = discovery.findings();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(findings[0].place.ends_with("/run/docker.sock") && findings[0].kind == FindingKind::NoEngine);
}

#[tokio::test]
async fn an_engine_with_a_socket_and_a_port_is_one_member() {
    let host = Host::new();
    let docker = Docker::builder().socket(host.path("/run/docker.sock")).tcp(true).start().unwrap();
    let options = host.options().with_endpoints(docker.tcp_endpoint());
    let discovery = discover(&host.fleet, options);
    discovery.settled().await;
    assert_eq!((host.engines().len(), kinds(&discovery)), (1, vec![]));
}

#[tokio::test]
async fn an_endpoint_that_was_named_is_watched_and_missed_when_it_is_not_there() {
    let host = Host::new();
    let path = host.path("/srv/named.sock");
    let endpoint = format!("unix://{}", path.display());
    let options = host.options().with_endpoints([&endpoint]).with_interval(NEVER);
    let discovery = discover(&host.fleet, options);
    discovery.settled().await;
    assert!(discovery.findings()[0].reason.starts_with("no such socket"), "{:?}", discovery.findings());
    let (_, mut changes) = host.fleet.subscribe();
    let _docker = host.docker_at(&path);
    until(&mut changes, "synced").await;
    assert_eq!(host.engines(), ["docker.com unix:///root/srv/named.sock"]);
}

#[tokio::test]
async fn an_engine_that_the_application_watches_or_removed_is_left_to_it() {
    let host = Host::new();
    let docker = host.docker("/run/docker.sock");
    let client = whalewatcher_moby::Client::new(docker.endpoint()).unwrap();
    host.fleet.add(whalewatcher_core::EngineWatcher::new(client)).unwrap();
    let discovery = discover(&host.fleet, host.options());
    discovery.settled().await;
    drop(discovery);
    assert_eq!(host.engines().len(), 1);
    host.fleet.close();
    let _discovery = discover(&host.fleet, host.options().with_interval(Duration::ZERO));
    let (_, mut changes) = host.fleet.subscribe();
    until(&mut changes, "synced").await;
    host.fleet.remove(&host.fleet.watchers()[0].key());
    let _other = host.docker("/run/user/1000/docker.sock");
    until(&mut changes, "synced").await;
    assert_eq!(host.engines(), ["docker.com unix:///root/run/user/1000/docker.sock"]);
}

#[tokio::test]
async fn findings_are_reported_as_they_change() {
    let host = Host::new();
    let path = host.path("/run/podman/podman.sock");
    let discovery = discover(&host.fleet, host.options().with_interval(Duration::ZERO));
    let mut findings = discovery.follow_findings();
    assert!(findings.changed().await.unwrap().is_empty());
    let listener = UnixListener::bind(&path).unwrap();
    let found = findings.changed().await.unwrap();
    let text =
        "no engine runs there, and connecting would start one; start it, or allow activation (--activate)";
    assert!(found[0].to_string().ends_with(text), "{}", found[0]);
    drop(listener);
    fs::remove_file(&path).unwrap();
    assert!(findings.changed().await.unwrap().is_empty());
    drop(discovery);
    assert!(findings.changed().await.is_none());
}

#[tokio::test]
async fn exits_of_all_containers_are_announced_when_the_discovery_is_dropped() {
    let host = Host::new();
    let _docker = host.docker("/run/docker.sock");
    let discovery = discover(&host.fleet, host.options());
    let (_, mut changes) = host.fleet.subscribe();
    until(&mut changes, "synced").await;
    drop(discovery);
    assert!(host.fleet.watchers().is_empty());
    assert_eq!(until(&mut changes, "left").await, ["exited"]);
}
