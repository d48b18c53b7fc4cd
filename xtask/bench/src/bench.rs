//! The benches there are, and what they have in common.

use anyhow::Result;

use whalewatcher_bench::figure::Figure;
use whalewatcher_drivers::{containerd, docker};

use crate::real::Cri;
use crate::{
    harm, hub, kernel, latency, looking, owner, partition, reading, ready, rest, scale, serve, writing,
};

/// Measures one thing, at several sizes: its name, what it measures, and how.
pub(crate) type Bench = (&'static str, &'static str, fn(&'static str, &Effort) -> Result<Vec<Figure>>);

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How many times each thing is measured, in turn with the others.
    pub(crate) rounds: usize,
    /// Whether to take the time that the largest sizes and the longest runs need.
    pub(crate) large: bool,
}

pub(crate) const ALL: &[Bench] = &[
    ("reading", "lookups, snapshots, iteration; at rest and amid changes", reading::run),
    ("writing", "changes through reconciler, portfolio and subscribers", writing::run),
    ("owner", "which container a process belongs to", owner::run),
    ("looking", "what looking for engines again and again takes, with 100 of them", looking::run),
    ("scale", "10,000 and 100,000 containers of a Docker engine, and transitions", scale::run),
    (
        "serve",
        "the server with 1,000 subscribers, of which a tenth is stalled, and 1,000 changes a second",
        serve::run,
    ),
    ("ready-docker", "how long until all containers of a real dockerd are known", ready::docker),
    ("ready-containerd", "the same of a real containerd", ready::without_floor::<containerd::Driver>),
    (
        "ready-cri",
        "the same of pods and containers on the CRI of a real containerd",
        ready::without_floor::<Cri>,
    ),
    ("latency-docker", "how long from an event of dockerd to a subscriber", latency::docker),
    ("harm-docker", "inspections and a real dockerd's CPU for many short lives", harm::run::<docker::Driver>),
    ("harm-containerd", "the same of a real containerd", harm::run::<containerd::Driver>),
    ("harm-cri", "the same of pods, by CRI", harm::run::<Cri>),
    ("hub", "1,000 hosts with 100 containers each, published in a real etcd", hub::run),
    ("partition", "how long until the hub knows what changed on 1,000 hosts without etcd", partition::run),
    (
        "kernel",
        "ends that the kernel reports while the engine is gone, and 10,000 lives that it watches",
        kernel::run,
    ),
    (LONG, "wake-ups, CPU and requests while nothing happens to 100 containers of a real dockerd", rest::run),
];

/// The bench that takes so long that it only runs when it is named, or everything is to be large.
pub(crate) const LONG: &str = "rest";

/// Those whose name contains one of the words; without any word all, the long one only if all is to be large.
pub(crate) fn chosen(words: &[String], large: bool) -> Vec<&'static Bench> {
    let named = |bench: &&Bench| words.iter().any(|word| bench.0.contains(word.as_str()));
    let wanted = |bench: &&Bench| match words.is_empty() {
        true => large || bench.0 != LONG,
        false => named(bench),
    };
    ALL.iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str], large: bool) -> Vec<&'static str> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        chosen(&words, large).iter().map(|bench| bench.0).collect()
    }

    #[test]
    fn what_takes_long_runs_only_when_it_is_named_or_all_is_to_be_large() {
        assert!(!names(&[], false).contains(&"rest"));
        assert_eq!(names(&[], false).len() + 1, ALL.len());
        assert_eq!(names(&[], true).len(), ALL.len());
        assert_eq!(names(&["rest", "readi"], false), ["reading", "rest"]);
        assert_eq!(names(&["rest"], true), ["rest"]);
        assert_eq!(names(&["nothing"], true), [""; 0]);
    }
}
