//! Everything that a person or CI runs besides cargo itself.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#![allow(clippy::disallowed_types, reason = "blocking code: there is no tokio whose clock could be paused")]

mod commands;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{
    bench, deb, engines, explore, fuzz, generate, integration, mutants, release, soak, test, words,
};

/// Everything that a person or CI runs besides cargo itself
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The tests and the scenarios that have to pass before a change is taken
    Test(test::Options),
    /// Formatting, lints, documentation, licences and features: what needs nothing to run
    Lint(test::Choice),
    /// Find phrases in code and documents that technical English has plainer words for
    Words(words::Options),
    /// The scenarios against real engines
    Integration(integration::Options),
    /// The endurance run: churn and faults on a real engine, for minutes or hours
    ///
    /// Every minute a line of a table is printed. It fails if the portfolio or a subscriber's events are wrong, or if
    /// descriptors, tasks or memory grow.
    Soak(soak::Options),
    /// Many more interleavings on the reconciler than the tests have time for
    Explore(explore::Options),
    /// Odd and broken input for the decoders, for as long as you like
    Fuzz(fuzz::Options),
    /// Check that the tests notice each small change that cargo-mutants makes
    Mutants(mutants::Options),
    /// How fast it is: figures, each next to the least that the engine or the machine makes anyone pay
    Bench(bench::Options),
    /// Write the gRPC code of `whalewatcher-api`, from the definitions that are beside it
    Generate(generate::Options),
    /// Whether what is committed can be published as it is
    Release(release::Options),
    /// The program as a Debian package, in the target folder
    Deb(deb::Options),
    /// Fetch real engines from Debian's packages, and run private instances of them
    #[command(subcommand)]
    Engines(engines::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = |()| ExitCode::SUCCESS;
    let outcome = xtask::interrupt::clean_up_on_signals().and_then(|()| match arguments.command {
        Command::Test(options) => test::run(&options),
        Command::Lint(choice) => test::lint(&choice),
        Command::Words(options) => words::run(&options).map(done),
        Command::Integration(options) => integration::run(&options).map(done),
        Command::Soak(options) => soak::run(&options).map(done),
        Command::Explore(options) => explore::run(&options).map(done),
        Command::Fuzz(options) => fuzz::run(&options).map(done),
        Command::Mutants(options) => mutants::run(&options).map(done),
        Command::Bench(options) => bench::run(&options).map(done),
        Command::Generate(options) => generate::run(&options).map(done),
        Command::Release(options) => release::run(&options).map(done),
        Command::Deb(options) => deb::run(&options).map(done),
        Command::Engines(command) => engines::run(&command),
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
