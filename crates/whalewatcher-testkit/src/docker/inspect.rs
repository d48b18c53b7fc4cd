//! `GET /containers/…/json`: one container, in the shape and size of dockerd's answer.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::container::Container;

/// Returns the document of an inspection.
pub(super) fn inspect(container: &Container) -> Value {
    let id = &*container.id;
    let spec = &container.spec;
    let path = spec.command.first().map_or("", String::as_str);
    let folder = format!("/var/lib/docker/containers/{id}");
    json!({
        "Id": id,
        "Created": container.created.to_string(),
        "Path": path,
        "Args": spec.command.get(1..).unwrap_or_default(),
        "State": state(container),
        "Image": image_id(&spec.image),
        "ResolvConfPath": format!("{folder}/resolv.conf"),
        "HostnamePath": format!("{folder}/hostname"),
        "HostsPath": format!("{folder}/hosts"),
        "LogPath": format!("{folder}/{id}-json.log"),
        "Name": format!("/{}", container.name),
        "RestartCount": container.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": if spec.privileged { "unconfined" } else { "docker-default" },
        "ExecIDs": null,
        "HostConfig": host_config(container),
        "GraphDriver": {
            "Data": {
                "ID": id,
                "LowerDir": format!("/var/lib/docker/overlay2/{id}-init/diff"),
                "MergedDir": format!("/var/lib/docker/overlay2/{id}/merged"),
                "UpperDir": format!("/var/lib/docker/overlay2/{id}/diff"),
                "WorkDir": format!("/var/lib/docker/overlay2/{id}/work"),
            },
            "Name": "overlay2",
        },
        "Mounts": mounts(container),
        "Config": config(container),
        "NetworkSettings": network_settings(container),
    })
}

fn mounts(container: &Container) -> Value {
    let mounts = container.spec.mounts.iter().map(|mount| {
        json!({
            "Type": "bind",
            "Source": mount.source,
            "Destination": mount.destination,
            "Mode": if mount.writable { "" } else { "ro" },
            "RW": mount.writable,
            "Propagation": "rprivate",
        })
    });
    mounts.collect()
}

/// The ports, each with its published addresses.
fn published(container: &Container, address: &str) -> Map<String, Value> {
    let ports = container.spec.ports.iter().filter_map(|port| {
        let binding = json!([{ "HostIp": address, "HostPort": port.host?.to_string() }]);
        Some((port.container.clone(), binding))
    });
    ports.collect()
}

/// The exposed ports.
fn exposed(container: &Container) -> Map<String, Value> {
    container.spec.ports.iter().map(|port| (port.container.clone(), json!({}))).collect()
}

/// All ports while the container is alive; `null` for those that are not published.
fn ports(container: &Container) -> Map<String, Value> {
    if !container.is_alive() {
        return Map::new();
    }
    let all = container.spec.ports.iter().map(|port| (port.container.clone(), Value::Null));
    all.chain(published(container, "0.0.0.0")).collect()
}

fn state(container: &Container) -> Value {
    let status = container.status();
    let mut state = json!({
        "Status": status,
        "Running": container.counts_as_running(),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": container.oom_killed,
        "Dead": status == "dead",
        "Pid": container.pid,
        "ExitCode": container.exit_code,
        "Error": "",
        "StartedAt": time(container.started_at),
        "FinishedAt": time(container.finished_at),
    });
    if let Some(health) = &container.health {
        state["Health"] = json!({ "Status": &**health, "FailingStreak": 0, "Log": [] });
    }
    state
}

/// Go's zero time stands for what has not happened yet.
fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".into(), |time| time.to_string())
}

