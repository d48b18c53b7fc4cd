//! The text of a scrape.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use whalewatcher_core::fleet::{FleetMember, FleetPortfolio};
use whalewatcher_core::{Container, Figure, FigureKind};

use super::counts::{Counts, REASONS};
use crate::args::ContainerMetrics;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4 of Prometheus.
    Text,
}

impl Form {
    /// Returns the form that a client prefers by what it accepts; text if it does not care.
    pub(super) fn preferred<'a>(accepted: impl Iterator<Item = &'a str>) -> Self {
        let (mut open_metrics, mut text) = (0.0, 0.0_f32);
        for one in accepted.flat_map(|value| value.split(',')) {
            let mut parts = one.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let parameter = |name: &str| {
                let mut found = parts.clone().filter_map(|part| part.split_once('='));
                found.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
            };
            let quality = parameter("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            // A later version may differ; readers of an earlier one can read this one.
            let is_known = matches!(parameter("version"), None | Some("1.0.0" | "0.0.1"));
            let rank = match kind.to_ascii_lowercase().as_str() {
                "application/openmetrics-text" if is_known => &mut open_metrics,
                "text/plain" | "text/*" | "*/*" => &mut text,
                _ => continue,
            };
            *rank = rank.max(quality);
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// What is written: the fleet at one moment, and what was counted until then.
pub(super) struct Scrape {
    pub(super) now: FleetPortfolio,
    pub(super) counts: Counts,
    pub(super) containers: ContainerMetrics,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").finish_non_exhaustive()
    }
}

impl Scrape {
    pub(super) fn encode(self, form: Form) -> String {
        let mut registry = Registry::with_prefix("whalewatcher");
        registry.register_collector(Box::new(self));
        let mut body = String::new();
        // Writing to memory does not fail.
        let _ = match form {
            Form::OpenMetrics => text::encode(&mut body, &registry),
            Form::Text => prometheus_text::encode(&mut body, &registry),
        };
        body
    }

    fn fleet(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for figure in self.counts.fleet.all(&self.now) {
            value(&figure, described(encoder, &figure)?)?;
        }
        Ok(())
    }

    /// Writes each figure of all engines, one figure after the other.
    fn engines(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let own = self.now.members().filter(|member| self.counts.engines.contains(member.key()));
        let all: Vec<(_, Vec<_>)> = own
            .map(|member| (labels_of(member), Figure::of_watcher(&**member.watcher()).collect()))
            .collect();
        for nth in 0..all.first().map_or(0, |(_, figures)| figures.len()) {
            let mut metric = described(encoder, &all[0].1[nth])?;
            for (labels, figures) in &all {
                value(&figures[nth], metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }

    fn exits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Lives of containers that ended, by project and by how.";
        let mut metric = encoder.encode_descriptor("exits", help, None, MetricType::Counter)?;
        for (project, counts) in &self.counts.exits {
            for (reason, count) in REASONS.iter().zip(counts) {
                let labels = [("project", project.as_str()), ("reason", reason)];
                ConstCounter::new(*count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn containers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut all = BTreeMap::<Vec<_>, &Container>::new();
        for (member, container) in self.now.containers() {
            match all.entry(self.identity(member, container)) {
                Entry::Vacant(free) => {
                    free.insert(container);
                }
                // Without IDs, two may look the same.
                Entry::Occupied(mut other) if other.get().started_at() < container.started_at() => {
                    other.insert(container);
                }
                Entry::Occupied(_) => {}
            }
        }
        let help = "Live containers.";
        let mut metric = encoder.encode_descriptor("container", help, None, MetricType::Info)?;
        for (labels, container) in &all {
            let image = container.image().map_or("", |image| image.name());
            let labels: Vec<_> = labels.iter().cloned().chain([("image", image.into())]).collect();
            metric.encode_info(&labels)?;
        }
        let help = "When the lives of the containers began, by the clocks of their engines.";
        let mut metric = encoder.encode_descriptor(
            "container_start_time",
            help,
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (labels, container) in &all {
            let started = container.started_at().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            if let Some(since) = started {
                ConstGauge::new(since.as_secs_f64()).encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }

    /// The labels by which containers differ.
    fn identity<'a>(
        &self,
        member: &'a FleetMember,
        container: &'a Container,
    ) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut labels = labels_of(member);
        if self.containers == ContainerMetrics::Id {
            labels.push(("id", container.id().as_str().into()));
        }
        labels.push(("name", container.name().into()));
        labels.push(("project", container.project().into()));
        if let Some(pod) = container.pod() {
            labels.push(("pod_namespace", pod.namespace().into()));
            labels.push(("pod_name", pod.name().into()));
        }
        labels
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.fleet(&mut encoder)?;
        self.engines(&mut encoder)?;
        self.exits(&mut encoder)?;
        match self.containers {
            ContainerMetrics::None => Ok(()),
            ContainerMetrics::Name | ContainerMetrics::Id => self.containers(&mut encoder),
        }
    }
}

/// The labels of an engine.
fn labels_of(member: &FleetMember) -> Vec<(&'static str, Cow<'_, str>)> {
    let key = member.key();
    vec![("engine", key.engine_type().into()), ("endpoint", key.endpoint().into())]
}

fn described<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    figure: &'a Figure,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    let kind = match figure.kind {
        FigureKind::Counter => MetricType::Counter,
        FigureKind::Gauge => MetricType::Gauge,
    };
    encoder.encode_descriptor(figure.name, figure.help, None, kind)
}

fn value(figure: &Figure, metric: MetricEncoder<'_>) -> fmt::Result {
    match figure.kind {
        FigureKind::Counter => ConstCounter::new(figure.value).encode(metric),
        FigureKind::Gauge => ConstGauge::new(figure.value).encode(metric),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_the_client_prefers() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,\
            application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        let prefers_text = "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5";
        for (accepted, expected) in [
            (&[][..], Form::Text),
            (&["*/*"], Form::Text),
            (&["text/html", "application/json"], Form::Text),
            (&[prometheus_2], Form::OpenMetrics),
            (&[prometheus_3], Form::OpenMetrics),
            (&[prefers_text], Form::Text),
            (&["text/plain;q=0.3", "Application/OpenMetrics-Text; Q=0.4"], Form::OpenMetrics),
            (&["application/openmetrics-text;q=0"], Form::Text),
            (&["application/openmetrics-text;q=x"], Form::Text),
            (&["application/openmetrics-text;version=2.0.0"], Form::Text),
        ] {
            assert_eq!(Form::preferred(accepted.iter().copied()), expected, "{accepted:?}");
        }
    }
}
