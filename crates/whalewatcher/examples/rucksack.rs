//! Prints image, ports and log file of the live containers of the engine that the environment names. The watcher keeps none of
//! these; a rucksack, made from the engine's inspection, does.
#![allow(clippy::print_stdout, reason = "the example prints")]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use whalewatcher::moby;

/// The part of an inspection to keep, in the JSON that `docker inspect` prints. Fields that an engine may omit are options.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rucksack {
    config: Config,
    log_path: Option<String>,
    network_settings: Option<Network>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    /// By port and protocol, such as `80/tcp`; `null` for ports that are not published.
    ports: Option<BTreeMap<String, Option<Vec<Published>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Published {
    host_ip: String,
    host_port: String,
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
        let Some(rucksack) = container.rucksack::<Rucksack>() else { continue };
        println!("{} of image {}", container.name(), rucksack.config.image);
        let ports = rucksack.network_settings.as_ref().and_then(|network| network.ports.as_ref());
        for (port, published) in ports.into_iter().flatten() {
            for Published { host_ip, host_port } in published.iter().flatten() {
                println!("  {port} is port {host_port} of {host_ip}");
            }
        }
        println!("  logs to {}", rucksack.log_path.as_deref().unwrap_or("no file"));
    }
    docker.close().await;
    Ok(())
}
