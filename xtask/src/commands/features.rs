//! The features that the checks of the whole workspace turn on: every one that there is but the one that
//! cannot be built together with the rest.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use super::cargo::{cargo, metadata, succeed, target_folder};

/// Builds a program of the same name as the package `whalewatcher-cli` does, in three lines. The check of
/// each feature alone has it.
const PROGRAM: &str = "whalewatcher/cli";

/// Names the program that the build script of containerd-client runs.
const PROTOC: &str = "PROTOC";

/// Everything in the workspace, for cargo commands.
#[derive(Debug)]
pub(crate) struct Everything {
    packages: Packages,
    /// `None` if the environment names one.
    protoc: Option<PathBuf>,
}

/// The packages of the workspace, as `cargo metadata` prints them.
#[derive(Debug, Deserialize)]
struct Packages {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    features: BTreeMap<String, Vec<String>>,
}

impl Everything {
    /// Asks cargo for the features, and builds the protoc of `whalewatcher-generate`, unless `PROTOC` names another.
    pub(crate) fn load() -> Result<Everything> {
        let packages: Packages = metadata()?;
        if env::var_os(PROTOC).is_some_and(|program| !program.is_empty()) {
            return Ok(Everything { packages, protoc: None });
        }
        // With the features of the rest, which is built next.
        succeed(cargo().args(["build", "--quiet", "--bin", "protoc"]).args(packages.together()))?;
        Ok(Everything { packages, protoc: Some(target_folder()?.join("debug/protoc")) })
    }

    /// Has a command turn on all features that can be built together.
    pub(crate) fn of<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        self.with_protoc(command).args(self.packages.together())
    }

    /// Has a command find protoc.
    pub(crate) fn with_protoc<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.protoc.iter().map(|program| (PROTOC, program)))
    }
}

impl Packages {
    fn together(&self) -> [String; 3] {
        let of = |package: &Package| {
            package.features.keys().map(|name| format!("{}/{name}", package.name)).collect::<Vec<_>>()
        };
        let features = self.packages.iter().flat_map(of).filter(|feature| feature != PROGRAM);
        ["--workspace".to_owned(), "--features".to_owned(), features.collect::<Vec<_>>().join(",")]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_turned_on_but_for_that_of_a_second_program() {
        let text = r#"{"packages": [
            {"name": "whalewatcher", "features": {"cli": ["dep:clap"], "tls": []}},
            {"name": "whalewatcher-cli", "features": {"top": []}},
            {"name": "whalewatcher-new", "features": {"cli": [], "new": []}}
        ]}"#;
        let packages: Packages = serde_json::from_str(text).unwrap();
        let together = "whalewatcher/tls,whalewatcher-cli/top,whalewatcher-new/cli,whalewatcher-new/new";
        assert_eq!(packages.together(), ["--workspace", "--features", together]);
    }
}
