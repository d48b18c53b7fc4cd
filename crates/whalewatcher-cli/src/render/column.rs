//! The columns of tables: headings, and the text of each for a container.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::time::SystemTime;

use anstyle::Style;
use clap::ValueEnum;
use whalewatcher_core::{Container, Health, Image, Network, Printable, Watcher};

use crate::clusters::host_of;
use crate::hosts::host;
use crate::render::age::{age, human_age};
use crate::render::ports::ports;
use crate::render::style::{FAINT, GREEN, PLAIN, RED, YELLOW};
use crate::render::texts::{display_name, pod, short_id};
use crate::selection::familiar;
use crate::starts::started_at;

/// A column of a table of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Column {
    Name,
    Project,
    Pod,
    Id,
    Image,
    Pid,
    State,
    Status,
    Age,
    Health,
    Restarts,
    Ports,
    Networks,
    Host,
    Engine,
}

/// A container to show, with its engine.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) watcher: &'a dyn Watcher,
    pub(crate) container: &'a Container,
    /// The present by the engine's clock.
    now: SystemTime,
    /// When the container was started: only some columns need it.
    started: OnceCell<Option<SystemTime>>,
}

impl Column {
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::Project => "PROJECT",
            Self::Pod => "POD",
            Self::Id => "ID",
            Self::Image => "IMAGE",
            Self::Pid => "PID",
            Self::State => "STATE",
            Self::Status => "STATUS",
            Self::Age => "AGE",
            Self::Health => "HEALTH",
            Self::Restarts => "RESTARTS",
            Self::Ports => "PORTS",
            Self::Networks => "NETWORKS",
            Self::Host => "HOST",
            Self::Engine => "ENGINE",
        }
    }

    /// Returns whether numbers are in it, which are aligned right.
    pub(crate) fn is_right(self) -> bool {
        matches!(self, Self::Pid | Self::Age | Self::Restarts)
    }

    /// Returns the width down to which it is cut before others are dropped; `None` if it is never cut.
    pub(crate) fn shortest(self) -> Option<usize> {
        match self {
            Self::Name | Self::Image | Self::Project | Self::Host => Some(12),
            Self::Pod => Some(16),
            _ => None,
        }
    }

    /// Returns the text for a container, in full or as a table has it.
    pub(crate) fn cell(self, entry: &Entry<'_>, is_full: bool) -> String {
        let Entry { watcher, container, now, .. } = entry;
        match self {
            Self::Name if is_full => Printable(container.name()).to_string(),
            Self::Name => display_name(container),
            Self::Project => Printable(container.project()).to_string(),
            Self::Pod => pod(container),
            Self::Id if is_full => Printable(container.id()).to_string(),
            Self::Id => short_id(container.id()),
            Self::Image => {
                let name = container.image().map(Image::name).unwrap_or_default();
                Printable(if is_full { name } else { short_image(name) }).to_string()
            }
            Self::Pid => container.pid().to_string(),
            Self::State => state(container).0.to_owned(),
            Self::Status => status(container, entry.started(), *now),
            Self::Age => entry.started().map_or("-".to_owned(), |then| age(then, *now)),
            Self::Health => container.health().map_or("-", Health::as_str).to_owned(),
            Self::Restarts => container.restart_count().map_or("-".to_owned(), |count| count.to_string()),
            Self::Ports => ports(container.ports()),
            Self::Networks => {
                let names: Vec<_> = container.networks().iter().map(Network::name).collect();
                Printable(&names.join(",")).to_string()
            }
            Self::Host => {
                let published = host_of(*watcher).map(|host| host.name.clone());
                Printable(&published.unwrap_or_else(|| watcher.key().host())).to_string()
            }
            // Its endpoint is that of all that its host publishes.
            Self::Engine if host_of(*watcher).is_some() => Printable(watcher.engine_type()).to_string(),
            Self::Engine => Printable(&host(watcher.engine_type(), watcher.endpoint())).to_string(),
        }
    }

    pub(crate) fn style(self, container: &Container) -> Style {
        match self {
            Self::Id => FAINT,
            Self::State => state(container).1,
            _ => PLAIN,
        }
    }

    /// Compares two containers by what the column shows.
    pub(crate) fn compare(self, one: &Entry<'_>, other: &Entry<'_>) -> Ordering {
        let (a, b) = (one.container, other.container);
        match self {
            Self::Pid => a.pid().cmp(&b.pid()),
            // The younger first, and those of unknown age last.
            Self::Age | Self::Status => match (one.started(), other.started()) {
                (Some(_), Some(_)) => one.lived().cmp(&other.lived()),
                (a, b) => a.is_none().cmp(&b.is_none()),
            },
            Self::Restarts => a.restart_count().cmp(&b.restart_count()),
            _ => self.cell(one, true).cmp(&self.cell(other, true)),
        }
    }
}

