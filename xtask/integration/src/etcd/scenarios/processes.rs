//! Agents and consumers as processes, which are killed and stopped while etcd fails, too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::proxy::{Family, Proxy, RandomFaults};
use xtask::engines::PrivateEtcd;

use crate::etcd::EtcdGround;
use crate::etcd::printed::{Ended, Picture, Printed};
use crate::fixture::locked;
use crate::random_steps::seed_noted;
use crate::recorder::LIMIT;
use crate::scenarios::Stopped;

const MEMBERS: usize = 3;
const HOSTS: usize = 3;

/// The host whose agent is stopped, and has a successor.
const SUCCEEDED: usize = 2;

/// Larger than any that a process has, so that none is taken for that of a container. Each host has its own.
const FIRST_PID: u32 = 1 << 24;

/// What happens between etcd and its clients. A port that is closed for a while may be another one's when it
/// is to be opened again.
const FAULTS: [Family; 6] =
    [Family::Cut, Family::Stall, Family::Swallow, Family::BlackHole, Family::Delay, Family::Drip];

/// What happens to what takes part.
#[derive(Clone, Copy, Debug)]
enum Act {
    KillAgent(usize),
    KillConsumer,
    KillMember(usize),
    Fault,
}

/// A host whose engine is served by this process.
struct Host {
    id: String,
    engine: Server,
    agent: Child,
}

/// Engines, agents, etcd behind proxies, and consumers.
struct World {
    folder: TempDir,
    etcd: PrivateEtcd,
    proxies: Vec<Proxy>,
    hosts: Vec<Host>,
    ended: Ended,
    random: Rng,
    faults: RandomFaults,
    steps: usize,
    /// It is never killed, so it prints everything that it ever shows.
    lasting: (Child, Printed),
    killed: (Child, Printed),
    server: (Child, Printed),
}

impl World {
    async fn start(ground: &EtcdGround, seed: u64) -> Result<World> {
        let etcd = ground.start(MEMBERS)?;
        let folder = tempfile::tempdir()?;
        let proxy = |address| Proxy::builder().listen_tcp().upstream(format!("tcp://{address}")).start();
        let proxies: Vec<Proxy> = etcd.addresses().into_iter().map(proxy).collect::<Result<_, _>>()?;
        let url = url_through(&proxies);
        let mut hosts = Vec::new();
        for number in 0..HOSTS {
            let first_pid = FIRST_PID + (u32::try_from(number)? << 20);
            let engine = Server::builder().first_pid(first_pid).seed(seed ^ number as u64).start()?;
            let id = format!("host-{number}");
            let agent = spawn_agent(folder.path(), &id, &engine, &url)?;
            hosts.push(Host { id, engine, agent });
        }
        let ended = Ended::default();
        let weigh = |faults: RandomFaults, family| faults.weight(family, u32::from(FAULTS.contains(&family)));
        let faults = Family::ALL.into_iter().fold(RandomFaults::new(seed), weigh).requests([""; 0]);
        Ok(World {
            lasting: spawn_watch(folder.path(), &url, &ended)?,
            killed: spawn_watch(folder.path(), &url, &ended)?,
            server: spawn_server(folder.path(), &url, &ended).await?,
            folder,
            etcd,
            proxies,
            hosts,
            ended,
            random: Rng::with_seed(seed),
            faults,
            steps: 0,
        })
    }

