//! A check of one engine on this very host: that containers run and pause, and that nothing of an instance is left,
//! however it ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::containerd::Containerd;
use super::cri;
use super::docker::{Docker, DockerOptions};
use super::engine::EngineKind;
use super::http;
use super::installation::Installation;
use super::leftovers;
use super::podman::Podman;
use super::processes::{Pinned, pause};
use super::test_image::TEST_IMAGE;

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
pub fn whole_life(installation: &Installation) -> Result<Outcome> {
    let start = Instant::now();
    match installation.engine().kind {
        EngineKind::Docker => {
            let options = DockerOptions { tcp: true, ..DockerOptions::default() };
            let docker = match Docker::start(installation, &options) {
                Ok(docker) => docker,
                Err(error) => return Ok(Outcome::CannotStart(error)),
            };
            let version = docker.version();
            say(installation, start, &format!("started {}, API {}", version.engine, version.api));
            containers_end_with_it(installation, docker, start)?;
        }
        EngineKind::Podman => {
            let podman = match Podman::start(installation, None) {
                Ok(podman) => podman,
                Err(error) => return Ok(Outcome::CannotStart(error)),
            };
            say(installation, start, &format!("started {}", podman.version()));
            containers_of_podman_end_with_it(installation, podman, start)?;
        }
        EngineKind::Containerd | EngineKind::Cri => {
            let containerd = match Containerd::start(installation, None) {
                Ok(containerd) => containerd,
                Err(error) => return Ok(Outcome::CannotStart(error)),
            };
            say(installation, start, &format!("started {}", containerd.version()));
            if installation.engine().kind == EngineKind::Cri {
                images_are_known(&containerd)?;
                say(installation, start, "its CRI plugin knows the images of pods");
            }
            tasks_end_with_it(installation, containerd, start)?;
        }
    }
    an_interrupted_run_leaves_nothing(installation)?;
    a_killed_run_is_cleared_by_the_next(installation)?;
    Ok(Outcome::Passed)
}

fn containers_end_with_it(installation: &Installation, docker: Docker, start: Instant) -> Result<()> {
    docker.load_test_image()?;
    let socket = docker.docker_socket();
    let names = ["first", "second", "third"];
    for name in names {
        run(&socket, name, "")?;
    }
    post(&socket, "/containers/first/pause")?;
    ensure!(state(&socket, "first")?["Paused"] == true, "a paused container is not paused");
    post(&socket, "/containers/first/unpause")?;
    say(installation, start, "containers run, pause and unpause");

    post(&socket, "/containers/second/pause")?;
    docker.kill()?;
    let marker = docker.marker();
    ensure!(!marker.remains()?.is_empty(), "a running instance seems to consist of nothing");
    docker.stop()?;
    ensure!(marker.remains()?.is_empty(), "there remains: {}", marker.remains()?.join(", "));
    say(installation, start, "nothing of it is left, running and paused containers included");
    Ok(())
}

fn containers_of_podman_end_with_it(
    installation: &Installation,
    podman: Podman,
    start: Instant,
) -> Result<()> {
    podman.load_test_image()?;
    let (socket, cgroup) = (podman.socket(), podman.cgroup());
    let names = ["first", "second"];
    for name in names {
        run(&socket, name, &cgroup)?;
    }
    post(&socket, "/containers/second/pause")?;
    ensure!(state(&socket, "second")?["Paused"] == true, "a paused container is not paused");
    say(installation, start, "containers run and pause");

    let marker = podman.marker();
    // What serves, and of each container its monitor and two of its own.
    ensure!(podman.processes()?.len() >= 5, "a running instance seems to have no containers");
    podman.stop()?;
    ensure!(marker.remains()?.is_empty(), "there remains: {}", marker.remains()?.join(", "));
    say(installation, start, "nothing of it is left, running and paused containers included");
    Ok(())
}

fn tasks_end_with_it(installation: &Installation, containerd: Containerd, start: Instant) -> Result<()> {
    for (namespace, id) in [("one", "same"), ("two", "same"), ("two", "paused")] {
        let mut run = containerd.ctr(namespace)?;
        run.args(["run", "--detach"]).args(containerd.ctr_run_arguments(namespace, id));
        output(run.args([id, "/bin/sleep", "1000000"]))?;
    }
    output(containerd.ctr("two")?.args(["tasks", "pause", "paused"]))?;
    let tasks = || -> Result<Vec<String>> {
        let mut tasks = Vec::new();
        for namespace in ["one", "two"] {
            let listed = output(containerd.ctr(namespace)?.args(["tasks", "list"]))?;
            tasks.extend(
                listed.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")),
            );
        }
        tasks.sort();
        Ok(tasks)
    };
    let before = tasks()?;
    let states: Vec<_> = before.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    ensure!(states == ["PAUSED", "RUNNING", "RUNNING"], "the tasks are {before:?}");
    say(installation, start, "tasks run and pause, with one ID in two namespaces");

    let marker = containerd.marker();
    ensure!(containerd.processes()?.len() >= 7, "a running instance seems to have no shims and tasks");
    containerd.stop()?;
    ensure!(marker.remains()?.is_empty(), "there remains: {}", marker.remains()?.join(", "));
    say(installation, start, "nothing of it is left, running and paused tasks included");
    Ok(())
}

