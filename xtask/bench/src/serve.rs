//! The server amid a thousand subscribers of its stream, a tenth of which do not read, with 10,000 containers
//! of the test kit's Docker engine and 1,000 changes a second; and lookups by name. Engine and server are
//! processes of their own.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use memchr::memmem::{find, find_iter};
use procfs::process::Process;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::population;
use whalewatcher_bench::sample::{Sample, quantile};

use crate::bench::Effort;
use crate::process::{Running, beside, cpu_seconds};

const NAME: &str = "serve";
const CONTAINERS: usize = 10_000;
const READERS: usize = 900;
const STALLED: usize = 100;
const RATE: u32 = 1_000;
const SPAN: [u32; 2] = [10, 60];

/// For how long containers are looked up, and by how many clients at once.
const LOOKUPS: Duration = Duration::from_secs(5);
const CLIENTS: usize = 8;

const LIMIT: Duration = Duration::from_secs(300);

/// How long nothing comes once everything has.
const SILENCE: Duration = Duration::from_secs(2);

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir().context("no folder")?;
    let mut engine = Engine::start()?;
    let server = Server::start(&folder.path().join("s"), &engine.socket)?;
    let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        timeout(LIMIT, server.until_ready()).await.context("the server is not ready")??;
        let mut figures = server.lookups().await?;
        figures.extend(server.subscribers(&mut engine, SPAN[usize::from(effort.large)]).await?);
        Ok(figures)
    })
}

/// The test kit's Docker engine, full of containers. It ends with its input.
struct Engine {
    _process: Running,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
    socket: String,
}

