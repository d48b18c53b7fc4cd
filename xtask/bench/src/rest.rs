//! What watching takes while nothing happens: a hundred containers of a real dockerd that run on and on, and default
//! settings. The watcher is a process of its own, looked at from outside; its requests pass a proxy that counts.

use std::env;
use std::io::{self, Read as _};
use std::process::{Stdio, exit};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::requests::counted;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::watch;
use whalewatcher_drivers::docker::Driver;
use whalewatcher_moby::Client;
use whalewatcher_testkit::proxy::{Proxy, Stats};

use crate::bench::Effort;
use crate::process::Usage;
use crate::real::{self, Driver as _};

const NAME: &str = "rest";
const CONTAINERS: usize = 100;
/// For how long nothing happens: usually, and if all is to be large.
const SPAN: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(600)];
/// What figures are of, however long it was measured.
const REPORTED_SPAN: Duration = Duration::from_secs(600);
/// How long the watcher may take to be ready and to close what only that needed.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The event stream, and whatever is asked.
const CONNECTIONS: usize = 2;

pub(crate) fn run(_: &str, effort: &Effort) -> Result<Vec<Figure>> {
    let span = SPAN[usize::from(effort.large)];
    real::measured(async |engine, driver: &Driver| {
        driver.populate(0..CONTAINERS).await?;
        let proxy = Proxy::builder().upstream(engine.endpoint()).start()?;
        let watcher = AtRest::start(&proxy).await?;
        ensure!(watcher.reported == CONTAINERS.to_string(), "{} containers are watched", watcher.reported);

        let (usage, stats) = (watcher.usage()?, proxy.stats());
        sleep(span).await;
        let usage = watcher.usage()?.since(usage);
        Ok(figures(span, usage, Requests::between(&stats, &proxy.stats())))
    })
}

/// A process that does nothing but watch; it ends with this.
struct AtRest {
    /// What it said when it had begun.
    reported: String,
    pid: u32,
    _process: Child,
}

impl AtRest {
    async fn start(proxy: &Proxy) -> Result<Self> {
        let program = env::current_exe().context("cannot report where this program is")?;
        let mut command = Command::new(&program);
        // The input stays open for as long as this process lives: by that it ends with this one.
        command
            .arg("--only-watch")
            .arg(proxy.endpoint())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut process = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let output = process.stdout.take().context("it has an output")?;
        let starting = async {
            let Some(reported) = BufReader::new(output).lines().next_line().await? else {
                bail!("it has ended")
            };
            proxy.until(|stats| stats.open <= CONNECTIONS).await;
            Ok(reported)
        };
        let reported = timeout(START_LIMIT, starting).await.context("it does not come to rest")??;
        Ok(Self { reported, pid: process.id().context("it has ended")?, _process: process })
    }

    fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid)
    }
}

/// What that process does: it watches with default settings and one subscriber until its input ends, and
/// nothing else, so that what it costs is what watching costs.
pub(crate) fn only_watch(endpoint: &str) -> Result<()> {
    thread::spawn(|| -> Result<()> {
        io::stdin().read_to_end(&mut Vec::new())?;
        exit(0)
    });
    Builder::new_current_thread().enable_all().build().context("no runtime")?.block_on(async {
        let watching = watch(Client::new(endpoint)?);
        watching.ready().await?;
        let (now, mut changes) = watching.subscribe();
        println!("{}", now.total());
        while let Some(change) = changes.next().await {
            eprintln!("{change}");
        }
        bail!("the watch has ended")
    })
}

/// Requests, by what they are for.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Requests {
    audits: u64,
    checks: u64,
    /// Neither of both, nor the question for past events that an audit comes with.
    others: u64,
}

impl Requests {
    fn between(before: &Stats, after: &Stats) -> Self {
        let all = counted(after).since(&counted(before));
        let pings = |stats: &Stats| stats.requests_of("/_ping");
        let checks = all.streams.saturating_sub(all.lists);
        // A check that does not know the engine's clock asks for it first.
        let with_these = (pings(after) - pings(before)).min(checks);
        let others = all.inspections + all.others - with_these;
        Self { audits: all.lists, checks, others }
    }
}

fn figures(span: Duration, usage: Usage, requests: Requests) -> Vec<Figure> {
    let by = REPORTED_SPAN.as_secs_f64() / span.as_secs_f64();
    let figure = |what: &str, unit, measured: f64| {
        let what = format!("{CONTAINERS} containers, 10 minutes: {what}");
        Figure::new(NAME, what, unit, Sample::once(measured * by))
    };
    // A ten thousandth of a core.
    let most = REPORTED_SPAN.as_secs_f64() * 1e3 * 1e-4;
    vec![
        figure("CPU time", Unit::Milliseconds, usage.computed.as_secs_f64() * 1e3)
            .aiming_at(Aim::AtMost(most)),
        figure("wake-ups", Unit::Count, usage.wakes as f64),
        figure("probes of the silent stream", Unit::Count, requests.checks as f64),
        figure("audits", Unit::Count, requests.audits as f64),
        figure("other requests", Unit::Count, requests.others as f64).aiming_at(Aim::AtMost(0.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(lines: [(&str, u64); 5]) -> Stats {
        let mut stats = Stats::default();
        stats.requests = lines.iter().map(|(_, count)| count).sum();
        stats.lines = lines.map(|(line, count)| (line.to_owned(), count)).into();
        stats
    }

    fn requests(lists: u64, pings: u64, events: u64, inspections: u64, infos: u64) -> Stats {
        stats([
            ("GET /v1.45/containers/json", lists),
            ("GET /v1.45/_ping", pings),
            ("GET /v1.45/events", events),
            ("GET /v1.45/containers/ab/json", inspections),
            ("GET /v1.45/info", infos),
        ])
    }

    #[test]
    fn whatever_is_neither_audit_nor_check_is_reported_apart() {
        let before = requests(1, 1, 1, 100, 1);
        let quiet = Requests { audits: 2, checks: 30, others: 0 };
        for pings in [1, 2, 31] {
            assert_eq!(Requests::between(&before, &requests(3, pings, 33, 100, 1)), quiet);
        }
        let busy = Requests { others: 1 + 2 + 3, ..quiet };
        assert_eq!(Requests::between(&before, &requests(3, 32, 33, 102, 4)), busy);
    }
}
