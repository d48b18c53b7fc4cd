//! The code that is checked in is what the definitions give, and these are the published ones.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use whalewatcher_generate::{API, check, folder_in_api, workspace};

#[test]
fn checked_in_code_is_what_is_generated() {
    for set in &API {
        let wrong = check(set, &folder_in_api(set)).unwrap();
        assert!(wrong.is_empty(), "run `cargo xtask generate`: {wrong:#?}");
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    package: String,
    version: String,
    /// In the package.
    folder: String,
    /// The SHA-256 of each file, by its path from the folder of the definitions on.
    files: BTreeMap<PathBuf, String>,
}

#[test]
fn definitions_are_those_of_the_named_packages() {
    let folder = workspace().join("crates/whalewatcher-api/proto");
    let text = fs::read_to_string(folder.join("provenance.json")).unwrap();
    let origins: Vec<Origin> = serde_json::from_str(&text).unwrap();
    let notice = fs::read_to_string(workspace().join("crates/whalewatcher-api/NOTICE")).unwrap();
    for Origin { package, version, folder, .. } in &origins {
        assert!(
            notice.contains(&format!("from {package} {version}")),
            "NOTICE does not name {package} {version}"
        );
        assert!(!folder.is_empty(), "{package}");
    }
    let recorded: BTreeMap<_, _> = origins.into_iter().flat_map(|origin| origin.files).collect();
    let mut there = BTreeMap::new();
    add_definitions(&folder, &folder, &mut there).unwrap();
    assert_eq!(there, recorded);
}

/// Every definition below a folder, and its SHA-256.
fn add_definitions(top: &Path, folder: &Path, definitions: &mut BTreeMap<PathBuf, String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_definitions(top, &path, definitions)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            let digest = Sha256::digest(fs::read(&path)?);
            let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = path.strip_prefix(top).map_err(io::Error::other)?;
            definitions.insert(name.to_owned(), digest);
        }
    }
    Ok(())
}
