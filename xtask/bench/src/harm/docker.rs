//! What watching does to a real dockerd; also what becomes of a container that is restarted all the time.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::runtime::Runtime;
use tokio::time::{interval, timeout};
use whalewatcher_bench::follower::Follower;
use whalewatcher_bench::report::Requests;
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::WatchHandle;
use whalewatcher_drivers::docker::{AT_ONCE, Driver, Plan};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::proxy::{Fault, Proxy};
use xtask::engines::Docker;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::process::cpu_seconds;
use crate::real;
use crate::requests::counted;

use super::{Observer, PATIENCE, POPULATION, in_turn, lives_a_round, reported_of_exits, watch_until_ready};

const NAME: &str = "harm-docker";

/// How many times one container is restarted.
const RESTARTS: usize = 100;
/// How often the test kit's engine restarts it.
const STEADY: Duration = Duration::from_millis(100);
/// How long an inspection is made to take, so that many lives begin and end meanwhile.
const SLOW: Duration = Duration::from_millis(500);

pub(crate) fn run(effort: &Effort) -> Result<Vec<Figure>> {
    let engine = real::docker()?;
    let runtime = Runtime::new().context("no runtime")?;
    runtime.block_on(async {
        let driver = Driver::connect(&engine.docker_socket()).await?;
        let harm = Harm { engine: &engine, driver };
        harm.driver.run_all((0..POPULATION).map(real::docker_plan)).await?;
        let mut figures = harm.of_a_sync().await?;
        figures.extend(harm.of_lives(effort).await?);
        figures.extend(harm.of_restarts().await?);
        figures.extend(of_steady_restarts().await?);
        Ok(figures)
    })
}

struct Harm<'a> {
    engine: &'a Docker,
    driver: Driver,
}

/// What so many lives cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    dockerd: f64,
    containerd: f64,
    requests: Requests,
}