/// The plugin labels what it knows, a moment after it was imported.
fn images_are_known(containerd: &Containerd) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let mut list = containerd.ctr(cri::NAMESPACE)?;
        list.args(["images", "list", "--quiet", "labels.\"io.cri-containerd.image\"==managed"]);
        let known = output(&mut list)?;
        if cri::IMAGES.iter().all(|image| known.lines().any(|line| line.ends_with(image))) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the CRI plugin knows only these images: {known}");
        pause(Duration::from_millis(20))?;
    }
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn an_interrupted_run_leaves_nothing(installation: &Installation) -> Result<()> {
    let start = Instant::now();
    let mut run = OtherRun::start(installation)?;
    ensure!(folder_is_used(&run.folder)?, "a run has no folder {}", run.folder);
    let pinned = Pinned::new(run.process.id())?.context("the run ended by itself")?;
    pinned.signal(Signal::TERM)?;
    let status = run.process.wait().context("cannot wait for the run")?;
    ensure!(status.code() == Some(143), "an interrupted run ended with {status}");
    ensure!(!folder_is_used(&run.folder)?, "an interrupted run left {}", run.folder);
    say(installation, start, "a run that is interrupted leaves nothing");
    Ok(())
}

fn a_killed_run_is_cleared_by_the_next(installation: &Installation) -> Result<()> {
    let start = Instant::now();
    let mut run = OtherRun::start(installation)?;
    leftovers::clear()?;
    ensure!(folder_is_used(&run.folder)?, "an instance of a live run was cleared away");
    ensure!(answers(&run.socket), "a live run's instance was harmed");
    run.process.kill().context("cannot kill the run")?;
    run.process.wait().context("cannot wait for the run")?;
    ensure!(answers(&run.socket), "the instance of a killed run is already gone: nothing could be checked");
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
    socket: PathBuf,
}

impl OtherRun {
    fn start(installation: &Installation) -> Result<OtherRun> {
        // Not by its path: cargo may have rebuilt it since it was started.
        let mut command = Command::new("/proc/self/exe");
        command.args(["engines", "up", &installation.engine().to_string()]);
        for name in ["dockerd", "containerd", "runc", "busybox"] {
            if let Ok(program) = installation.program(name) {
                command.arg(format!("--{name}")).arg(program);
            }
        }
        let mut process = command.stdout(Stdio::piped()).spawn().context("cannot start another run")?;
        let mut output = BufReader::new(process.stdout.take().context("the run has no output")?);
        let mut line = String::new();
        while output.read_line(&mut line).context("cannot read the output of the run")? > 0 {
            let endpoints = ["DOCKER_HOST=unix://", "CONTAINERD_ADDRESS="];
            if let Some(socket) = endpoints.iter().find_map(|start| line.trim_end().strip_prefix(start)) {
                let socket = PathBuf::from(socket);
                let folder = socket.parent().context("a socket is in a folder")?.display().to_string();
                return Ok(OtherRun { process, _output: output, folder, socket });
            }
            line.clear();
        }
        process.wait().context("cannot wait for the run")?;
        bail!("another run did not start its engine")
    }
}

/// Whether an engine listens there, and if it speaks HTTP, answers.
fn answers(socket: &Path) -> bool {
    if socket.ends_with("docker.sock") || socket.ends_with("podman.sock") {
        return http::request(socket, "GET", "/_ping", "", &[]).is_ok_and(|response| response.status == 200);
    }
    UnixStream::connect(socket).is_ok()
}

fn folder_is_used(folder: &str) -> Result<bool> {
    let mounted = super::mounts::all()?.iter().any(|mount| mount.point.starts_with(folder));
    Ok(mounted || Path::new(folder).exists())
}

/// Runs a container in a cgroup below this one, or where dockerd makes them anyway.
fn run(socket: &Path, name: &str, cgroup: &str) -> Result<()> {
    let host = json!({ "NetworkMode": "none", "CgroupParent": cgroup });
    let body = json!({ "Image": TEST_IMAGE, "HostConfig": host }).to_string();
    let target = format!("/containers/create?name={name}");
    let created = http::request(socket, "POST", &target, "application/json", body.as_bytes())?;
    ensure!(created.status == 201, "cannot make a container: {}", created.text());
    post(socket, &format!("/containers/{name}/start"))
}

fn post(socket: &Path, target: &str) -> Result<()> {
    let response = http::request(socket, "POST", target, "application/json", &[])?;
    ensure!(response.status < 400, "POST {target} failed ({}): {}", response.status, response.text());
    Ok(())
}

fn state(socket: &Path, name: &str) -> Result<Value> {
    let target = format!("/containers/{name}/json");
    let mut inspected = http::request(socket, "GET", &target, "application/json", &[])?.json()?;
    Ok(inspected["State"].take())
}

fn say(installation: &Installation, start: Instant, what: &str) {
    println!("{} {:5.1} s: {what}", installation.engine(), start.elapsed().as_secs_f32());
}
