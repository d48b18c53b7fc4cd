//! The benches there are, and what they have in common.

use anyhow::Result;

use crate::figure::Figure;
use crate::{builds, harm, latency, reading, ready, rest, scale, writing};

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
        run: ready::containerd,
    },
    Bench {
        name: "ready-cri",
        about: "the same of pods and containers on the CRI of a real containerd",
        long: false,
        run: ready::cri,
    },
    Bench {
        name: "latency-docker",
        about: "how long from an event of dockerd to the portfolio and a subscriber",
        long: false,
        run: latency::docker,
    },
    Bench {
        name: "harm-docker",
        about: "requests and a real dockerd's CPU for many short lives, and for restarts in a loop",
        long: false,
        run: harm::docker::run,
    },
    Bench {
        name: "harm-containerd",
        about: "requests and a real containerd's CPU for many short lives",
        long: false,
        run: harm::grpc::containerd,
    },
    Bench { name: "harm-cri", about: "the same of pods, by CRI", long: false, run: harm::grpc::cri },
    Bench {
        name: "rest",
        about: "wake-ups, CPU and requests while nothing happens to 100 containers of a real dockerd",
        long: true,
        run: rest::run,
    },
    Bench {
        name: "build-moby",
        about: "crates and seconds of a clean build of whalewatcher-moby",
        long: true,
        run: builds::moby,
    },
    Bench {
        name: "build-containerd",
        about: "the same of whalewatcher-containerd",
        long: true,
        run: builds::containerd,
    },
    Bench { name: "build-cri", about: "the same of whalewatcher-cri", long: true, run: builds::cri },
    Bench {
        name: "build-program",
        about: "the same of the program, and its size",
        long: true,
        run: builds::program,
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
        assert!(names(&[], false).iter().all(|name| !["rest", "build-moby"].contains(name)));
        assert_eq!(names(&[], false).len() + ALL.iter().filter(|bench| bench.long).count(), ALL.len());
        assert_eq!(names(&[], true).len(), ALL.len());
        assert_eq!(names(&["moby", "readi"], false), ["reading", "build-moby"]);
        assert_eq!(names(&["moby"], true), ["build-moby"]);
        assert_eq!(names(&["nothing"], true), [""; 0]);
    }
}
