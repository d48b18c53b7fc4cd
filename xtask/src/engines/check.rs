//! A check of one engine on this very host: that containers run and pause, and that nothing of an instance is left,
//! however it ends.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::json;

use super::cri;
use super::engine::EngineKind;
use super::etcd::{EtcdOptions, PrivateEtcd};
use super::http;
use super::installation::{GivenPrograms, Installation};
use super::leftovers;
use super::private::{Options, PrivateEngine};
use super::processes::{Pinned, pause};
use super::test_image::TEST_IMAGE;
use crate::output::output;

/// What a check found, if nothing was wrong.
#[derive(Debug)]
pub enum Outcome {
    /// Everything is as it should be.
    Passed,
    /// The engine does not start on this host.
    CannotStart(Error),
}

/// Checks everything and prints what was checked.
///
/// # Errors
///
/// With the first thing that is not as it should be in an engine that did start.
pub fn whole_life(installation: &Installation, given: &GivenPrograms) -> Result<Outcome> {
    let start = Instant::now();
    let say = |what: &str| say(installation, start, what);
    let kind = installation.engine().kind;
    if kind == EngineKind::Etcd {
        return whole_life_of_etcd(installation, given);
    }
    let options = Options { tcp: kind == EngineKind::Docker, ..Options::default() };
    let engine = match PrivateEngine::start(installation, &options) {
        Ok(engine) => engine,
        Err(error) => return Ok(Outcome::CannotStart(error)),
    };
    say(&format!("started {}", engine.version()));
    if kind == EngineKind::Cri {
        images_are_known(&engine)?;
        say("its CRI plugin knows the images of pods");
    }
    match kind {
        EngineKind::Docker | EngineKind::Podman => containers_run_and_pause(&engine)?,
        EngineKind::Containerd | EngineKind::Cri => tasks_run_and_pause(&engine)?,
        EngineKind::Etcd => {}
    }
    say("containers run and pause");

    // Of each container its monitor or shim, and at least one of its own.
    ensure!(engine.processes()?.len() >= 7, "a running instance seems to have no containers");
    if kind == EngineKind::Docker {
        engine.kill()?;
    }
    let marker = engine.marker();
    ensure!(!marker.remains()?.is_empty(), "a running instance seems to consist of nothing");
    engine.stop()?;
    ensure!(marker.remains()?.is_empty(), "there remains: {}", marker.remains()?.join(", "));
    say("nothing of it is left, running and paused containers included");
    an_interrupted_run_leaves_nothing(installation, given)?;
    a_killed_run_is_cleared_by_the_next(installation, given)?;
    Ok(Outcome::Passed)
}

fn whole_life_of_etcd(installation: &Installation, given: &GivenPrograms) -> Result<Outcome> {
    let start = Instant::now();
    let etcd = match PrivateEtcd::start(installation, &EtcdOptions { members: 3, ..EtcdOptions::default() }) {
        Ok(etcd) => etcd,
        Err(error) => return Ok(Outcome::CannotStart(error)),
    };
    say(installation, start, &format!("started three members of {}", etcd.version()));
    let marker = etcd.marker();
    ensure!(marker.remains()?.len() >= 3, "a running etcd seems to consist of nothing");
    etcd.stop()?;
    ensure!(marker.remains()?.is_empty(), "there remains: {}", marker.remains()?.join(", "));
    say(installation, start, "nothing of it is left");
    an_interrupted_run_leaves_nothing(installation, given)?;
    a_killed_run_is_cleared_by_the_next(installation, given)?;
    Ok(Outcome::Passed)
}

fn containers_run_and_pause(engine: &PrivateEngine) -> Result<()> {
    let socket = engine.socket();
    // podman makes them elsewhere by itself.
    let host = json!({ "NetworkMode": "none", "CgroupParent": engine.cgroup() });
    let body = json!({ "Image": TEST_IMAGE, "HostConfig": host }).to_string();
    let post = |target: &str, body: &str| {
        let response = http::request(&socket, "POST", target, "application/json", body.as_bytes())?;
        ensure!(response.status < 400, "POST {target} failed ({}): {}", response.status, response.text());
        Ok(())
    };
    let is_paused = |name: &str| {
        let inspected = engine.request("GET", &format!("/containers/{name}/json"))?.json()?;
        anyhow::Ok(inspected["State"]["Paused"] == true)
    };
    for name in ["first", "second", "third"] {
        post(&format!("/containers/create?name={name}"), &body)?;
        post(&format!("/containers/{name}/start"), "")?;
    }
    for name in ["first", "second"] {
        post(&format!("/containers/{name}/pause"), "")?;
        ensure!(is_paused(name)?, "a paused container is not paused");
    }
    post("/containers/first/unpause", "")?;
    ensure!(!is_paused("first")?, "a container is still paused");
    Ok(())
}

fn tasks_run_and_pause(engine: &PrivateEngine) -> Result<()> {
    // One ID in two namespaces.
    for (namespace, id) in [("one", "same"), ("two", "same"), ("two", "paused")] {
        let mut run = engine.ctr(namespace)?;
        run.args(["run", "--detach"]).args(engine.ctr_run_arguments(namespace, id));
        output(run.args([id, "/bin/sleep", "1000000"]))?;
    }
    output(engine.ctr("two")?.args(["tasks", "pause", "paused"]))?;
    let mut states = Vec::new();
    for namespace in ["one", "two"] {
        let listed = output(engine.ctr(namespace)?.args(["tasks", "list"]))?;
        states.extend(
            listed.lines().skip(1).filter_map(|line| Some(line.split_whitespace().last()?.to_owned())),
        );
    }
    states.sort();
    ensure!(states == ["PAUSED", "RUNNING", "RUNNING"], "the tasks are {states:?}");
    Ok(())
}

