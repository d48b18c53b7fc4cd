//! What describes the server, and the networks of its containers.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};
use std::fs;

use jiff::Timestamp;
use serde_json::{Value, json};
use whalewatcher_core::fleet::{FleetMember, FleetPortfolio};

use super::{NEWEST, OLDEST, version_text};
use crate::advice::{explain, location};
use crate::selection::Selection;

const NAME: &str = "whalewatcher";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Returns the answer to `/version`.
pub(super) fn version() -> Value {
    json!({
        "Platform": { "Name": NAME },
        "Components": [{ "Name": NAME, "Version": VERSION, "Details": {} }],
        "Version": VERSION,
        "ApiVersion": version_text(NEWEST),
        "MinAPIVersion": version_text(OLDEST),
        "GitCommit": "",
        "GoVersion": "",
        "Os": OS,
        "Arch": architecture(),
        "KernelVersion": kernel("osrelease"),
    })
}

/// Returns the answer to `/info`. Engines whose containers are not known are among the warnings, which
/// `docker info` prints.
pub(super) fn info(now: &FleetPortfolio, selection: &Selection) -> Value {
    let shown = || now.containers().filter(|(member, one)| selection.matches(&**member.watcher(), one));
    let (all, paused) = (shown().count(), shown().filter(|(_, one)| one.paused()).count());
    let concerned = now.members().filter(|member| selection.concerns(&**member.watcher()));
    let warnings = concerned.filter_map(problem).map(|problem| format!("WARNING: {problem}"));
    let name = kernel("hostname");
    json!({
        "ID": format!("{NAME}:{name}"),
        "Name": name,
        "Containers": all,
        "ContainersRunning": all - paused,
        "ContainersPaused": paused,
        "ContainersStopped": 0,
        "Images": 0,
        "Driver": "",
        "SystemTime": Timestamp::now().to_string(),
        "ServerVersion": VERSION,
        "OperatingSystem": NAME,
        "OSType": OS,
        "Architecture": ARCH,
        "KernelVersion": kernel("osrelease"),
        "NCPU": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        "Swarm": { "LocalNodeState": "inactive" },
        "Warnings": warnings.collect::<Vec<_>>(),
    })
}

/// Returns why it is not known which containers of an engine are alive; `None` if it is.
pub(super) fn problem(member: &FleetMember) -> Option<String> {
    let watcher = &**member.watcher();
    let reason = || match member.error() {
        Some(error) => explain(watcher, error),
        None => format!("{}: not in sync yet", location(watcher)),
    };
    (!member.is_live()).then(reason)
}

/// Returns the networks of all containers: their names, which stand for their IDs.
pub(super) fn networks(now: &FleetPortfolio, selection: &Selection) -> Value {
    let shown = now.containers().filter(|(member, one)| selection.matches(&**member.watcher(), one));
    let names = shown.flat_map(|(_, one)| one.networks().iter().map(|network| (network.name(), ())));
    let names: BTreeMap<_, _> = names.collect();
    let all = names.into_keys().map(|name| {
        json!({
            "Name": name, "Id": name, "Scope": "local", "Driver": "", "Internal": false, "Ingress": false,
            "Labels": {}, "Options": {}, "Containers": {}, "IPAM": { "Config": [] },
        })
    });
    all.collect()
}

/// Returns the architecture as Go names it.
fn architecture() -> &'static str {
    match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Returns what the kernel says of itself; `""` on systems without `/proc`.
fn kernel(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    text.trim_end().to_owned()
}
