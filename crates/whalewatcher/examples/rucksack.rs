//! Prints image, ports, log file and memory limit of the live containers of the engine that the environment
//! names. A container has its image and ports anyway; what else an application needs, it packs into a
//! rucksack, from the engine's inspection.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::sync::Arc;

use serde::Deserialize;
use whalewatcher::moby;

/// The part of an inspection to keep, in the JSON that `docker inspect` prints. Fields that an engine may
/// omit are options.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rucksack {
    log_path: Option<String>,
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    /// In bytes; 0 for none.
    memory: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // With the feature `bollard`, `rucksack` does the same with bollard's `ContainerInspectResponse`.
    let docker = moby::Client::builder().rucksack_json(|inspection| match inspection.decode::<Rucksack>() {
        Ok(rucksack) => Some(Arc::new(rucksack)),
        Err(error) => {
            println!("{}: {error}", inspection.id());
            None
        }
    });
    let docker = whalewatcher::watch(docker.build()?);
    docker.ready().await?;
    for container in docker.portfolio().containers() {
        let image = container.image().map_or("unknown", |image| image.name());
        println!("{} of image {image}", container.name());
        container.ports().iter().for_each(|port| println!("  port {port}"));
        let Some(Rucksack { log_path, host_config }) = container.rucksack() else { continue };
        println!("  logs to {}", log_path.as_deref().unwrap_or("no file"));
        if let Some(bytes) = host_config.memory.filter(|bytes| *bytes > 0) {
            println!("  may use {bytes} bytes of memory");
        }
        // Each inspection packs again: after a change, after a reconnect, and when it is asked for. The next
        // snapshot has it.
        docker.refresh(container.id());
    }
    docker.close().await;
    Ok(())
}