/// The plugin labels what it knows, a moment after it was imported.
fn images_are_known(engine: &PrivateEngine) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut list = engine.ctr(cri::NAMESPACE)?;
        list.args(["images", "list", "--quiet", "labels.\"io.cri-containerd.image\"==managed"]);
        let known = output(&mut list)?;
        if cri::IMAGES.iter().all(|image| known.lines().any(|line| line.ends_with(image))) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the CRI plugin knows only these images: {known}");
        pause(Duration::from_millis(20))?;
    }
}

fn an_interrupted_run_leaves_nothing(installation: &Installation, given: &GivenPrograms) -> Result<()> {
    let start = Instant::now();
    let mut run = OtherRun::start(installation, given)?;
    ensure!(folder_is_used(&run.folder)?, "a run has no folder {}", run.folder);
    let pinned = Pinned::new(run.process.id())?.context("the run ended by itself")?;
    pinned.signal(Signal::TERM)?;
    let status = run.process.wait().context("cannot wait for the run")?;
    ensure!(status.code() == Some(143), "an interrupted run ended with {status}");
    ensure!(!folder_is_used(&run.folder)?, "an interrupted run left {}", run.folder);
    say(installation, start, "a run that is interrupted leaves nothing");
    Ok(())
}

fn a_killed_run_is_cleared_by_the_next(installation: &Installation, given: &GivenPrograms) -> Result<()> {
    let start = Instant::now();
    let mut run = OtherRun::start(installation, given)?;
    leftovers::clear()?;
    ensure!(folder_is_used(&run.folder)?, "an instance of a live run was cleared away");
    ensure!(answers(&run.endpoint), "a live run's instance was harmed");
    run.process.kill().context("cannot kill the run")?;
    run.process.wait().context("cannot wait for the run")?;
    ensure!(answers(&run.endpoint), "the instance of a killed run is already gone: nothing could be checked");
    leftovers::clear()?;
    ensure!(!folder_is_used(&run.folder)?, "a killed run's leftovers are still there");
    say(installation, start, "what a killed run leaves is cleared by the next, a live run's instance is not");
    Ok(())
}

/// Another process with a running instance.
#[derive(Debug)]
struct OtherRun {
    process: Child,
    /// Kept open: the run prints more than is read.
    _output: BufReader<ChildStdout>,
    folder: String,
    endpoint: Endpoint,
}

/// Where an engine listens.
#[derive(Debug)]
enum Endpoint {
    Socket(PathBuf),
    Address(String),
}

impl OtherRun {
    fn start(installation: &Installation, given: &GivenPrograms) -> Result<OtherRun> {
        // Not by its path: cargo may have rebuilt it since it was started.
        let mut command = Command::new("/proc/self/exe");
        command.args(["engines", "up", &installation.engine().to_string()]).args(given.to_flags());
        let mut process = command.stdout(Stdio::piped()).spawn().context("cannot start another run")?;
        let mut output = BufReader::new(process.stdout.take().context("the run has no output")?);
        let (mut line, mut folder) = (String::new(), String::new());
        while output.read_line(&mut line).context("cannot read the output of the run")? > 0 {
            let rest_after = |start: &&str| line.trim_end().strip_prefix(*start).map(str::to_owned);
            if let Some(log) = rest_after(&"log: ") {
                folder = Path::new(&log).parent().context("a log is in a folder")?.display().to_string();
            }
            let sockets = ["DOCKER_HOST=unix://", "CONTAINERD_ADDRESS="];
            let socket = sockets.iter().find_map(rest_after).map(|path| Endpoint::Socket(path.into()));
            let endpoint = socket.or_else(|| rest_after(&"ETCDCTL_ENDPOINTS=http://").map(Endpoint::Address));
            if let Some(endpoint) = endpoint {
                return Ok(OtherRun { process, _output: output, folder, endpoint });
            }
            line.clear();
        }
        process.wait().context("cannot wait for the run")?;
        bail!("another run did not start its engine")
    }
}

/// Whether an engine listens there, and if it speaks HTTP, answers.
fn answers(endpoint: &Endpoint) -> bool {
    let socket = match endpoint {
        Endpoint::Socket(socket) => socket,
        Endpoint::Address(address) => return TcpStream::connect(address).is_ok(),
    };
    if socket.ends_with("docker.sock") || socket.ends_with("podman.sock") {
        return http::request(socket, "GET", "/_ping", "", &[]).is_ok_and(|response| response.status == 200);
    }
    UnixStream::connect(socket).is_ok()
}

fn folder_is_used(folder: &str) -> Result<bool> {
    let mounted = super::mounts::all()?.iter().any(|mount| mount.mount_point.starts_with(folder));
    Ok(mounted || Path::new(folder).exists())
}

fn say(installation: &Installation, start: Instant, what: &str) {
    println!("{} {:5.1} s: {what}", installation.engine(), start.elapsed().as_secs_f32());
}
