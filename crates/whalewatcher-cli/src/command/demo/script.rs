//! The script of the demo engine: a small shop with its jobs, the same in each run.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_testkit::docker::{ContainerSpec, Error, RestartPolicy, Server};

const SHOP: &str = "shop";

/// Starts the containers that the demo begins with, at different times in the past.
pub(crate) fn populate(engine: &Server) -> Result<(), Error> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let containers = [
        (12 * DAY, single("registry", "registry:3").restart(RestartPolicy::Always)),
        (3 * DAY, service("db", "postgres:18")),
        (3 * DAY, service("cache", "valkey:9")),
        (5 * HOUR, service("api", "shop-api:2.3")),
        (5 * HOUR, service("web", "nginx:1.29")),
        (2 * HOUR, single("metrics", "prom/prometheus:v3").privileged(true)),
        (7 * MINUTE, single("import-42", "importer:1.0")),
    ];
    let clock = engine.clock();
    let now = clock.now();
    for (age, container) in containers {
        clock.set(now - Duration::from_secs(age));
        engine.run(container)?;
    }
    clock.set(now);
    engine.pause("import-42")
}

/// Plays one round after the other until dropped. Each differs a little from the one before.
pub(crate) async fn play(engine: &Server) -> Result<Infallible, Error> {
    for round in 0_u32.. {
        busy_minutes(engine, round).await?;
        release(engine, round).await?;
        crash(engine, round).await?;
        nightly_jobs(engine, round).await?;
        outage(engine, round).await?;
    }
    std::future::pending().await
}

/// Pauses and short jobs.
async fn busy_minutes(engine: &Server, round: u32) -> Result<(), Error> {
    let report = format!("report-{}", 100 + round);
    beat(9).await;
    engine.run(job(&report))?;
    beat(7).await;
    engine.pause("shop-cache-1")?;
    beat(12).await;
    engine.unpause("shop-cache-1")?;
    beat(6).await;
    engine.exit(&report, 0)?;
    beat(9).await;
    // The paused import ends, and the next one is started and paused.
    let (import, next) = (format!("import-{}", 42 + round), format!("import-{}", 43 + round));
    engine.unpause(&import)?;
    beat(10).await;
    engine.exit(&import, 0)?;
    engine.remove(&import)?;
    beat(4).await;
    engine.run(single(&next, "importer:1.0"))?;
    beat(3).await;
    engine.pause(&next)
}

/// A new version of a service, as compose releases it: the old container is renamed, a new one takes its
/// name, the old one is removed.
async fn release(engine: &Server, round: u32) -> Result<(), Error> {
    let old = format!("{:012x}_shop-api-1", 0x5c1e_9a7b_3d00_u64 + u64::from(round) * 0x1_0307);
    beat(10).await;
    engine.rename("shop-api-1", &old)?;
    beat(5).await;
    engine.run(service("api", &format!("shop-api:2.{}", round + 4)))?;
    beat(6).await;
    engine.stop(&old)?;
    engine.remove(&old)
}

/// A crash, a start, and a restart.
async fn crash(engine: &Server, round: u32) -> Result<(), Error> {
    const CRASHES: [(&str, i32); 4] =
        [("shop-web-1", 1), ("shop-api-1", 137), ("metrics", 139), ("shop-cache-1", 2)];
    let (name, code) = CRASHES[round as usize % CRASHES.len()];
    beat(12).await;
    engine.exit(name, code)?;
    beat(8).await;
    engine.start(name)?;
    beat(11).await;
    engine.restart("shop-db-1")
}

/// Several short jobs at a time, of which every third fails.
async fn nightly_jobs(engine: &Server, round: u32) -> Result<(), Error> {
    beat(10).await;
    let jobs = ["backup", "vacuum", "newsletter"].map(|name| format!("{name}-{}", 7 + round));
    for name in &jobs {
        engine.run(job(name))?;
        beat(2).await;
    }
    for (nth, name) in (0_u32..).zip(&jobs) {
        beat(5).await;
        engine.exit(name, if (round + nth) % 3 == 2 { 1 } else { 0 })?;
    }
    Ok(())
}

/// An upgrade of the engine, with an exit and a start while it cannot be reached.
async fn outage(engine: &Server, round: u32) -> Result<(), Error> {
    beat(12).await;
    engine.stop_listening().await;
    beat(6).await;
    engine.exit("metrics", 0)?;
    engine.run(job(&format!("night-shift-{}", round + 1)))?;
    engine.set_version(&format!("28.5.{}", 3 + round), "1.51", "1.24");
    beat(8).await;
    engine.listen_again()?;
    beat(12).await;
    engine.start("metrics")?;
    beat(6).await;
    engine.exit(&format!("night-shift-{}", round + 1), 0)
}

/// Sleeps for this many tenths of a second.
async fn beat(tenths: u64) {
    sleep(Duration::from_millis(100 * tenths)).await;
}

fn service(name: &str, image: &str) -> ContainerSpec {
    let policy = if name == "db" { RestartPolicy::UnlessStopped } else { RestartPolicy::No };
    single(&format!("{SHOP}-{name}-1"), image).project(SHOP, name).restart(policy)
}

fn job(name: &str) -> ContainerSpec {
    single(name, "busybox:1.37").auto_remove(true)
}

fn single(name: &str, image: &str) -> ContainerSpec {
    ContainerSpec::new(name).image(image).network_mode("bridge")
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_hour_of_the_demo_leaves_no_containers_behind() {
        let engine = Server::builder().start().unwrap();
        populate(&engine).unwrap();
        let played = timeout(Duration::from_secs(3_600), play(&engine)).await;
        assert!(played.is_err(), "it stopped: {played:?}");
        assert!(engine.truth().len() <= 12, "{:?}", engine.truth());
    }
}
