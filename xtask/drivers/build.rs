//! Generates the clients of containerd's API and the CRI.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use whalewatcher_generate::{DRIVERS, workspace, write};

fn main() -> Result<()> {
    let output = PathBuf::from(env::var_os("OUT_DIR").context("cargo names no folder")?);
    for set in &DRIVERS {
        write(set, &output.join(set.name))?;
        println!("cargo::rerun-if-changed={}", workspace().join(set.definitions).display());
    }
    Ok(())
}