impl Harm<'_> {
    /// A proxy that counts.
    fn proxy(&self) -> Result<Proxy> {
        Ok(Proxy::builder().upstream(self.engine.docker_host()).start()?)
    }

    async fn of_a_sync(&self) -> Result<Vec<Figure>> {
        let proxy = self.proxy()?;
        let watching = watch_until_ready(Client::new(proxy.endpoint())?).await?;
        let requests = counted(&proxy.stats());
        watching.close().await;
        let asked = (requests.lists + requests.inspections) as f64;
        let expected = (POPULATION + 1) as f64;
        let what = |what| format!("{POPULATION} containers: {what}");
        Ok(vec![
            Figure::new(NAME, what("lists and inspections until ready"), Unit::Count, Sample::once(asked))
                .over(Sample::once(expected), Sample::once(asked / expected))
                .aiming_at(Aim::TimesFloor(1.0)),
            Figure::new(
                NAME,
                what("other requests until ready"),
                Unit::Count,
                Sample::once((requests.streams + requests.others) as f64),
            ),
        ])
    }

    async fn of_lives(&self, effort: &Effort) -> Result<Vec<Figure>> {
        let lives = lives_a_round(effort);
        let observers = [Observer::Nobody, Observer::We, Observer::Follower];
        let rounds =
            in_turn(effort, observers, async |numbers, observer| self.lives(numbers, observer).await);
        Ok(figures_of_lives(&rounds.await?, lives))
    }

    async fn lives(&self, numbers: Range<usize>, observer: Observer) -> Result<Cost> {
        let (proxy, lives) = (self.proxy()?, numbers.len());
        let live = self.live(numbers);
        match observer {
            Observer::Nobody => self.cost(&proxy, live).await,
            Observer::We => {
                let watching = watch_until_ready(Client::new(proxy.endpoint())?).await?;
                let (_, mut changes) = watching.subscribe();
                let cost = self
                    .cost(&proxy, async {
                        live.await?;
                        reported_of_exits(&mut changes, lives).await
                    })
                    .await;
                watching.close().await;
                cost
            }
            Observer::Follower => {
                let socket = proxy.endpoint();
                let mut follower = Follower::new(socket.trim_start_matches("unix://")).await?;
                self.cost(&proxy, async { tokio::try_join!(live, follower.inspect(lives)).map(drop) }).await
            }
        }
    }

    /// Each from its making to its removal.
    async fn live(&self, numbers: Range<usize>) -> Result<()> {
        let live = async |number| {
            let id = self.driver.run(real::docker_plan(number).running("exit 0")).await?;
            self.driver.until_ended(&id).await?;
            self.driver.remove(&id).await
        };
        stream::iter(numbers).map(live).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// What the engine pays meanwhile.
    async fn cost(&self, proxy: &Proxy, doing: impl Future<Output = Result<()>>) -> Result<Cost> {
        let (requests, cpu) = (counted(&proxy.stats()), self.cpu()?);
        doing.await?;
        let (dockerd, containerd) = self.cpu()?;
        let requests = counted(&proxy.stats()).since(&requests);
        Ok(Cost { dockerd: dockerd - cpu.0, containerd: containerd - cpu.1, requests })
    }

    /// For how many seconds dockerd and its containerd have computed so far.
    fn cpu(&self) -> Result<(f64, f64)> {
        let dockerd = self.engine.dockerd_pid().context("dockerd has ended")?;
        let containerd = self.engine.containerd_pid().context("containerd has ended")?;
        Ok((cpu_seconds(dockerd)?, cpu_seconds(containerd)?))
    }

    /// One container ends at once and is started again, as often as goes; the last time it stays.
    async fn of_restarts(&self) -> Result<Vec<Figure>> {
        let script = format!(
            "n=0; [ -e /n ] && read n < /n; n=$((n + 1)); echo $n > /n; [ $n -lt {RESTARTS} ] || exec sleep 1000000"
        );
        let mut figures = Vec::new();
        for delay in [None, Some(SLOW)] {
            let id = self.driver.create(Plan::named("restarted").running(&script)).await?;
            let restarting = async {
                for _ in 1..RESTARTS {
                    self.driver.start(&id).await?;
                    self.driver.until_ended(&id).await?;
                }
                self.driver.start(&id).await?;
                let state = self.driver.inspect(&id).await?.and_then(|inspected| inspected.state);
                state.and_then(|state| state.pid).context("the last life has no PID")
            };
            let restarted = restarted(self.proxy()?, &id, delay, restarting).await?;
            self.driver.remove(&id).await?;
            // How many lives fall into one inspection depends on how fast the machine is.
            figures.extend(restarted.figures("restarts in a loop", delay, 1.0));
        }
        Ok(figures)
    }
}

/// One container of the test kit's engine, which restarts it in no time, ten times a second.
async fn of_steady_restarts() -> Result<Vec<Figure>> {
    let server = Server::builder().start()?;
    let id = server.run("restarted")?;
    let mut figures = Vec::new();
    // Five lives fall into a slow one.
    for (delay, most) in [(None, 1.0), (Some(SLOW), 0.5)] {
        let restarting = async {
            let mut ticks = interval(STEADY);
            for _ in 0..RESTARTS {
                ticks.tick().await;
                server.restart(&id)?;
            }
            let alive = server.truth().pop().context("the last life is over")?;
            Ok(i64::from(alive.pid))
        };
        let proxy = Proxy::builder().upstream(server.endpoint()).start()?;
        let restarted = restarted(proxy, &id, delay, restarting).await?;
        figures.extend(restarted.figures("restarts of the test kit's engine", delay, most));
    }
    Ok(figures)
}

/// What became of watching a container that was restarted again and again.
struct Restarted {
    rate: f64,
    inspections: u64,
}

