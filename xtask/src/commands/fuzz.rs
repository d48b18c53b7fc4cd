//! `cargo xtask fuzz`: the property tests on what an engine sends, again and again, with fresh seeds.

use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Args, ValueEnum};
use xtask::output::output;

use super::cargo::{cargo, succeed};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For how long, in minutes; what is begun by then is still ended
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// The first round's seed, to play it again; without it, a random one
    #[arg(long)]
    seed: Option<u64>,
    /// What to fuzz; without any, everything
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// The decoder of one event
    Events,
    /// The decoder of inspections
    Inspections,
    /// The decoder of lists
    Lists,
    /// Lists with one malformed entry
    MalformedEntries,
    /// The decoders of /version and /info
    Identities,
    /// The decoder of error bodies
    Refusals,
    /// The words of lists, and versions
    Words,
    /// The event stream cut into lines
    Framing,
    /// Whole answers, mutated from the first byte of HTTP on, over a socket
    MutatedHttp,
    /// Random bytes instead of answers, over a socket
    RandomBytes,
    /// Whole answers in pieces of any size, over a socket
    Pieces,
}

/// Where a target's test is.
struct Place {
    arguments: &'static [&'static str],
    name: &'static str,
    /// How many cases a round has: about two seconds' worth.
    cases: u64,
}

impl Target {
    fn place(self) -> Place {
        const LIB: &[&str] = &["--lib"];
        const WIRE: &[&str] = &["--test", "nonsense"];
        let (arguments, name, cases) = match self {
            Self::Events => (LIB, "decode::mutated::events", 100_000),
            Self::Inspections => (LIB, "decode::mutated::inspections", 100_000),
            Self::Lists => (LIB, "decode::mutated::lists", 100_000),
            Self::MalformedEntries => (LIB, "decode::mutated::malformed_entries", 100_000),
            Self::Identities => (LIB, "decode::mutated::identities", 100_000),
            Self::Refusals => (LIB, "decode::mutated::refusals", 100_000),
            Self::Words => (LIB, "decode::mutated::words", 40_000),
            Self::Framing => (LIB, "decode::mutated::framing", 10_000),
            Self::MutatedHttp => (WIRE, "mutated_http", 2_000),
            Self::RandomBytes => (WIRE, "random_bytes", 2_000),
            Self::Pieces => (WIRE, "pieces_make_no_difference", 1_000),
        };
        Place { arguments, name, cases }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let targets = if options.targets.is_empty() { Target::value_variants() } else { &options.targets };
    let first = options.seed.map_or_else(random_seed, Ok)?;
    let until = Duration::try_from_secs_f64(options.minutes * 60.0).context("--minutes makes no sense")?;
    for target in targets {
        exists(*target)?;
    }
    let (begin, mut cases) = (Instant::now(), vec![0; targets.len()]);
    for seed in (0..).map(|round| first.wrapping_add(round)) {
        for (target, cases) in targets.iter().zip(&mut cases) {
            round(*target, seed)?;
            *cases += target.place().cases;
        }
        if begin.elapsed() >= until {
            break;
        }
    }
    println!("\nnothing was found in {:.1} minutes:", begin.elapsed().as_secs_f64() / 60.0);
    for (target, cases) in targets.iter().zip(cases) {
        println!("{cases:>12} cases of {}", target.place().name);
    }
    Ok(())
}

/// cargo is content with a test that does not exist.
fn exists(target: Target) -> Result<()> {
    let listed = output(test(target).arg("--list"))?;
    let name = target.place().name;
    ensure!(listed.contains(&format!("{name}: test")), "there is no test {name}");
    Ok(())
}

fn test(target: Target) -> Command {
    let Place { arguments, name, .. } = target.place();
    let mut test = cargo();
    test.args(["test", "--quiet", "--release", "--package", "whalewatcher-moby", "--all-features"]);
    test.args(arguments).args(["--", "--exact", name]);
    test
}

/// A failure leaves its smallest input in a file beside the tests, which they play first from then on.
fn round(target: Target, seed: u64) -> Result<()> {
    let Place { name, cases, .. } = target.place();
    println!("{cases} cases of {name} with seed {seed}");
    let mut test = test(target);
    test.env("PROPTEST_CASES", cases.to_string()).env("PROPTEST_RNG_SEED", seed.to_string());
    succeed(&mut test).map_err(|error| {
        let target = target.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        anyhow!("found something; again with `cargo xtask fuzz --seed {seed} --minutes 0 {target}`: {error}")
    })
}

fn random_seed() -> Result<u64> {
    let mut seed = [0; 8];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut seed))
        .context("no random seed")?;
    Ok(u64::from_ne_bytes(seed))
}
