//! Many containers of a Docker engine: how long until it is ready, how much memory each takes, and what becomes of
//! thousands of transitions a second. The engine is the test kit's, in a process of its own; so is the watcher, for there
//! all that is allocated is counted.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use whalewatcher_bench::report::{Churn, Report};
use whalewatcher_bench::sample::Sample;

use crate::bench::Effort;
use crate::figure::{Aim, Figure, Unit};
use crate::rounds::of_pairs;

const NAME: &str = "scale";
const SIZES: [usize; 2] = [10_000, 100_000];
/// Transitions a second.
const RATE: u32 = 2000;

pub(crate) fn run(effort: &Effort) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for size in SIZES {
        figures.extend(of(&report(size, effort)?));
    }
    Ok(figures)
}

fn report(size: usize, effort: &Effort) -> Result<Report> {
    let program = env::current_exe().context("cannot report where this program is")?;
    let program = program.with_file_name("whalewatcher-bench-scale");
    // Being ready takes long enough to be measured few times.
    let rounds = effort.rounds.div_ceil(if size > 10_000 { 8 } else { 3 });
    let seconds = if effort.large { 60 } else { 10 };
    let mut command = Command::new(&program);
    command.arg("watch").arg(size.to_string()).args(["--rounds", &rounds.to_string()]);
    command.args(["--rate", &RATE.to_string(), "--seconds", &seconds.to_string()]);
    // The input stays open for as long as this process lives: by that it ends with this one.
    let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
    let input = process.stdin.take();
    let output = process.stdout.take().context("it has an output")?;
    let report = serde_json::from_reader(output);
    let status = process.wait().context("cannot wait for it")?;
    drop(input);
    ensure!(status.success(), "watching {size} containers ended with {status}");
    report.context("its report cannot be understood")
}

fn of(report: &Report) -> Vec<Figure> {
    let Report { containers, ready, bytes, requests, churn } = report;
    let number = *containers as f64;
    let ready = of_pairs(ready);
    let figure = |what: &str, unit, value| {
        Figure::new(NAME, format!("{containers} containers: {what}"), unit, Sample::once(value))
    };
    let asked = (requests.lists + requests.inspections) as f64;
    let mut figures = vec![
        Figure::new(NAME, format!("{containers} containers: time to ready"), Unit::Seconds, ready.measured)
            .over(ready.floor, ready.ratio),
        figure("lists and inspections until then", Unit::Count, asked)
            .over(Sample::once(number + 1.0), Sample::once(asked / (number + 1.0)))
            .aiming_at(Aim::TimesFloor(1.0)),
        figure("other requests until then", Unit::Count, (requests.streams + requests.others) as f64),
        figure("allocated, a container", Unit::Bytes, bytes / number).aiming_at(Aim::AtMost(2000.0)),
    ];
    figures.extend(of_churn(*containers, churn));
    figures
}

fn of_churn(containers: usize, churn: &Churn) -> Vec<Figure> {
    let Churn { transitions, seconds, starts, lag, lag_floor, requests, reported, .. } = churn;
    let after = format!("{containers} containers, {RATE} transitions/s for {seconds:.0} s");
    let figure =
        |what: &str, unit, value| Figure::new(NAME, format!("{after}: {what}"), unit, Sample::once(value));
    let over = |figure: Figure, of: Sample, floor: Sample| {
        figure.over(floor, Sample::once(of.median / floor.median))
    };
    let middle = Figure::new(NAME, format!("{after}: lag, half of them"), Unit::Milliseconds, lag.middle);
    let p99 = (Sample::once(lag.p99), Sample::once(lag_floor.p99));
    let asked = requests.inspections as f64;
    vec![
        figure("transitions that the engine managed", Unit::PerSecond, *transitions as f64 / seconds),
        figure("changes reported by transitions", Unit::Count, *reported as f64 / *transitions as f64),
        over(middle, lag.middle, lag_floor.middle),
        over(figure("lag, 99 of 100", Unit::Milliseconds, lag.p99), p99.0, p99.1),
        figure("inspections", Unit::Count, asked)
            .over(Sample::once(*starts as f64), Sample::once(asked / *starts as f64))
            .aiming_at(Aim::TimesFloor(1.0)),
        figure("other requests", Unit::Count, (requests.lists + requests.streams + requests.others) as f64),
        figure("times that a subscriber lagged", Unit::Count, churn.lagged as f64)
            .aiming_at(Aim::AtMost(0.0)),
        figure("events that the engine did not deliver", Unit::Count, churn.skipped as f64)
            .aiming_at(Aim::AtMost(0.0)),
        figure(
            "allocated at the end by allocated at the beginning",
            Unit::Count,
            churn.bytes.1 / churn.bytes.0,
        )
        .aiming_at(Aim::AtMost(1.01)),
    ]
}
