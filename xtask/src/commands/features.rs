//! The features that the checks of the whole workspace turn on: every one that there is but those that cannot be built
//! together with the rest.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Deserialize;

use super::cargo::metadata;

/// Features that are checked by themselves, and why. A feature that turns one of them on belongs here, too.
const APART: [Feature<'static>; 2] = [
    // It needs protoc.
    Feature { package: "whalewatcher-containerd", name: "containerd-client" },
    // It builds a program of the same name as `whalewatcher-cli` does.
    Feature { package: "whalewatcher", name: "cli" },
];

/// A feature of a package of the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature<'a> {
    pub(crate) package: &'a str,
    pub(crate) name: &'a str,
}

/// The packages of the workspace, as `cargo metadata` prints them.
#[derive(Debug, Deserialize)]
pub(crate) struct Packages {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    features: BTreeMap<String, Vec<String>>,
}

impl Packages {
    /// Asks cargo for them.
    pub(crate) fn load() -> Result<Packages> {
        metadata()
    }

    /// The arguments by which cargo turns on all features that can be built together.
    pub(crate) fn together(&self) -> [String; 3] {
        let names = self.features().filter(|feature| !APART.contains(feature));
        let names: Vec<_> = names.map(|Feature { package, name }| format!("{package}/{name}")).collect();
        ["--workspace".to_owned(), "--features".to_owned(), names.join(",")]
    }

    /// The features that are checked by themselves.
    pub(crate) fn apart(&self) -> impl Iterator<Item = Feature<'_>> {
        self.features().filter(|feature| APART.contains(feature))
    }

    fn features(&self) -> impl Iterator<Item = Feature<'_>> {
        self.packages
            .iter()
            .flat_map(|package| package.features.keys().map(|name| Feature { package: &package.name, name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_either_built_with_the_rest_or_apart() {
        let text = r#"{"packages": [
            {"name": "whalewatcher", "features": {"cli": ["dep:clap"], "tls": []}},
            {"name": "whalewatcher-cli", "features": {}},
            {"name": "whalewatcher-new", "features": {"cli": [], "new": []}}
        ]}"#;
        let packages: Packages = serde_json::from_str(text).unwrap();
        let together = "whalewatcher/tls,whalewatcher-new/cli,whalewatcher-new/new";
        assert_eq!(packages.together(), ["--workspace", "--features", together]);
        let apart: Vec<_> = packages.apart().collect();
        assert_eq!(apart, [Feature { package: "whalewatcher", name: "cli" }]);
    }
}