    /// Has containers begin and end on all hosts.
    fn churn(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            let host = &mut self.hosts[self.random.usize(..HOSTS)];
            self.steps += 1;
            let alive = host.engine.truth();
            if alive.len() < 3 || self.random.u8(..5) < 2 {
                host.engine.run(format!("c{}", self.steps).as_str())?;
                continue;
            }
            let one = &alive[self.random.usize(..alive.len())];
            match self.random.u8(..5) {
                0 => host.engine.rename(&one.id, &format!("r{}", self.steps))?,
                1 if one.paused => host.engine.unpause(&one.id)?,
                1 => host.engine.pause(&one.id)?,
                _ if one.paused => {}
                end => {
                    locked(&self.ended).insert((host.id.clone(), one.id.clone(), one.pid.into()));
                    match end {
                        // It has another life under the same ID.
                        2 => host.engine.restart(&one.id)?,
                        _ => host.engine.exit(&one.id, 7)?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn perform(&mut self, act: Act) -> Result<()> {
        let url = url_through(&self.proxies);
        match act {
            Act::KillAgent(number) => {
                self.hosts[number].agent.kill().await?;
                self.churn(12)?;
                let host = &mut self.hosts[number];
                host.agent = spawn_agent(self.folder.path(), &host.id, &host.engine, &url)?;
            }
            Act::KillConsumer => {
                self.killed.1.is_right()?;
                self.killed.0.kill().await?;
                self.churn(12)?;
                self.killed = spawn_watch(self.folder.path(), &url, &self.ended)?;
            }
            Act::KillMember(member) => {
                block_in_place(|| self.etcd.kill(member))?;
                self.churn(12)?;
                block_in_place(|| self.etcd.start_again(member))?;
            }
            Act::Fault => {
                let proxy = self.proxies[self.random.usize(..MEMBERS)].clone();
                let fault = proxy.inject(self.faults.next_fault())?;
                // So that it concerns how connections are made again, too.
                if self.random.bool() {
                    proxy.cut_all();
                }
                let hold = Duration::from_millis(self.random.u64(50..800));
                self.churn(6)?;
                sleep(hold).await;
                proxy.lift(fault)?;
            }
        }
        self.churn(6)
    }

    async fn perform_all(&mut self, mut acts: Vec<Act>) -> Result<()> {
        self.random.shuffle(&mut acts);
        for act in acts {
            self.perform(act).await.with_context(|| format!("{act:?}"))?;
        }
        Ok(())
    }

    /// Waits until every consumer shows what the engines run, and checks that nothing was printed that did not happen.
    async fn check(&self) -> Result<()> {
        let mut truth = Picture::new();
        for host in &self.hosts {
            truth.extend(host.engine.truth().into_iter().map(|one| {
                let key = (host.id.clone(), one.id);
                (key, (one.name, u64::from(one.pid)))
            }));
        }
        let consumers = [
            ("the watch", &self.lasting),
            ("the watch that was killed", &self.killed),
            ("the server", &self.server),
        ];
        for (name, (_, printed)) in consumers {
            let shown = printed.until(|so_far| so_far.fold == truth).await;
            // What was wrong is the reason, or the better one.
            printed.is_right().with_context(|| name)?;
            shown.with_context(|| format!("{name} does not show the {} containers that run", truth.len()))?;
        }
        Ok(())
    }
}

pub(super) async fn agents_and_consumers_that_are_killed_and_stopped_show_what_the_engines_run(
    ground: &EtcdGround,
) -> Result<()> {
    let seed = seed_noted(|line| ground.figure(line))?;
    let mut world = World::start(ground, seed).await?;
    let outcome = play(&mut world).await;
    outcome.with_context(|| format!("notes of the programs:\n{}", notes(world.folder.path())))
}

async fn play(world: &mut World) -> Result<()> {
    world.churn(30)?;
    world.check().await.context("at the beginning")?;

    // An agent that is stopped beyond the end of its claim has a successor when it goes on.
    let host = &world.hosts[SUCCEEDED];
    let stopped = Stopped::new(host.agent.id())?;
    let url = url_through(&world.proxies);
    let successor = spawn_agent(world.folder.path(), &host.id, &host.engine, &url)?;
    let mut former = std::mem::replace(&mut world.hosts[SUCCEEDED].agent, successor);
    let mut acts = vec![Act::KillAgent(0), Act::KillAgent(1), Act::KillConsumer, Act::KillConsumer];
    acts.extend([Act::Fault; 8]);
    world.perform_all(acts).await?;
    world.check().await.context("with a successor")?;
    let id = format!("host-{SUCCEEDED}");
    ensure!(
        world.lasting.1.count("disconnected", &id) > 0,
        "nothing was printed of an agent that is stopped"
    );
    drop(stopped);
    let mut acts: Vec<Act> = (0..MEMBERS).map(Act::KillMember).collect();
    acts.extend([Act::KillAgent(0), Act::KillConsumer]);
    acts.extend([Act::Fault; 8]);
    world.perform_all(acts).await?;

    // A connection that lost bytes stays silent until that is noticed, which takes its time.
    world.proxies.iter().for_each(Proxy::cut_all);
    world.check().await.context("at the end")?;
    let status = timeout(LIMIT, former.wait()).await.context("the former agent goes on")??;
    ensure!(status.code() == Some(1), "the former agent ended with {status}");
    world.check().await.context("after the former agent")?;
    let agents = world.hosts.iter_mut().map(|host| &mut host.agent);
    let consumers = [&mut world.lasting.0, &mut world.killed.0, &mut world.server.0];
    for program in agents.chain(consumers) {
        let pid = program.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
        kill_process(pid.context("a program has ended")?, Signal::TERM)?;
        let status = timeout(LIMIT, program.wait()).await.context("a program does not end")??;
        ensure!(status.success(), "a program ended with {status}");
    }
    Ok(())
}

fn url_through(proxies: &[Proxy]) -> String {
    let members: Vec<_> =
        proxies.iter().map(|proxy| proxy.endpoint().trim_start_matches("tcp://").to_owned()).collect();
    format!("etcd://{}/p", members.join(","))
}

/// Runs the program, which is beside this one. What it notes is added to a file.
fn spawn(folder: &Path, name: &str, arguments: &[&str]) -> Result<Child> {
    let program = std::env::current_exe()?.with_file_name("whalewatcher");
    let notes = File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?;
    let mut command = Command::new(&program);
    command.args(arguments).env_clear().env("HOME", folder).current_dir(folder).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(notes);
    command.spawn().with_context(|| format!("cannot run {}: is it built?", program.display()))
}

fn spawn_agent(folder: &Path, host: &str, engine: &Server, url: &str) -> Result<Child> {
    spawn(folder, host, &["publish", "--etcd", url, "--host-id", host, "--host", &engine.endpoint()])
}

fn spawn_watch(folder: &Path, url: &str, ended: &Ended) -> Result<(Child, Printed)> {
    let mut program = spawn(folder, "watch", &["watch", "-o", "json", "--host", url])?;
    let output = program.stdout.take().context("no output")?;
    Ok((program, Printed::start(output, ended)))
}

async fn spawn_server(folder: &Path, url: &str, ended: &Ended) -> Result<(Child, Printed)> {
    let socket: PathBuf = folder.join("s");
    let program = spawn(folder, "serve", &["serve", "--socket", &socket.to_string_lossy(), "--host", url])?;
    let connecting = async {
        loop {
            // Nothing shows that a socket is listened at.
            match UnixStream::connect(&socket).await {
                Ok(stream) => return stream,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let mut stream = timeout(LIMIT, connecting).await.context("the server does not listen")?;
    // Of this version the body is not in chunks.
    stream.write_all(b"GET /v1/events HTTP/1.0\r\nAccept: application/x-ndjson\r\n\r\n").await?;
    Ok((program, Printed::start(stream, ended)))
}

/// The last notes of each program.
fn notes(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("  {}:\n    {}\n", path.display(), lines[lines.len().saturating_sub(8)..].join("\n    "))
    })
    .collect()
}
