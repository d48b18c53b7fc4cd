//! Everything at once, at random.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::super::check::check;
use super::super::driver::{Driver, Plan};
use super::super::stage::Stage;
use crate::churn::seed;
use crate::recorder::{LIMIT, Recorder};
use crate::stage::settings;

const TRANSITIONS: usize = 200;

const KEYS: [&str; 9] = ["a", "b", "c", "shop/a", "shop/b", "shop/c", "staging/a", "staging/b", "staging/c"];

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;

pub(super) async fn random_churn_in_three_namespaces_by_four_with_three_subscribers(
    stage: &Stage,
) -> Result<()> {
    let driver = stage.driver()?;
    let seed = seed(|text| stage.figure(text))?;
    let mut watched = stage.begin_watch_with(settings().with_subscriber_queue(16))?;
    for (name, rest) in [("slow", 20), ("slowest", 200)] {
        let subscription = watched.watching.subscribe();
        watched.recorders.push(Recorder::start(name, subscription, Duration::from_millis(rest)));
    }
    watched.ready().await?;
    let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ending = Mutex::new(BTreeSet::new());
    // One thing at a time to each: a pause amid the start of an exec freezes both, and the shim of containerd 1.6 with
    // them, for good.
    let keys = KEYS.map(tokio::sync::Mutex::new);
    let acting = (0..4).map(|who| {
        let (driver, done, refused, ending, keys) = (&driver, &done, &refused, &ending, &keys);
        async move {
            let mut random = Rng::with_seed(seed.wrapping_mul(4).wrapping_add(who));
            while done.load(Ordering::Relaxed) < TRANSITIONS {
                // What is asked for is not always possible.
                let key = keys[random.usize(..keys.len())].lock().await;
                let outcome = timeout(LIMIT, step(driver, *key, &mut random, ending)).await;
                let count = if matches!(outcome, Ok(Ok(()))) { done } else { refused };
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    join_all(acting).await;
    // Those that are ending would do so just when everything is compared.
    let ending = std::mem::take(&mut *locked(&ending));
    for key in ending {
        driver.remove(key).await?;
    }
    check(stage, &watched).await?;
    let record = watched.recorder().record().clone();
    let lagged: Vec<usize> =
        watched.recorders.iter().map(|recorder| recorder.record().count("lagged")).collect();
    stage.figure(format!(
        "{} transitions, {} refused; {} starts and {} exits told; subscribers lagged {lagged:?} times",
        done.into_inner(),
        refused.into_inner(),
        record.count("started"),
        record.count("exited")
    ));
    ensure!(record.count("started") > 0 && record.count("exited") > 0, "nothing happened");
    Ok(())
}

/// Does something, and notes of whom the end may come later.
async fn step(
    driver: &Driver,
    key: &'static str,
    random: &mut Rng,
    ending: &Mutex<BTreeSet<&'static str>>,
) -> Result<()> {
    match random.u8(0..24) {
        0..7 => {
            let plan = Plan::of(key).labelled("tier", &random.u16(..).to_string());
            let plan = if random.bool() { plan.in_project("churn") } else { plan };
            if random.u8(0..4) > 0 {
                return driver.run(&plan).await.map(drop);
            }
            locked(ending).insert(key);
            driver.run(&plan.running("exit 1")).await.map(drop)
        }
        7 => driver.start(key).await.map(drop),
        signal @ 8..11 => {
            locked(ending).insert(key);
            driver.kill(key, if signal == 8 { SIGTERM } else { SIGKILL }).await
        }
        11..14 => driver.pause(key).await,
        14..17 => driver.resume(key).await,
        17 => driver.delete_task(key).await,
        18 => driver.label(key, "nerdctl/name", &format!("renamed-{}", random.u16(..))).await,
        19 => driver.label(key, "tier", &random.u16(..).to_string()).await,
        20..22 => driver.exec(key, &format!("exec-{}", random.u32(..)), "exit 1").await.map(drop),
        _ => driver.remove(key).await,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
