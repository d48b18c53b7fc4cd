//! A real Prometheus, and the program that serves: how they are run and asked.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, Lines,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::recorder::LIMIT;

/// How often is asked for what no event reports.
const PAUSE: Duration = Duration::from_millis(50);

/// The program, which serves the fixture's engine at a socket until this is dropped.
pub(super) struct Serving {
    _child: Child,
    socket: PathBuf,
}

impl Serving {
    pub(super) async fn start(fixture: &DockerFixture, folder: &Path, options: &[&str]) -> Result<Serving> {
        Serving::start_by(Command::new("env"), fixture, folder, options).await
    }

    /// Has another program start it, which becomes it or ends it when it ends.
    pub(super) async fn start_by(
        mut command: Command,
        fixture: &DockerFixture,
        folder: &Path,
        options: &[&str],
    ) -> Result<Serving> {
        // It is built together with the scenarios.
        let program = std::env::current_exe()?.with_file_name("whalewatcher");
        let socket = folder.join("serve.sock");
        command.arg(&program).arg("serve").arg("--socket").arg(&socket);
        command.args(["--host", &fixture.endpoint()]).args(options);
        command.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let errors = child.stderr.take().context("it has errors")?;
        let first = timeout(LIMIT, BufReader::new(errors).lines().next_line()).await??;
        ensure!(first.as_ref().is_some_and(|line| line.contains("serving at")), "it prints {first:?}");
        Ok(Serving { _child: child, socket })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Returns the status and the body of an answer.
    pub(super) async fn get(&self, target: &str, accepted: &str) -> Result<(u16, String)> {
        let (status, body) = ask(UnixStream::connect(&self.socket).await?, target, accepted).await?;
        Ok((status, read(body).await?))
    }

    pub(super) async fn json(&self, target: &str) -> Result<(u16, Value)> {
        let (status, body) = self.get(target, "application/json").await?;
        Ok((status, serde_json::from_str(&body)?))
    }

    /// Returns the stream of events, a line each.
    pub(super) async fn events(&self) -> Result<Changes> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (status, body) = ask(stream, "/v1/events", "application/x-ndjson").await?;
        ensure!(status == 200, "the stream is refused: {status}");
        Ok(Changes(body.lines()))
    }
}

/// The events of a stream.
pub(super) struct Changes(Lines<BufReader<UnixStream>>);

impl Changes {
    /// Returns the next event of this kind.
    pub(super) async fn until(&mut self, kind: &str) -> Result<Value> {
        let awaited = async {
            loop {
                let line = self.0.next_line().await?.context("the stream ends")?;
                // A comment is an empty line.
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["event"] == kind {
                    return anyhow::Ok(event);
                }
            }
        };
        timeout(LIMIT, awaited).await.with_context(|| format!("no {kind} comes"))?
    }
}

/// A Prometheus that runs until this is dropped.
pub(super) struct Prometheus {
    _child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it with these `scrape_configs`.
    pub(super) async fn start(fixture: &DockerFixture, folder: &Path, scrapes: &str) -> Result<Prometheus> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = folder.join("prometheus.yml");
        fs::write(&configuration, format!("scrape_configs:\n{scrapes}"))?;
        let mut command = Command::from(fixture.engine().installation().command("prometheus")?);
        command.arg(format!("--config.file={}", configuration.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}"));
        command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
        command.stderr(fs::File::create(folder.join("prometheus.log"))?);
        let prometheus = Prometheus { _child: command.spawn().context("cannot start Prometheus")?, address };
        let ready = async || {
            let answer = prometheus.get("/-/ready").await.ok().filter(|(status, _)| *status == 200);
            Ok(answer.map(drop))
        };
        until("it is ready", ready).await?;
        Ok(prometheus)
    }

    async fn get(&self, target: &str) -> Result<(u16, String)> {
        let (status, body) = ask(TcpStream::connect(self.address).await?, target, "*/*").await?;
        Ok((status, read(body).await?))
    }

    /// Returns the `data` of an answer of its API.
    pub(super) async fn api(&self, target: &str) -> Result<Value> {
        let (status, body) = self.get(&format!("/api/v1/{target}")).await?;
        ensure!(status == 200, "{target}: {status} {body}");
        Ok(serde_json::from_str::<Value>(&body)?["data"].take())
    }

    /// Returns a metric of its own with these labels, 0 if there is none.
    pub(super) async fn metric(&self, name_and_labels: &str) -> Result<f64> {
        let (_, body) = self.get("/metrics").await?;
        let value = body.lines().find_map(|line| line.strip_prefix(name_and_labels)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }
}

/// Asks until there is an answer.
pub(super) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return anyhow::Ok(answer);
            }
            sleep(PAUSE).await;
        }
    };
    timeout(LIMIT, asking).await.with_context(|| format!("it does not happen that {what}"))?
}

/// Returns the status of an answer, and the connection with its body. An answer in HTTP/1.0 has no chunks.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    target: &str,
    accepted: &str,
) -> Result<(u16, BufReader<S>)> {
    let head = format!("GET {target} HTTP/1.0\r\nHost: localhost\r\nAccept: {accepted}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let (mut stream, mut status) = (BufReader::new(stream), None);
    loop {
        let mut line = String::new();
        ensure!(timeout(LIMIT, stream.read_line(&mut line)).await?? > 0, "{target}: no answer");
        match (line.trim_end(), status) {
            ("", Some(status)) => return Ok((status, stream)),
            (line, None) => {
                let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
                status = Some(code.with_context(|| format!("{target}: {line}"))?);
            }
            _ => {}
        }
    }
}

async fn read(mut body: BufReader<impl AsyncRead + Unpin>) -> Result<String> {
    let mut text = String::new();
    timeout(LIMIT, body.read_to_string(&mut text)).await??;
    Ok(text)
}
