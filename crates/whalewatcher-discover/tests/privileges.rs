//! What a discovery without privileges, or on a host that hides something, finds and reports. What that takes
//! is done in child processes, in namespaces of their own: only root may do it.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "what fails in helpers fails the test, and children print"
)]

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use tempfile::TempDir;
use whalewatcher_core::Fleet;
use whalewatcher_discover::{Options, discover};
use whalewatcher_testkit::docker::Server;

/// In a child process, the folder of the made-up host.
const HOST: &str = "WHALEWATCHER_TEST_HOST";

/// Runs this program as a user without privileges. Its file may be in a folder that this user may not enter.
const UNPRIVILEGED: &str =
    "exec 4<\"$0\"; setpriv --reuid 65534 --regid 65534 --clear-groups /proc/self/fd/4 $ARGUMENTS";

/// Runs this program with a file system in it that never answers, of that user.
const WITH_FUSE: &str = "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=$OWNER,group_id=0 \
                         fake \"$WHALEWATCHER_TEST_HOST/container/run\" && \"$0\" $ARGUMENTS";

/// A made-up host, which everybody may enter.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(tempfile::tempdir().unwrap());
        for folder in ["proc", "root/run/user/1000", "container/run"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        fs::set_permissions(host.0.path(), Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Has this program look at the host, in a child process that this script starts, and returns what it prints.
    fn looked_at_by(&self, test: &str, script: &str, owner: u32) -> Vec<String> {
        let child = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script])
            .arg(env::current_exe().unwrap())
            .env(HOST, self.0.path())
            .env("ARGUMENTS", format!("--exact {test} --nocapture"))
            .env("OWNER", owner.to_string())
            .output()
            .unwrap();
        let (printed, errors) =
            (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success(), "{printed}\n{errors}");
        let lines = printed.lines().filter_map(|line| line.strip_prefix("found: "));
        lines.map(|line| line.replace(self.0.path().to_str().unwrap(), "")).collect()
    }
}

/// In a child process, prints what is found. Otherwise returns whether there may be child processes as they are needed.
async fn is_parent() -> bool {
    let Some(host) = env::var_os(HOST).map(PathBuf::from) else {
        let mut unshare = Command::new("unshare");
        let may = unshare.args(["--mount", "--pid", "--fork", "true"]).status();
        return rustix::process::geteuid().is_root() && may.is_ok_and(|status| status.success());
    };
    let options =
        Options::default().with_root(host.join("root")).with_proc(host.join("proc")).with_home(&host);
    let fleet = Arc::new(Fleet::new());
    let discovery = discover(&fleet, options.with_endpoints([""; 0]));
    discovery.settled().await;
    for finding in discovery.findings().iter() {
        println!("found: {finding}");
    }
    for watcher in fleet.watchers() {
        println!("found: {} {}", watcher.engine_type(), watcher.endpoint());
    }
    // A thread may hang for ever.
    std::process::exit(0);
}

/// A process of that name, which ends when this is dropped.
struct Named(Child);

impl Named {
    fn start(folder: &Path, name: &str) -> Self {
        let sleep = ["/bin/sleep", "/usr/bin/sleep"].into_iter().find(|path| Path::new(path).exists());
        symlink(sleep.unwrap(), folder.join(name)).unwrap();
        Self(Command::new(folder.join(name)).arg("3600").spawn().unwrap())
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_privileges_is_a_finding_with_reason_and_remedy_and_the_rest_is_watched() {
    if !is_parent().await {
        return;
    }
    let host = Host::new();
    let _closed = Server::builder().socket(host.path("root/run/docker.sock")).start().unwrap();
    let open = host.path("root/run/user/1000/docker.sock");
    let _open = Server::builder().socket(&open).start().unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o666)).unwrap();
    let dockerd = Named::start(host.0.path(), "dockerd");
    symlink(format!("/proc/{}", dockerd.0.id()), host.path(&format!("proc/{}", dockerd.0.id()))).unwrap();
    let test = "what_needs_privileges_is_a_finding_with_reason_and_remedy_and_the_rest_is_watched";
    let found = host.looked_at_by(test, UNPRIVILEGED, 0);
    assert_eq!(
        found,
        [
            format!(
                "dockerd (PID {}): its sockets may not be looked at; run as root, or with CAP_SYS_PTRACE",
                dockerd.0.id()
            ),
            "unix:///root/run/docker.sock: no permission to use unix:///root/run/docker.sock: run as root"
                .to_owned(),
            "docker.com unix:///root/run/user/1000/docker.sock".to_owned(),
        ]
    );
}

#[tokio::test]
async fn processes_that_are_hidden_are_a_finding() {
    if !is_parent().await {
        return;
    }
    for (hidepid, is_finding) in [(0, false), (1, true), (2, true)] {
        let host = Host::new();
        let mount = format!("mount -t proc -o hidepid={hidepid} proc \"${HOST}/proc\"");
        let test = "processes_that_are_hidden_are_a_finding";
        let found = host.looked_at_by(test, &format!("{mount} && {UNPRIVILEGED}"), 0);
        let hidden = "/proc: processes of other users are hidden; run as root to find their engines";
        assert_eq!(found, Vec::from_iter(is_finding.then_some(hidden)), "hidepid={hidepid}");
    }
}

#[tokio::test]
async fn sockets_in_a_file_system_of_a_process_are_not_used_and_one_that_never_answers_is_given_up() {
    if !is_parent().await || !Path::new("/dev/fuse").exists() {
        return;
    }
    for (owner, reason) in [
        (65_534, "it is in a file system of a process, which may not answer"),
        // The kernel asks the process on behalf of its owner.
        (0, "looking it up takes too long"),
    ] {
        let host = Host::new();
        for folder in ["fd", "net"] {
            fs::create_dir_all(host.path("proc/7").join(folder)).unwrap();
        }
        symlink(host.path("container"), host.path("proc/7/root")).unwrap();
        fs::write(host.path("proc/7/stat"), format!("7 (dockerd) S 1 {}7 0", "0 ".repeat(17))).unwrap();
        let socket = "0: 00000002 00000000 00010000 0001 01 11 /run/docker.sock\n";
        fs::write(host.path("proc/7/net/unix"), socket).unwrap();
        symlink("socket:[11]", host.path("proc/7/fd/3")).unwrap();
        fs::write(host.path("proc/7/comm"), "dockerd\n").unwrap();
        let test =
            "sockets_in_a_file_system_of_a_process_are_not_used_and_one_that_never_answers_is_given_up";
        let found = host.looked_at_by(test, WITH_FUSE, owner);
        assert_eq!(found, [format!("dockerd (PID 7): its socket /run/docker.sock cannot be used: {reason}")]);
    }
}
