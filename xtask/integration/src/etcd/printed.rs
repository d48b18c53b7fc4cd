//! What a program prints of many hosts, line by line: it has to add up, and no end is printed that did not come about.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::fixture::locked;
use crate::growing::{Adding, Growing};

/// How many lines are shown to people, and how much of each.
const TAIL: usize = 40;
const LENGTH: usize = 400;

/// What is alive: name and PID, by the IDs of the host and of the container.
pub(super) type Picture = BTreeMap<(String, String), (String, u64)>;

/// The lives that have ended: the IDs of the host and of the container, and the PID.
pub(super) type Ended = Arc<Mutex<HashSet<(String, String, u64)>>>;

/// Reads what a program prints, and checks it as it comes.
pub(super) struct Printed(Growing<SoFar>);

#[derive(Default)]
pub(super) struct SoFar {
    pub(super) fold: Picture,
    /// How often each kind of event came, by the ID of the host.
    counts: BTreeMap<(String, String), usize>,
    started: HashSet<(String, String, u64)>,
    wrong: Option<String>,
    tail: VecDeque<String>,
}

impl Printed {
    pub(super) fn start(output: impl AsyncRead + Send + Unpin + 'static, ended: &Ended) -> Printed {
        let ended = ended.clone();
        Printed(Growing::start(SoFar::default(), |so_far: Adding<SoFar>| async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                // The server's stream has a head.
                if line.starts_with('{') {
                    so_far.add(|so_far| so_far.take(&line, &ended));
                }
            }
        }))
    }

    /// Fails if anything was printed that did not happen.
    pub(super) fn is_right(&self) -> Result<()> {
        let so_far = self.0.so_far();
        so_far.wrong.as_ref().map_or(Ok(()), |wrong| bail!("{wrong}\n{}", so_far.tail()))
    }

    /// How many events of a kind there were of a host.
    pub(super) fn count(&self, kind: &str, host: &str) -> usize {
        self.0.so_far().counts.get(&(kind.to_owned(), host.to_owned())).copied().unwrap_or_default()
    }

    /// Waits until this holds of the lines so far.
    pub(super) async fn until(&self, holds: impl FnMut(&SoFar) -> bool) -> Result<()> {
        let holds = self.0.until(holds).await;
        ensure!(holds, "{}", self.0.so_far().tail());
        Ok(())
    }
}

impl SoFar {
    fn take(&mut self, line: &str, ended: &Ended) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line.chars().take(LENGTH).collect());
        if let Err(why) = self.apply(line, ended) {
            self.wrong.get_or_insert_with(|| format!("{why}: {line}"));
        }
    }

    fn apply(&mut self, line: &str, ended: &Ended) -> Result<(), &'static str> {
        let event: Value = serde_json::from_str(line).map_err(|_| "no JSON")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = |container: &Value, engine: &Value| {
            let key = (text(&engine["host"]["id"]), text(&container["id"]));
            (key, (text(&container["name"]), container["pid"].as_u64().unwrap_or_default()))
        };
        let kind = text(&event["event"]);
        if kind == "snapshot" {
            let all = event["containers"].as_array().ok_or("no containers")?;
            self.fold = all.iter().map(|container| of(container, &container["engine"])).collect();
            return Ok(());
        }
        let host = text(&event["engine"]["host"]["id"]);
        *self.counts.entry((kind.clone(), host)).or_default() += 1;
        if event["container"].is_null() {
            return Ok(());
        }
        let (key, shown) = of(&event["container"], &event["engine"]);
        let life = (key.0.clone(), key.1.clone(), shown.1);
        let before = self.fold.get(&key).map(|(_, pid)| *pid);
        match &*kind {
            "started" => {
                self.fold.insert(key, shown);
                if before.is_some() {
                    return Err("it was shown already");
                }
                // A life that was too short to be inspected has no PID.
                if life.2 != 0 && !self.started.insert(life) {
                    return Err("this life was started before");
                }
            }
            "exited" => {
                self.fold.remove(&key);
                if before != Some(life.2) {
                    return Err("it was not shown");
                }
                if life.2 != 0 && !locked(ended).contains(&life) {
                    return Err("it goes on");
                }
            }
            _ if before != Some(life.2) => return Err("it was not shown"),
            _ => drop(self.fold.insert(key, shown)),
        }
        Ok(())
    }

    fn tail(&self) -> String {
        self.tail.iter().fold("  the last lines:".to_owned(), |text, line| format!("{text}\n    {line}"))
    }
}
