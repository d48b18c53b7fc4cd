//! The engine's process, from the outside.

use std::env;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use whalewatcher_bench::report::Requests;

use crate::server::{Order, Reply};

/// An engine in a process of its own, which ends with this.
pub(crate) struct Served {
    pub(crate) socket: String,
    pub(crate) ids: Vec<String>,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What the engine counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) requests: Requests,
    pub(crate) skipped: u64,
}

/// What the engine let happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    pub(crate) transitions: u64,
    pub(crate) starts: u64,
    pub(crate) seconds: f64,
}

impl Served {
    pub(crate) async fn start(containers: usize) -> Result<Self> {
        let program = env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(program);
        command.arg("serve").arg(containers.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("cannot start the engine")?;
        let orders = process.stdin.take().context("it has an input")?;
        let output = process.stdout.take().context("it has an output")?;
        let mut replies = BufReader::new(output).lines();
        let Reply::Serving { socket, ids } = next(&mut replies).await? else {
            bail!("the engine does not say where it is");
        };
        Ok(Self { socket, ids, orders, replies, _process: process })
    }

    pub(crate) async fn count(&mut self) -> Result<Count> {
        match self.obey(&Order::Count).await? {
            Reply::Counted { requests, skipped } => Ok(Count { requests, skipped }),
            other => bail!("asked for its count, the engine replied {other:?}"),
        }
    }

    /// Lets that happen, and returns when it has.
    pub(crate) async fn churn(&mut self, rate: u32, seconds: u32) -> Result<Happened> {
        match self.obey(&Order::Churn { rate, seconds }).await? {
            Reply::Churned { transitions, starts, seconds } => Ok(Happened { transitions, starts, seconds }),
            other => bail!("told to let something happen, the engine replied {other:?}"),
        }
    }

    async fn obey(&mut self, order: &Order) -> Result<Reply> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await.context("the engine has ended")?;
        next(&mut self.replies).await
    }
}

async fn next(replies: &mut Lines<BufReader<ChildStdout>>) -> Result<Reply> {
    let line = replies.next_line().await?.context("the engine has ended")?;
    serde_json::from_str(&line).context("the engine's reply cannot be understood")
}
