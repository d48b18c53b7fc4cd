//! The program serves a real engine: its answers, its readiness, its metrics, and targets for a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::task::block_in_place;
use tokio::time::Instant;
use whalewatcher_drivers::docker::Plan;
use whalewatcher_testkit::proxy::Proxy;
use xtask::engines::TEST_IMAGE;

use super::prometheus::{Prometheus, Serving, until};
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;

/// The networks that are made, and their addresses.
const NETWORKS: [(&str, &str); 2] = [("front", "198.51.100.0/28"), ("back", "198.51.100.16/28")];

/// Containers with networks and ports of all kinds: the options of `docker run`.
const CONTAINERS: [(&str, &[&str]); 7] = [
    ("plain", &["--network", "front"]),
    (
        "ports",
        &["--network", "front", "--expose", "9090", "--expose", "53/udp", "--label", "a.b/c-ü=ä \"b\""],
    ),
    (
        "published",
        &["--network", "front", "-p", "127.0.0.1:18080:80", "-p", "18081:81", "-p", "18082:82/udp"],
    ),
    ("both", &["--network", "front", "--expose", "80"]),
    ("hosted", &["--network", "host", "--expose", "8080"]),
    ("lonely", &["--network", "none", "--expose", "8080"]),
    ("guest", &["--network", "container:ports"]),
];

/// The labels of a target.
type Target = BTreeMap<String, String>;

const NAME: &str = "__meta_docker_container_name";
const MODE: &str = "__meta_docker_container_network_mode";
const NETWORK: &str = "__meta_docker_network_name";
const IP: &str = "__meta_docker_network_ip";

/// Labels of docker_sd that take more requests to the engine, and those that say where a target was found.
const OMITTED: [&str; 7] = [
    "__meta_docker_network_id",
    "__meta_docker_network_ingress",
    "__meta_docker_network_internal",
    "__meta_docker_network_scope",
    "__meta_filepath",
    "__meta_url",
    "job",
];

pub(super) async fn a_server_answers_as_the_engine_does_and_prometheus_finds_the_same_targets(
    fixture: &DockerFixture,
) -> Result<()> {
    if fixture.engine().installation().program("prometheus").is_err() {
        fixture.figure("no Prometheus was fetched for this engine".to_owned());
        return Ok(());
    }
    let folder = fixture.socket("serving");
    fs::create_dir(&folder)?;
    let serving = Serving::start(fixture, &folder, &["--sd-file", "targets.json"]).await?;
    is_ready_when_the_engine_is(fixture, &serving).await?;
    let tidy = |arguments: &[&str]| docker(fixture, arguments).map(drop);
    for (name, subnet) in NETWORKS {
        tidy(&["network", "create", "--subnet", subnet, name])?;
    }
    let outcome = targets_and_metrics(fixture, &serving, &folder).await;
    fixture.remove_all().await?;
    NETWORKS.iter().try_for_each(|(name, _)| tidy(&["network", "rm", name]))?;
    outcome
}

/// While the engine is away, the reason is given and its containers are as last known.
async fn is_ready_when_the_engine_is(fixture: &DockerFixture, serving: &Serving) -> Result<()> {
    let mut changes = serving.events().await?;
    changes.until("synced").await?;
    let plans = ["stays", "ends"].map(|name| Plan::named(name).in_project("shop"));
    let ids = fixture.driver().await?.run_all(plans).await?;
    for _ in &ids {
        changes.until("started").await?;
    }
    is_the_engines(fixture, serving).await?;
    let pid = fixture.pid(&ids[0]).await?;
    let (_, owner) = serving.json(&format!("/v1/owner/{pid}")).await?;
    ensure!(owner["id"] == *ids[0], "{owner}");
    for kills in [false, true] {
        if kills {
            fixture.kill_engine()?;
        } else {
            fixture.terminate_engine()?;
        }
        let lost = changes.until("disconnected").await?;
        let (status, waiting) = serving.json("/readyz").await?;
        ensure!(
            status == 503 && !waiting[0]["reason"].as_str().unwrap_or_default().is_empty(),
            "{waiting} {lost}"
        );
        ensure!(serving.get("/healthz", "*/*").await?.0 == 200, "it is not healthy");
        ensure!(metric(serving, "whalewatcher_live").await? == 0.0, "the engine is live");
        fixture.start_engine_with(true)?;
        changes.until("synced").await?;
        let (status, waiting) = serving.json("/readyz").await?;
        ensure!(status == 200, "{waiting}");
        // What was ended with the engine is over.
        fixture.driver().await?.start("stays").await?;
        let shown = async || Ok(is_the_engines(fixture, serving).await.ok());
        until("both lists are the same", shown).await?;
    }
    fixture.remove_all().await
}

