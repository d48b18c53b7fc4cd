//! PIDs that are used again, in a PID namespace with few of them and a control group of our own: only root may do that.
#![cfg(target_os = "linux")]

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::{Container, EngineIdentity, Witness, WitnessedLife};
use whalewatcher_kernel::Kernel;

const TEST: &str = "no_end_is_reported_of_a_life_that_goes_on_however_often_pids_are_used_again";
/// Where control groups are: in version 2, and in version 1 a hierarchy of any controller.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];
/// Set in the namespace: the control group.
const INSIDE: &str = "WHALEWATCHER_REUSE_GROUP";
/// How many lives there are, and so, but for the first ones, how many reuses. `WHALEWATCHER_REUSES` sets
/// another number.
const REUSES: usize = 2000;
/// How many lives go on meanwhile.
const LASTING: usize = 8;
/// The least that the kernel allows, and some more.
const PID_MAX: &str = "340";
const LIMIT: Duration = Duration::from_secs(60);

/// A control group that is removed again.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn no_end_is_reported_of_a_life_that_goes_on_however_often_pids_are_used_again() {
    if let Ok(group) = env::var(INSIDE) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(reuse(&group));
    }
    // A name like a container's ID.
    let id = format!("{:064x}", u128::from(std::process::id()) << 64 | 0xc0ffee);
    let root = ROOTS.iter().map(Path::new).find(|root| root.join("cgroup.procs").exists());
    let group = Group(root.unwrap_or(Path::new(ROOTS[0])).join(&id));
    let unshare = |command: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).args(command);
        unshare
    };
    // Since 6.14 a PID namespace has its own limit; before, this would set that of the host.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    let has_own_limit = (numbers.next(), numbers.next()) >= (Some(6), Some(14));
    let may_unshare = unshare(&["true"]).output().is_ok_and(|output| output.status.success());
    if !has_own_limit || !may_unshare || fs::create_dir(&group.0).is_err() {
        eprintln!("skipped: needs root, a writable control group and Linux 6.14");
        return;
    }
    let this = env::current_exe().unwrap();
    let script =
        format!("echo {PID_MAX} >/proc/sys/kernel/pid_max && exec \"$0\" --exact {TEST} --nocapture");
    let mut inside = unshare(&["sh", "-c", &script]);
    let status = inside.arg(this).env(INSIDE, &group.0).status().unwrap();
    assert!(status.success(), "{status}");
}

/// A process that lives until it is killed.
fn start() -> Child {
    Command::new("cat").stdin(Stdio::piped()).spawn().expect("cat")
}

fn end(mut child: Child) {
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
}

async fn reuse(folder: &str) {
    let group = folder.rsplit('/').next().unwrap_or_default();
    fs::write(format!("{folder}/cgroup.procs"), std::process::id().to_string())
        .expect("a control group of our own");
    // The engine is this process, so it shares our PIDs.
    fs::write("/proc/self/comm", "dockerd").expect("our own name");
    let mut engine = EngineIdentity::new("docker.com", "unix:///run/docker.sock");
    engine.pid = Some(std::process::id());
    let kernel = Kernel::new();
    let observe = |id: &str, pid| kernel.observe(&Container::new(id, "web", pid), Some(&engine));
    let mut lasting: Vec<(Child, Arc<dyn WitnessedLife>)> = Vec::new();
    for _ in 0..LASTING {
        let child = start();
        let life = observe(group, child.id()).expect("its control group is named by its ID");
        lasting.push((child, life));
    }
    let reuses = env::var("WHALEWATCHER_REUSES").map_or(REUSES, |reuses| reuses.parse().expect("a number"));
    let mut ended: HashMap<u32, Arc<dyn WitnessedLife>> = HashMap::new();
    let mut reused = 0;
    for _ in 0..reuses {
        let child = start();
        let pid = child.id();
        let life = observe(group, pid).expect("it is alive");
        assert!(life.goes_on());
        if let Some(former) = ended.remove(&pid) {
            reused += 1;
            assert!(!former.goes_on(), "PID {pid} was used again");
        }
        // A container that had this PID before, and whose group was another one, is not taken for this one.
        assert!(observe("another", pid).is_none());
        end(child);
        timeout(LIMIT, life.clone().ended()).await.expect("its end is reported");
        assert!(observe(group, pid).is_none(), "nothing has PID {pid}");
        ended.insert(pid, life);
        for (child, life) in &lasting {
            assert!(life.goes_on(), "PID {} goes on", child.id());
        }
    }
    for (child, life) in lasting {
        let early = timeout(Duration::ZERO, life.clone().ended()).await;
        assert!(early.is_err(), "the end of a life that goes on was reported");
        end(child);
        timeout(LIMIT, life.ended()).await.expect("its end is reported");
    }
    assert!(reused > reuses / 2, "PIDs were used again only {reused} times");
}