fn host_config(container: &Container) -> Value {
    let spec = &container.spec;
    let mut config = json!({
        "Binds": binds(container),
        "ContainerIDFile": "",
        "LogConfig": { "Type": "json-file", "Config": {} },
        "NetworkMode": spec.network_mode,
        "PortBindings": published(container, ""),
        "RestartPolicy": { "Name": spec.restart.name(), "MaximumRetryCount": 0 },
        "AutoRemove": spec.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "CapAdd": null,
        "CapDrop": null,
        "CgroupnsMode": "private",
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": null,
        "GroupAdd": null,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": 0,
        "PidMode": "",
        "Privileged": spec.privileged,
        "PublishAllPorts": false,
        "ReadonlyRootfs": false,
        "SecurityOpt": if spec.privileged { json!(["label=disable"]) } else { Value::Null },
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 67_108_864,
        "Runtime": "runc",
        "Isolation": "",
        "MaskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ],
        "ReadonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    });
    if let (Value::Object(config), Value::Object(limits)) = (&mut config, limits()) {
        config.extend(limits);
    }
    config
}

fn binds(container: &Container) -> Value {
    let mounts = &container.spec.mounts;
    let binds = mounts.iter().map(|mount| {
        let mode = if mount.writable { "" } else { ":ro" };
        format!("{}:{}{mode}", mount.source, mount.destination)
    });
    if mounts.is_empty() { Value::Null } else { binds.collect() }
}

fn limits() -> Value {
    json!({
        "CpuShares": 0,
        "Memory": 0,
        "NanoCpus": 0,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": [],
        "BlkioDeviceWriteBps": [],
        "BlkioDeviceReadIOps": [],
        "BlkioDeviceWriteIOps": [],
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": "",
        "CpusetMems": "",
        "Devices": [],
        "DeviceCgroupRules": null,
        "DeviceRequests": null,
        "MemoryReservation": 0,
        "MemorySwap": 0,
        "MemorySwappiness": null,
        "OomKillDisable": null,
        "PidsLimit": null,
        "Ulimits": [],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    })
}

fn env(container: &Container) -> Value {
    let image = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
    container.spec.env.iter().cloned().chain(image).collect()
}

fn config(container: &Container) -> Value {
    let spec = &container.spec;
    let mut config = json!({
        "Hostname": container.id.get(..12).unwrap_or_default(),
        "Domainname": "",
        "User": "",
        "AttachStdin": false,
        "AttachStdout": false,
        "AttachStderr": false,
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "Env": env(container),
        "Cmd": spec.command,
        "Image": spec.image,
        "Volumes": null,
        "WorkingDir": "",
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": &*container.labels,
    });
    if !spec.ports.is_empty() {
        config["ExposedPorts"] = exposed(container).into();
    }
    config
}

fn network_settings(container: &Container) -> Value {
    let sandbox = if container.is_alive() { &*container.id } else { "" };
    json!({
        "Bridge": "",
        "SandboxID": sandbox,
        "SandboxKey": sandbox.get(..12).map(|id| format!("/var/run/docker/netns/{id}")).unwrap_or_default(),
        "Ports": ports(container),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks(container),
    })
}

/// The endpoints by the names of their networks, of a list too.
pub(super) fn networks(container: &Container) -> Value {
    let mut networks = json!({ container.spec.network_mode.as_str(): endpoint(container) });
    for (name, address) in container.networks.iter() {
        let mut endpoint = json!(endpoint(container));
        if container.is_alive() {
            endpoint["NetworkID"] = network_id(name).into();
            endpoint["IPAddress"] = address.to_string().into();
            endpoint["IPPrefixLen"] = 16.into();
        }
        networks[name] = endpoint;
    }
    networks
}

/// A container's entry in its network. `()` is `null` in JSON.
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    #[serde(rename = "IPAMConfig")]
    ipam_config: (),
    links: (),
    aliases: (),
    mac_address: &'a str,
    driver_opts: (),
    gw_priority: i32,
    #[serde(rename = "NetworkID")]
    network_id: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    gateway: &'a str,
    #[serde(rename = "IPAddress")]
    ip_address: &'a str,
    #[serde(rename = "IPPrefixLen")]
    ip_prefix_len: i32,
    #[serde(rename = "IPv6Gateway")]
    ipv6_gateway: &'a str,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: &'a str,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    global_ipv6_prefix_len: i32,
    #[serde(rename = "DNSNames")]
    dns_names: (),
}

fn endpoint(container: &Container) -> Endpoint<'_> {
    let endpoint_id = if container.is_alive() { &*container.id } else { "" };
    Endpoint { endpoint_id, ..Endpoint::default() }
}

/// The same network has the same ID for all containers.
pub(super) fn network_id(name: &str) -> String {
    image_id(name).trim_start_matches("sha256:").to_owned()
}

/// The same image has the same ID in all containers made from it.
pub(super) fn image_id(image: &str) -> String {
    let seed = image.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut digits = fastrand::Rng::with_seed(seed);
    format!(
        "sha256:{:016x}{:016x}{:016x}{:016x}",
        digits.u64(..),
        digits.u64(..),
        digits.u64(..),
        digits.u64(..)
    )
}