impl Engine {
    fn start() -> Result<Self> {
        let program = beside("whalewatcher-bench-scale")?;
        let mut command = Command::new(program);
        command.args(["serve", &CONTAINERS.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Running(command.spawn().context("cannot start the engine")?);
        let orders = process.0.stdin.take().context("it has an input")?;
        let mut replies = BufReader::new(process.0.stdout.take().context("it has an output")?);
        let mut line = String::new();
        replies.read_line(&mut line)?;
        let (socket, _): (String, Vec<String>) = serde_json::from_str(&line).context("no engine")?;
        Ok(Self { _process: process, orders, replies, socket })
    }

    /// Orders changes; [`done`](Self::done) waits for them.
    fn order(&mut self, seconds: u32) -> Result<()> {
        writeln!(self.orders, "[{RATE},{seconds}]").context("the engine takes no orders")
    }
}

struct Server {
    process: Running,
    socket: PathBuf,
}

impl Server {
    fn start(socket: &Path, engine: &str) -> Result<Self> {
        let program = beside("whalewatcher")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--release", "--package", "whalewatcher-cli"]);
        ensure!(build.status().context("no cargo")?.success(), "the program is not built");
        let mut command = Command::new(program);
        command.arg("serve").arg("--socket").arg(socket).args(["--host", &format!("unix://{engine}")]);
        let process = command.stderr(Stdio::null()).spawn().context("cannot start the server")?;
        Ok(Self { process: Running(process), socket: socket.to_owned() })
    }

    async fn connect(&self, request: &str) -> Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(format!("GET {request}\r\n\r\n").as_bytes()).await?;
        Ok(stream)
    }

    /// Returns a whole answer.
    async fn get(&self, path: &str) -> Result<String> {
        let request = format!("{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        let mut answer = String::new();
        self.connect(&request).await?.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    async fn until_ready(&self) -> Result<()> {
        while !self.get("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn lookups(&self) -> Result<Vec<Figure>> {
        let (mut clients, begin) = (JoinSet::new(), Instant::now());
        for first in 0..CLIENTS {
            clients.spawn(look_up(UnixStream::connect(&self.socket).await?, first, begin + LOOKUPS));
        }
        let counts: Vec<_> = clients.join_all().await.into_iter().collect::<Result<_>>()?;
        let rate = counts.iter().sum::<usize>() as f64 / begin.elapsed().as_secs_f64();
        let what = format!("lookups by name of {CONTAINERS} containers, {CLIENTS} clients");
        let figure = Figure::new(NAME, what, Unit::PerSecond, Sample::once(rate));
        Ok(vec![figure.aiming_at(Aim::AtLeast(10_000.0))])
    }

    async fn subscribers(&self, engine: &mut Engine, seconds: u32) -> Result<Vec<Figure>> {
        let answer = self.get("/v1/projects").await?;
        let tag = answer.lines().find_map(|line| line.strip_prefix("etag: ")).context("no revision")?;
        let request = format!(
            "/v1/events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {}",
            tag.trim().trim_matches('"')
        );
        let mut stalled = Vec::new();
        for _ in 0..STALLED {
            stalled.push(self.connect(&request).await?);
        }
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            readers.spawn(read(self.connect(&request).await?));
        }
        let (before, begin) = (cpu_seconds(self.process.0.id())?, Instant::now());
        engine.order(seconds)?;
        let mut all = Vec::new();
        while let Some(read) = readers.join_next().await {
            all.push(read??);
        }
        let mut line = String::new();
        engine.replies.read_line(&mut line)?;
        let last = all.iter().map(|read| read.last).max().context("no reader")?;
        let wall = (last - begin).as_secs_f64();
        let computed = cpu_seconds(self.process.0.id())? - before;
        let memory =
            Process::new(self.process.0.id().try_into()?)?.status()?.vmhwm.unwrap_or_default() * 1024;
        let mut events: Vec<f64> = all.iter().map(|read| read.events as f64).collect();
        events.sort_by(f64::total_cmp);
        let expected = (RATE * seconds) as usize;
        let lagged = all.iter().filter(|read| read.has_lagged || read.events != expected);
        let of = format!("{READERS} readers and {STALLED} stalled, {RATE} changes a second");
        let figure = |what: String, unit, value| Figure::new(NAME, what, unit, Sample::once(value));
        Ok(vec![
            figure(format!("{of}: events to each reader"), Unit::Count, quantile(&events, 0.5)),
            figure(format!("{of}: readers that lag or miss any"), Unit::Count, lagged.count() as f64)
                .aiming_at(Aim::AtMost(0.0)),
            figure(format!("{of}: until the last has all of {seconds} s"), Unit::Seconds, wall),
            figure(format!("{of}: seconds of CPU for each of them"), Unit::Seconds, computed / wall),
            figure(format!("{of}: peak of memory"), Unit::Bytes, memory as f64),
        ])
    }
}

/// Asks for one name after the other, and returns how many it asked for.
async fn look_up(mut stream: UnixStream, first: usize, end: Instant) -> Result<usize> {
    let (mut count, mut piece) = (0, vec![0; 64 * 1024]);
    while Instant::now() < end {
        let name = population::name((first + count * CLIENTS) % CONTAINERS);
        let request = format!("GET /v1/containers?name={name} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        // Each body is one line.
        while !answer.ends_with(b"]\n") {
            let read = stream.read(&mut piece).await?;
            ensure!(read > 0, "the server ends");
            answer.extend_from_slice(&piece[..read]);
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"}]\n"), "{name} is not found");
        count += 1;
    }
    Ok(count)
}

/// What a reader received.
struct Read {
    events: usize,
    has_lagged: bool,
    last: Instant,
}

/// Reads until nothing comes any more.
async fn read(mut stream: UnixStream) -> Result<Read> {
    let (mut piece, mut read) =
        (vec![0; 256 * 1024], Read { events: 0, has_lagged: false, last: Instant::now() });
    let (mut limit, mut ended_line) = (LIMIT, false);
    while let Ok(count) = timeout(limit, stream.read(&mut piece)).await {
        let text = &piece[..count?];
        ensure!(!text.is_empty(), "the stream ends");
        // Each event ends with an empty line. What HTTP writes between them has none.
        read.events += find_iter(text, b"\n\n").count() + usize::from(ended_line && text[0] == b'\n');
        ended_line = text.ends_with(b"\n") && !text.ends_with(b"\n\n");
        read.has_lagged |= find(text, b"event: lagged\n").is_some();
        read.last = Instant::now();
        limit = SILENCE;
    }
    Ok(read)
}
