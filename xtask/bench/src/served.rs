//! The test kit's Docker engine in a process of its own, from the outside.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::report::Requests;

/// An order to the process, one a line, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Say what was counted.
    Count,
    /// Let so many transitions a second happen, for so many seconds.
    Churn {
        /// Transitions a second.
        rate: u32,
        /// For how many seconds at least.
        seconds: u32,
    },
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To be said first.
    Serving {
        /// Where the engine is reached.
        socket: String,
        /// Its containers.
        ids: Vec<String>,
    },
    /// See [`Count`].
    Counted {
        /// All requests.
        requests: Requests,
        /// Events that were not delivered.
        skipped: u64,
    },
    /// See [`Happened`].
    Churned {
        /// All transitions.
        transitions: u64,
        /// Lives that began.
        starts: u64,
        /// How long it took.
        seconds: f64,
    },
}

/// An engine in a process of its own, which ends with this.
pub struct Served {
    /// Where the engine is reached.
    pub socket: String,
    /// Its containers.
    pub ids: Vec<String>,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

/// What the engine counted so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// All requests.
    pub requests: Requests,
    /// Events that were not delivered, for their stream was not read soon enough.
    pub skipped: u64,
}

/// What the engine let happen.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    /// All transitions.
    pub transitions: u64,
    /// Lives that began.
    pub starts: u64,
    /// How long it took.
    pub seconds: f64,
}

impl Served {
    /// Starts the process that obeys these orders, which is this program, with so many containers.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or does not say where it is.
    pub async fn start(program: &Path, containers: usize) -> Result<Self> {
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

    /// What was counted so far.
    ///
    /// # Errors
    ///
    /// When the process does not answer.
    pub async fn count(&mut self) -> Result<Count> {
        match self.obey(&Order::Count).await? {
            Reply::Counted { requests, skipped } => Ok(Count { requests, skipped }),
            other => bail!("asked for its count, the engine replied {other:?}"),
        }
    }

    /// Lets that happen, and returns when it has.
    ///
    /// # Errors
    ///
    /// When the process does not answer.
    pub async fn churn(&mut self, rate: u32, seconds: u32) -> Result<Happened> {
        match self.obey(&Order::Churn { rate, seconds }).await? {
            Reply::Churned { transitions, starts, seconds } => Ok(Happened { transitions, starts, seconds }),
            other => bail!("ordered to let transitions happen, the engine replied {other:?}"),
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
