//! Generates the gRPC code of the workspace by protox and prost, so that no build needs protoc.

mod sets;
mod trim;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use sets::{API, DRIVERS, Set};

/// The text of files by their names.
pub type Files = BTreeMap<PathBuf, String>;

/// The top of the workspace.
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// The folder of a set's code in `whalewatcher-api`.
pub fn folder_in_api(set: &Set) -> PathBuf {
    workspace().join("crates/whalewatcher-api/src/generated").join(set.name)
}

/// Generates the code of a set.
///
/// # Errors
///
/// If the definitions cannot be read or compiled, or do not have what is wanted.
fn generate(set: &Set) -> Result<Files> {
    let definitions = workspace().join(set.definitions);
    let mut compiled = protox::Compiler::new([&definitions])
        .and_then(|mut compiler| {
            compiler.include_imports(true).include_source_info(true).open_files(set.files)?;
            Ok(compiler.file_descriptor_set())
        })
        .with_context(|| format!("cannot compile the definitions in {}", definitions.display()))?;
    trim::trim(&mut compiled, set.calls, set.messages)?;

    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut config = tonic_prost_build::Config::new();
    if set.type_names {
        config.enable_type_names();
    }
    let mut builder = tonic_prost_build::configure()
        .out_dir(folder.path())
        .include_file("mod.rs")
        // The callers connect the channels.
        .build_transport(false)
        .build_server(set.server);
    if set.server {
        builder = builder.server_mod_attribute(".", "#[cfg(feature = \"server\")]");
    }
    builder.compile_fds_with_config(compiled, config).context("cannot generate code")?;
    files_in(folder.path())
}

/// The files of a folder by their names; none where there is no such folder.
///
/// # Errors
///
/// If one cannot be read, or is no text.
fn files_in(folder: &Path) -> Result<Files> {
    let mut files = Files::new();
    if !folder.exists() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(path.file_name().map(PathBuf::from).unwrap_or_default(), text);
    }
    Ok(files)
}

/// Generates the code of a set, and returns what is wrong with the files of a folder, a line each.
///
/// # Errors
///
/// If the code cannot be generated, or a file that is there cannot be read.
pub fn check(set: &Set, folder: &Path) -> Result<Vec<String>> {
    let there = files_in(folder)?;
    let generated = generate(set)?;
    let differs = generated.iter().filter_map(|(name, text)| {
        let path = folder.join(name);
        match there.get(name) {
            None => Some(format!("{} is missing", path.display())),
            Some(other) if other != text => Some(format!("{} is not what is generated now", path.display())),
            Some(_) => None,
        }
    });
    let superfluous = there.keys().filter(|name| !generated.contains_key(*name));
    let superfluous =
        superfluous.map(|name| format!("{} is not generated any more", folder.join(name).display()));
    Ok(differs.chain(superfluous).collect())
}

/// Generates the code of a set, and writes it into a folder in place of what is there.
///
/// # Errors
///
/// If the code cannot be generated, or a file cannot be written or removed.
pub fn write(set: &Set, folder: &Path) -> Result<()> {
    let generated = generate(set)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in files_in(folder)?.into_keys().filter(|name| !generated.contains_key(name)) {
        let path = folder.join(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    for (name, text) in generated {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