/// Watches meanwhile, until the last life is known, whose PID is given in the end.
async fn restarted(
    proxy: Proxy,
    id: &str,
    delay: Option<Duration>,
    restarting: impl Future<Output = Result<i64>>,
) -> Result<Restarted> {
    if let Some(delay) = delay {
        proxy.inject(Fault::delay(delay).on_requests(format!("/containers/{id}/json")))?;
    }
    let watching = watch_until_ready(Client::new(proxy.endpoint())?).await?;
    let before = counted(&proxy.stats());
    let begin = Instant::now();
    let pid = restarting.await?;
    let rate = RESTARTS as f64 / begin.elapsed().as_secs_f64();
    timeout(PATIENCE, known(&watching, id, pid)).await.context("the last life is not known")??;
    let inspections = counted(&proxy.stats()).since(&before).inspections;
    watching.close().await;
    Ok(Restarted { rate, inspections })
}

/// Waits until a container is known with this PID.
async fn known(watching: &WatchHandle<Client>, id: &str, pid: i64) -> Result<()> {
    let (mut portfolio, mut changes) = watching.subscribe();
    while portfolio.by_id(id).is_none_or(|container| i64::from(container.pid()) != pid) {
        changes.next().await.context("the subscription ended")?;
        portfolio = watching.portfolio();
    }
    Ok(())
}

impl Restarted {
    fn figures(&self, about: &str, delay: Option<Duration>, most: f64) -> [Figure; 2] {
        let slow = delay.map(|delay| format!(", an inspection taking {} ms", delay.as_millis()));
        let about = format!("{RESTARTS} {about}{}", slow.unwrap_or_default());
        let figure = |what: &str, unit, value| {
            Figure::new(NAME, format!("{about}: {what}"), unit, Sample::once(value))
        };
        let a_life = self.inspections as f64 / RESTARTS as f64;
        [
            figure("rate", Unit::PerSecond, self.rate),
            figure("inspections a life", Unit::Count, a_life).aiming_at(Aim::AtMost(most)),
        ]
    }
}

/// Of each round what it cost to be watched by nobody, by us, and by a reader of the events who inspects.
fn figures_of_lives(rounds: &[[Cost; 3]], lives: usize) -> Vec<Figure> {
    let all = format!("{} lives", rounds.len() * lives);
    let sample = |of: &dyn Fn(&[Cost; 3]) -> f64| Sample::of(rounds.iter().map(of).collect());
    let a_life = |of: &dyn Fn(&Requests) -> u64, watched: usize| {
        sample(&|costs| of(&costs[watched].requests) as f64 / lives as f64)
    };
    let figure = |what: &str, unit, value| Figure::new(NAME, format!("{all}: {what}"), unit, value);
    let others = |requests: &Requests| requests.lists + requests.streams + requests.others;
    let mut figures = vec![
        figure("inspections a life", Unit::Count, a_life(&|requests| requests.inspections, 1))
            .over(
                a_life(&|requests| requests.inspections, 2),
                sample(&|[_, we, they]| we.requests.inspections as f64 / they.requests.inspections as f64),
            )
            .aiming_at(Aim::AtMost(1.0)),
        figure("other requests a life", Unit::Count, a_life(&others, 1)),
    ];
    for daemon in ["dockerd", "its containerd"] {
        let cpu = |cost: &Cost| if daemon == "dockerd" { cost.dockerd } else { cost.containerd };
        let thousand = |watched: usize| sample(&|costs| cpu(&costs[watched]) / lives as f64 * 1000.0);
        let by = |watched: usize| sample(&|costs| cpu(&costs[1]) / cpu(&costs[watched]));
        let of = |against: &str| format!("CPU of {daemon} for 1,000, watched by us, and by {against}");
        let events =
            figure(&of("events and inspections"), Unit::Seconds, thousand(1)).over(thousand(2), by(2));
        // Nobody asks containerd anything.
        figures.push(if daemon == "dockerd" { events.aiming_at(Aim::TimesFloor(1.0)) } else { events });
        figures.push(figure(&of("nobody"), Unit::Seconds, thousand(1)).over(thousand(0), by(0)));
    }
    figures
}
