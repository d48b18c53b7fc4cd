//! Hands the figures of a watcher to the recorder of the `metrics` crate, and prints what the recorder has got.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::time::Duration;

use metrics_util::debugging::DebuggingRecorder;
use whalewatcher::moby;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // In your program this is an exporter, such as that of the crate `metrics-exporter-prometheus`.
    let recorder = DebuggingRecorder::new();
    let recorded = recorder.snapshotter();
    recorder.install()?;

    let docker = whalewatcher::watch(moby::Client::from_env()?);
    let watcher = docker.watcher().clone();
    tokio::spawn(async move { whalewatcher::metrics::report(&*watcher, Duration::from_secs(10)).await });

    docker.ready().await?;
    whalewatcher::metrics::record(&**docker.watcher()); // now, and not only when the next 10 s are over
    for (key, _, _, value) in recorded.snapshot().into_vec() {
        println!("{} {value:?}", key.key().name());
    }
    docker.close().await;
    Ok(())
}
