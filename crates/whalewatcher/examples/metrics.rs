//! Records the metrics of a watcher with the `metrics` crate, and prints them.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::time::Duration;

use metrics_util::debugging::DebuggingRecorder;
use whalewatcher::moby;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Your program uses an exporter, such as that of the crate `metrics-exporter-prometheus`.
    let recorder = DebuggingRecorder::new();
    let recorded = recorder.snapshotter();
    recorder.install()?;

    let docker = whalewatcher::watch(moby::Client::from_env()?);
    let watcher = docker.watcher().clone();
    tokio::spawn(async move { whalewatcher::metrics::report(&*watcher, Duration::from_secs(10)).await });

    docker.ready().await?;
    whalewatcher::metrics::record(&**docker.watcher()); // the next record is 10 s away
    for (key, _, _, value) in recorded.snapshot().into_vec() {
        println!("{} {value:?}", key.key().name());
    }
    docker.close().await;
    Ok(())
}
