//! The benches there are, and what they have in common.

use anyhow::Result;

use whalewatcher_bench::figure::Figure;
use whalewatcher_drivers::{containerd, docker};

use crate::real::Cri;
use crate::{harm, latency, reading, ready, rest, scale, writing};

/// Measures one thing, at several sizes.
pub(crate) struct Bench {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whether it takes so long that it only runs when it is named, or everything is to be large.
    pub(crate) long: bool,
    pub(crate) run: fn(&Effort) -> Result<Vec<Figure>>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How many times each thing is measured, in turn with the others.
    pub(crate) rounds: usize,
    /// Whether to take the time that the largest sizes and the longest runs need.
    pub(crate) large: bool,
}

pub(crate) const ALL: &[Bench] = &[
    Bench {
        name: "reading",
        about: "lookups, snapshots, iteration; at rest and amid changes",
        long: false,
        run: reading::run,
    },
    Bench {
        name: "writing",
        about: "changes through reconciler, portfolio and subscribers",
        long: false,
        run: writing::run,
    },
    Bench {
        name: "scale",
        about: "10,000 and 100,000 containers of a Docker engine, and transitions",
        long: false,
        run: scale::run,
    },
    Bench {
        name: "ready-docker",
        about: "how long until all containers of a real dockerd are known",
        long: false,
        run: ready::docker,
    },
    Bench {
        name: "ready-containerd",
        about: "the same of a real containerd",
        long: false,
        run: |effort| ready::without_floor::<containerd::Driver>("ready-containerd", effort),
    },
    Bench {
        name: "ready-cri",
        about: "the same of pods and containers on the CRI of a real containerd",
        long: false,
        run: |effort| ready::without_floor::<Cri>("ready-cri", effort),
    },
    Bench {
        name: "latency-docker",
        about: "how long from an event of dockerd to a subscriber",
        long: false,
        run: latency::docker,
    },
    Bench {
        name: "harm-docker",
        about: "inspections and a real dockerd's CPU for many short lives",
        long: false,
        run: |effort| harm::run::<docker::Driver>("harm-docker", effort),
    },
    Bench {
        name: "harm-containerd",
        about: "the same of a real containerd",
        long: false,
        run: |effort| harm::run::<containerd::Driver>("harm-containerd", effort),
    },
    Bench {
        name: "harm-cri",
        about: "the same of pods, by CRI",
        long: false,
        run: |effort| harm::run::<Cri>("harm-cri", effort),
    },
    Bench {
        name: "rest",
        about: "wake-ups, CPU and requests while nothing happens to 100 containers of a real dockerd",
        long: true,
        run: rest::run,
    },
];

/// Those whose name contains one of the words; without any word all, of the long ones only if all is to be large.
pub(crate) fn chosen(words: &[String], large: bool) -> Vec<&'static Bench> {
    let named = |bench: &&Bench| words.iter().any(|word| bench.name.contains(word.as_str()));
    let wanted = |bench: &&Bench| match words.is_empty() {
        true => large || !bench.long,
        false => named(bench),
    };
    ALL.iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str], large: bool) -> Vec<&'static str> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        chosen(&words, large).iter().map(|bench| bench.name).collect()
    }

    #[test]
    fn what_takes_long_runs_only_when_it_is_named_or_all_is_to_be_large() {
        assert!(!names(&[], false).contains(&"rest"));
        assert_eq!(names(&[], false).len() + ALL.iter().filter(|bench| bench.long).count(), ALL.len());
        assert_eq!(names(&[], true).len(), ALL.len());
        assert_eq!(names(&["rest", "readi"], false), ["reading", "rest"]);
        assert_eq!(names(&["rest"], true), ["rest"]);
        assert_eq!(names(&["nothing"], true), [""; 0]);
    }
}
