//! Generates the gRPC code of the workspace by protox and prost, so that no build needs protoc.

mod sets;
mod trim;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use sets::{SETS, Set};

/// Files by their paths, which begin at the top of the workspace.
pub type Files = BTreeMap<PathBuf, String>;

/// The top of the workspace.
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// Generates the code of a set.
///
/// # Errors
///
/// If the definitions cannot be read or compiled, or do not have what is wanted.
pub fn generate(set: &Set) -> Result<Files> {
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
    let output = Path::new(set.output);
    let files = files_in(folder.path())?.into_iter();
    Ok(files.map(|(name, text)| (output.join(name), text)).collect())
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

/// Generates the code of a set, and returns what is wrong with the files that are there, a line each.
///
/// # Errors
///
/// As [`generate`], or if a file that is there cannot be read.
pub fn check(set: &Set) -> Result<Vec<String>> {
    let output = Path::new(set.output);
    let there = files_in(&workspace().join(output))?.into_iter();
    let there: Files = there.map(|(name, text)| (output.join(name), text)).collect();
    let generated = generate(set)?;
    let differs = generated.iter().filter_map(|(path, text)| match there.get(path) {
        None => Some(format!("{} is missing", path.display())),
        Some(other) if other != text => Some(format!("{} is not what is generated now", path.display())),
        Some(_) => None,
    });
    let superfluous = there.keys().filter(|path| !generated.contains_key(*path));
    Ok(differs
        .chain(superfluous.map(|path| format!("{} is not generated any more", path.display())))
        .collect())
}

/// Generates the code of a set, and writes it in place of what is there.
///
/// # Errors
///
/// As [`generate`], or if a file cannot be written or removed.
pub fn write(set: &Set) -> Result<()> {
    let generated = generate(set)?;
    let output = workspace().join(set.output);
    fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
    for name in files_in(&output)?.into_keys() {
        if !generated.contains_key(&Path::new(set.output).join(&name)) {
            let path = output.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for (path, text) in generated {
        let path = workspace().join(path);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
