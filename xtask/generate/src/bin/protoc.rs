//! A stand-in for protoc on machines without it, for builds that take `PROTOC` from the environment: it compiles
//! definitions into a descriptor set, which is all that prost-build wants of it.
#![allow(clippy::print_stderr, reason = "a program for the terminal")]

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use prost::Message as _;

/// Compile definitions in the language of Protocol Buffers into a descriptor set
#[derive(Debug, Parser)]
#[command(name = "protoc")]
struct Arguments {
    /// Put imported definitions into the set too
    #[arg(long = "include_imports")]
    imports: bool,
    /// Keep comments
    #[arg(long = "include_source_info")]
    source_info: bool,
    /// Without effect: optional fields are understood anyway
    #[arg(long = "experimental_allow_proto3_optional")]
    optional: bool,
    /// Where to write the set
    #[arg(short = 'o', long = "descriptor_set_out", value_name = "FILE")]
    output: PathBuf,
    /// A folder with definitions
    #[arg(short = 'I', long = "proto_path", value_name = "DIR")]
    includes: Vec<PathBuf>,
    /// What to compile
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let mut compiler = protox::Compiler::new(&arguments.includes)?;
    compiler.include_imports(arguments.imports).include_source_info(arguments.source_info);
    let set = compiler.open_files(&arguments.files)?.file_descriptor_set();
    let output = &arguments.output;
    fs::write(output, set.encode_to_vec()).with_context(|| format!("cannot write {}", output.display()))
}