/// The answer lists what the engine lists.
async fn is_the_engines(fixture: &DockerFixture, serving: &Serving) -> Result<()> {
    let (_, answer) = serving.json("/v1/containers").await?;
    let answer = answer.as_array().context("an array")?;
    let shown = answer.iter().map(|one| Some((one["id"].as_str()?.to_owned(), one["pid"].as_u64()?)));
    let shown: BTreeMap<_, _> = shown.collect::<Option<_>>().context("IDs and PIDs")?;
    let truth = fixture.truth().await?;
    let alive = truth.alive.iter().map(|(id, alive)| (id.clone(), u64::from(alive.pid))).collect();
    ensure!(shown == alive, "served: {shown:?}, the engine lists {alive:?}");
    Ok(())
}

async fn targets_and_metrics(fixture: &DockerFixture, serving: &Serving, folder: &Path) -> Result<()> {
    let mut changes = serving.events().await?;
    for (name, options) in CONTAINERS {
        docker(fixture, &[&["run", "-d", "--name", name][..], options, &[TEST_IMAGE]].concat())?;
    }
    docker(fixture, &["network", "connect", "back", "both"])?;
    for _ in CONTAINERS {
        changes.until("started").await?;
    }
    let shows = async || {
        let (_, both) = serving.json("/v1/containers/both").await?;
        Ok((both["networks"].as_array().map_or(0, Vec::len) == 2).then_some(()))
    };
    until("both networks are shown", shows).await?;

    // Prometheus reaches no unix socket.
    let proxy = Proxy::builder().upstream(serving.endpoint()).listen_tcp().start()?;
    let endpoint = proxy.endpoint();
    let address = endpoint.trim_start_matches("tcp://");
    let (socket, targets) = (fixture.endpoint(), folder.join("targets.json"));
    // What docker_sd and http_sd find is what is there at the start: they ask again long after this is over.
    let scrapes = format!(
        "- job_name: docker
  scrape_interval: 1h
  docker_sd_configs: [{{ host: '{socket}', refresh_interval: 1h }}]
- job_name: http
  scrape_interval: 1h
  http_sd_configs: [{{ url: 'http://{address}/v1/sd/prometheus', refresh_interval: 1h }}]
- job_name: file
  scrape_interval: 1h
  file_sd_configs: [{{ files: ['{}'], refresh_interval: 1h }}]
- job_name: whalewatcher
  scrape_interval: 1s
  static_configs: [{{ targets: ['{address}'] }}]
",
        targets.display()
    );
    let began = SystemTime::now();
    let prometheus = Prometheus::start(fixture, folder, &scrapes).await?;
    let all = async || {
        let found = found(&prometheus).await?;
        let jobs = ["docker", "http", "file"].map(|job| found.get(job).is_some_and(|all| !all.is_empty()));
        Ok((jobs == [true; 3]).then_some(found))
    };
    let mut found_by = until("targets are found in three ways", all).await?;
    let [mut expected, by_http, by_file] =
        ["docker", "http", "file"].map(|job| found_by.remove(job).unwrap_or_default());
    ensure!(by_http == by_file, "by http_sd: {by_http:#?}\nby file_sd: {by_file:#?}");
    // It has a target for each network. Since 2.54 it takes the first one, as the program does.
    let mut first = BTreeMap::<String, String>::new();
    for target in &expected {
        let network = first.entry(target[NAME].clone()).or_insert_with(|| target[NETWORK].clone());
        *network = target[NETWORK].clone().min(network.clone());
    }
    // What has no address is no target of the program.
    expected.retain(|target| target["__address__"] != ":80" && target[NETWORK] == first[&target[NAME]]);
    // Nor does it follow `container:ID` before 2.54.
    let (guests, others): (BTreeSet<_>, BTreeSet<_>) =
        by_file.into_iter().partition(|target| target[MODE].starts_with("container:"));
    ensure!(others == expected, "by docker_sd: {expected:#?}\nby file_sd: {others:#?}");
    let of_ports = |target: &&Target| target[NAME] == "/ports";
    let host = others.iter().find(of_ports).context("a target with ports")?;
    let guest = guests.first().filter(|_| guests.len() == 1).context("the target of the guest")?;
    ensure!(guest[IP] == host[IP] && guest["__address__"] == format!("{}:80", host[IP]), "{guest:?}");

    is_found_soon(fixture, &prometheus, &targets).await?;
    are_scraped(fixture, serving, &prometheus).await?;
    fixture.figure(format!("with Prometheus {:.1?}", began.elapsed()?));
    Ok(())
}

/// Returns the targets that each job has discovered, with what both the program and docker_sd know of them.
async fn found(prometheus: &Prometheus) -> Result<BTreeMap<String, BTreeSet<Target>>> {
    let answer = prometheus.api("targets?state=active").await?;
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for target in answer["activeTargets"].as_array().context("targets")? {
        let mut labels: Target = serde_json::from_value(target["discoveredLabels"].clone())?;
        let job = labels["job"].clone();
        labels.retain(|name, _| {
            let is_of_scrapes = name.starts_with("__scrape_") || name.starts_with("__metrics_path");
            !is_of_scrapes
                && name != "__scheme__"
                && !name.starts_with("__meta_whalewatcher_")
                && !OMITTED.contains(&name.as_str())
        });
        found.entry(job).or_default().insert(labels);
    }
    Ok(found)
}