impl<'a> Entry<'a> {
    pub(crate) fn new(watcher: &'a dyn Watcher, container: &'a Container, now: SystemTime) -> Self {
        Self { watcher, container, now, started: OnceCell::new() }
    }

    fn started(&self) -> Option<SystemTime> {
        *self.started.get_or_init(|| started_at(self.watcher, self.container))
    }

    fn lived(&self) -> std::time::Duration {
        let then = self.started().unwrap_or(self.now);
        self.now.duration_since(then).unwrap_or_default()
    }
}

/// Returns the state with its mark: the health instead of `running`, if there is a healthcheck.
fn state(container: &Container) -> (&'static str, Style) {
    match container.health() {
        _ if container.paused() => ("◐ paused", YELLOW),
        None => ("● running", GREEN),
        Some(Health::Healthy) => ("● healthy", GREEN),
        Some(Health::Starting) => ("● starting", YELLOW),
        Some(_) => ("● unhealthy", RED),
    }
}

/// Returns age and health as `docker ps` does.
pub(crate) fn status(container: &Container, started: Option<SystemTime>, now: SystemTime) -> String {
    let up = match started {
        Some(then) => format!("Up {}", human_age(then, now)),
        None => "Up".to_owned(),
    };
    match container.health() {
        _ if container.paused() => format!("{up} (Paused)"),
        None => up,
        Some(Health::Starting) => format!("{up} (health: starting)"),
        Some(health) => format!("{up} ({health})"),
    }
}

/// Returns an image's name without docker's own registry and without digest; of an ID the first characters.
fn short_image(name: &str) -> &str {
    if let Some(id) = name.strip_prefix("sha256:") {
        return id.get(..12).unwrap_or(id);
    }
    familiar(name.split_once("@sha256:").map_or(name, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn status_is_that_of_docker() {
        let now = SystemTime::now();
        let web = Container::new("1", "web", 1).with_started_at(now - Duration::from_secs(5 * 3_600));
        for (container, expected) in [
            (web.clone(), "Up 5 hours"),
            (web.clone().with_health(Health::Healthy), "Up 5 hours (healthy)"),
            (web.clone().with_health(Health::Unhealthy), "Up 5 hours (unhealthy)"),
            (web.clone().with_health(Health::Starting), "Up 5 hours (health: starting)"),
            (web.clone().with_health(Health::Healthy).with_paused(true), "Up 5 hours (Paused)"),
            (web.with_started_at(None), "Up"),
        ] {
            assert_eq!(status(&container, container.started_at(), now), expected);
        }
    }

    #[test]
    fn images_are_shown_without_digests() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        assert_eq!(short_image(&format!("nginx:1.27{digest}")), "nginx:1.27");
        assert_eq!(short_image("docker.io/library/nginx:1.27"), "nginx:1.27");
        assert_eq!(short_image("host:5000/a/b:1"), "host:5000/a/b:1");
        assert_eq!(short_image("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_image("sha256:0鯨鯨鯨鯨鯨"), "0鯨鯨鯨鯨鯨");
    }
}
