//! `cargo xtask engines`: fetch, list, and private instances for a person to play with.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use xtask::EXIT_ENGINE_CANNOT_RUN;
use xtask::cache::Cache;
use xtask::engines::{
    self, Engine, EngineKind, EtcdOptions, GivenPrograms, Installation, PAUSE_IMAGE, Packages, PrivateEngine,
    PrivateEtcd, TEST_IMAGE, check, leftovers,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Get the packages of engines from this host's Debian mirror and unpack them into the cache
    Fetch(Fetch),
    /// List the engines, whether they are there, and their versions
    List,
    /// Check on this host that instances survive what they should and leave nothing behind
    Check(Check),
    /// Run a private instance until Ctrl-C
    Up(Up),
    /// End instances that were started with `up --detach`, and what runs left that were killed
    Down(Down),
}

#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Fetch these engines [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    engine: Vec<Engine>,
    /// Fetch them again, even if they are there
    #[arg(long)]
    refresh: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Check these engines [default: all]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    engine: Vec<Engine>,
    #[command(flatten)]
    given: GivenPrograms,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Which engine, such as docker@bookworm
    engine: Engine,
    /// An existing folder to make the instance's folder in (its path must be short)
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Leave it running in the background until `engines down`
    #[arg(long)]
    detach: bool,
    /// Listen on a TCP port of 127.0.0.1, too
    #[arg(long)]
    tcp: bool,
    /// Let containers live on while dockerd is away
    #[arg(long)]
    live_restore: bool,
    #[command(flatten)]
    given: GivenPrograms,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// End the detached instances of this engine, or use --all
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    engine: Option<Engine>,
    /// End every detached instance
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Fetch(fetch) => fetch_engines(fetch),
        Command::List => list(),
        Command::Check(options) => return check_engines(options),
        Command::Up(options) => up(options),
        Command::Down(options) => down(options),
    }
    .map(|()| ExitCode::SUCCESS)
}

fn fetch_engines(fetch: &Fetch) -> Result<()> {
    let engines = or_all(&fetch.engine);
    let cache = Cache::open()?;
    let count = Packages::of(&cache).fetch(&engines, fetch.refresh)?;
    if count == 0 {
        println!("nothing to fetch: all packages are in {}", cache.folder().display());
    }
    list_some(&cache, &engines);
    Ok(())
}

fn or_all(engines: &[Engine]) -> Vec<Engine> {
    if engines.is_empty() { Engine::ALL.to_vec() } else { engines.to_vec() }
}

/// Checks one after the other. The exit code says whether one did not even start.
fn check_engines(options: &Check) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let engines = or_all(&options.engine);
    Packages::of(&cache).fetch(&engines, false)?;
    for engine in engines {
        let outcome = match Installation::find(&cache, engine, &options.given) {
            Ok(found) => check::whole_life(&found, &options.given)
                .with_context(|| format!("{engine} failed its check"))?,
            Err(error) => check::Outcome::CannotStart(error),
        };
        if let check::Outcome::CannotStart(error) = outcome {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(EXIT_ENGINE_CANNOT_RUN));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<()> {
    list_some(&Cache::open()?, &Engine::ALL);
    for marker in leftovers::detached()? {
        println!("running: {} in {}", marker.engine(), marker.folder().display());
    }
    Ok(())
}

fn list_some(cache: &Cache, engines: &[Engine]) {
    println!("{:<16} {:<8} {:<12} WHERE", "ENGINE", "FETCHED", "VERSION");
    for engine in engines {
        if !Packages::of(cache).are_there(*engine) {
            println!("{engine:<16} {:<8} {:<12} -", "no", "-");
            continue;
        }
        let found = Installation::find(cache, *engine, &GivenPrograms::default());
        let version_and_place = found.and_then(|installation| {
            let place = installation.program(engine.kind.daemon())?.display().to_string();
            Ok((installation.version()?, place))
        });
        match version_and_place {
            Ok((version, place)) => println!("{engine:<16} {:<8} {version:<12} {place}", "yes"),
            Err(error) => println!("{engine:<16} {:<8} {:<12} {error:#}", "yes", "-"),
        }
    }
}

fn up(options: &Up) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    ensure!(
        root,
        "a private engine can be run by root only: run as root, or point DOCKER_HOST at a running engine"
    );
    let cache = Cache::open()?;
    Packages::of(&cache).fetch(&[options.engine], false)?;
    let installation = Installation::find(&cache, options.engine, &options.given)?;
    let kind = options.engine.kind;
    ensure!(
        kind == EngineKind::Docker || !(options.tcp || options.live_restore),
        "--tcp and --live-restore are for dockerd"
    );
    let Up { dir, tcp, live_restore, .. } = options;
    if kind == EngineKind::Etcd {
        return up_etcd(options, &installation);
    }
    let how = engines::Options { parent: dir.clone(), tcp: *tcp, live_restore: *live_restore };
    let engine = PrivateEngine::start(&installation, &how)?;
    println!("{} {}", engine.engine(), engine.version());
    println!("log: {}", engine.log().display());
    if kind == EngineKind::Podman {
        println!(
            "containers have to be made with the cgroup parent {} and without a network",
            engine.cgroup()
        );
    }
    if let Some(address) = engine.tcp_address() {
        println!("DOCKER_HOST=tcp://{address}");
    }
    if matches!(kind, EngineKind::Docker | EngineKind::Podman) {
        println!("image: {TEST_IMAGE}\nDOCKER_HOST={}", engine.endpoint());
    } else {
        let arguments = engine.ctr_run_arguments("default", "test").join(" ");
        let ctr = installation.program("ctr")?.display();
        println!("{ctr} run --detach {arguments} test /bin/sleep 1000000");
        if kind == EngineKind::Cri {
            println!(
                "images: {PAUSE_IMAGE} for sandboxes and {TEST_IMAGE}; pods have to use the host's network"
            );
            println!("CONTAINER_RUNTIME_ENDPOINT={}", engine.endpoint());
        }
        println!("CONTAINERD_ADDRESS={}", engine.socket().display());
    }
    if options.detach {
        engine.detach()?;
        println!("end it with `cargo xtask engines down {}`", options.engine);
        return Ok(());
    }
    until_interrupted()
}

fn up_etcd(options: &Up, installation: &Installation) -> Result<()> {
    let how = EtcdOptions { parent: options.dir.clone(), ..EtcdOptions::default() };
    let etcd = PrivateEtcd::start(installation, &how)?;
    println!("{} {}", etcd.engine(), etcd.version());
    println!("log: {}", etcd.log().display());
    println!("ETCDCTL_ENDPOINTS={}", etcd.endpoints().join(","));
    if options.detach {
        etcd.detach()?;
        println!("end it with `cargo xtask engines down {}`", options.engine);
        return Ok(());
    }
    until_interrupted()
}

fn until_interrupted() -> Result<()> {
    println!("Ctrl-C ends it");
    // Nothing is ever sent: the thread that handles signals ends the process.
    let (_sender, receiver) = mpsc::channel::<()>();
    receiver.recv().context("nothing to wait for")
}

fn down(options: &Down) -> Result<()> {
    let engine = options.engine.map(|engine| engine.to_string());
    let count = leftovers::clear_detached(engine.as_deref())?;
    println!("ended {count} instance{}", if count == 1 { "" } else { "s" });
    Ok(())
}