/// A container that starts is found by way of the file, although Prometheus asks for nothing meanwhile.
async fn is_found_soon(fixture: &DockerFixture, prometheus: &Prometheus, targets: &Path) -> Result<()> {
    let updates = "prometheus_sd_received_updates_total{name=\"scrape\"}";
    let before = prometheus.metric(updates).await?;
    docker(fixture, &["run", "-d", "--name", "late", "--network", "front", TEST_IMAGE])?;
    let started = Instant::now();
    until("the file has it", async || Ok(fs::read_to_string(targets)?.contains("\"/late\"").then_some(())))
        .await?;
    let written = started.elapsed();
    until("Prometheus reads the file", async || {
        Ok((prometheus.metric(updates).await? > before).then_some(()))
    })
    .await?;
    let read = started.elapsed();
    let jobs = until("it is a target", async || {
        let found = found(prometheus).await?.into_iter();
        let jobs = found
            .filter(|(_, all)| all.iter().any(|target| target.get(NAME).is_some_and(|name| name == "/late")));
        let jobs: Vec<_> = jobs.map(|(job, _)| job).collect();
        Ok((!jobs.is_empty()).then_some(jobs))
    })
    .await?;
    ensure!(jobs == ["file"], "found by {jobs:?}");
    fixture.figure(format!(
        "a container that started is in the file after {written:.0?}, read by Prometheus after {read:.0?}, a target after {:.1?}",
        started.elapsed()
    ));
    Ok(())
}

/// Prometheus scrapes OpenMetrics, and its tool finds nothing wrong with either form.
async fn are_scraped(fixture: &DockerFixture, serving: &Serving, prometheus: &Prometheus) -> Result<()> {
    let (_, alive) = serving.json("/v1/containers").await?;
    let alive = alive.as_array().map_or(0, Vec::len).to_string();
    until("a scrape has all containers", async || {
        let count = prometheus.api("query?query=count(whalewatcher_container_info)").await?;
        Ok((count["result"][0]["value"][1] == *alive).then_some(()))
    })
    .await?;
    // Only OpenMetrics has that type.
    let described = prometheus.api("targets/metadata?metric=whalewatcher_container").await?;
    ensure!(described[0]["type"] == "info", "{described}");
    let (_, text) = serving.get("/metrics", "*/*").await?;
    promtool(fixture, &["check", "metrics"], &text)?;
    // It reads OpenMetrics to import it, with times.
    let (_, open_metrics) = serving.get("/metrics", "application/openmetrics-text").await?;
    ensure!(open_metrics.ends_with("# EOF\n"), "{open_metrics}");
    let dated = open_metrics.lines().map(|line| match line.starts_with('#') {
        true => format!("{line}\n"),
        false => format!("{line} 1\n"),
    });
    // It maps the file into memory.
    let [file, blocks] = ["openmetrics", "blocks"].map(|name| fixture.socket(name).display().to_string());
    fs::write(&file, dated.collect::<String>())?;
    promtool(fixture, &["tsdb", "create-blocks-from", "openmetrics", &file, &blocks], "")
}

/// Gives a text to a program of Prometheus, which is to print nothing that is wrong.
fn promtool(fixture: &DockerFixture, arguments: &[&str], text: &str) -> Result<()> {
    let mut command = fixture.engine().installation().command("promtool")?;
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = block_in_place(|| {
        let mut child = command.spawn()?;
        child.stdin.take().context("it reads")?.write_all(text.as_bytes())?;
        anyhow::Ok(child.wait_with_output()?)
    })?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let is_lint = arguments[0] == "check";
    ensure!(output.status.success() && (errors.is_empty() || !is_lint), "promtool {arguments:?}: {errors}");
    Ok(())
}

fn docker(fixture: &DockerFixture, arguments: &[&str]) -> Result<String> {
    docker_at(fixture, &fixture.endpoint(), arguments)
}

/// Returns what Docker's client prints of the engine at an endpoint.
pub(super) fn docker_at(fixture: &DockerFixture, endpoint: &str, arguments: &[&str]) -> Result<String> {
    let mut command = fixture.engine().installation().command("docker")?;
    command.args(["--host", endpoint]).args(arguments);
    let output = block_in_place(|| command.output()).context("cannot run docker")?;
    if !output.status.success() {
        bail!("docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the first value of a metric.
pub(super) async fn metric(serving: &Serving, name: &str) -> Result<f64> {
    let (_, text) = serving.get("/metrics", "*/*").await?;
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no {name}"))?;
    Ok(value.parse()?)
}
