//! `cargo xtask words`: finds phrases in Rust, with its identifiers, and in Markdown that technical English
//! has plainer words for.

mod phrases;
mod prose;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::phrases::{ALLOWED, EXCLUDED, Phrase};
use super::cargo::workspace;

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Print the number of finds in each folder only
    #[arg(long)]
    counts: bool,
    /// Check only files whose path begins with one of these
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
}

/// A phrase in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Find {
    /// Relative to the top of the workspace.
    path: String,
    line: usize,
    text: String,
    instead: &'static str,
}

/// Checks the files of the workspace.
///
/// # Errors
///
/// Fails if there is a find.
pub(crate) fn run(options: &Options) -> Result<()> {
    let chosen = |path: &String| {
        options.paths.is_empty() || options.paths.iter().any(|prefix| path.starts_with(prefix.as_str()))
    };
    let mut finds = Vec::new();
    let mut counts = BTreeMap::<String, usize>::new();
    for path in files()?.into_iter().filter(chosen) {
        let text =
            fs::read_to_string(workspace().join(&path)).with_context(|| format!("cannot read {path}"))?;
        let found = finds_in(&path, &text);
        if !found.is_empty() {
            *counts.entry(folder(&path)).or_default() += found.len();
        }
        finds.extend(found);
    }
    if !options.counts {
        for Find { path, line, text, instead } in &finds {
            println!("{path}:{line}: \"{text}\": write {instead}");
        }
    }
    for (folder, count) in &counts {
        println!("{count:5} {folder}");
    }
    ensure!(finds.is_empty(), "{} phrases to replace", finds.len());
    Ok(())
}

/// Checks one file.
fn finds_in(path: &str, text: &str) -> Vec<Find> {
    let find = |(phrase, line, text): (&'static Phrase, usize, String)| Find {
        path: path.to_owned(),
        line,
        text,
        instead: phrase.instead,
    };
    prose::finds(text, has_extension(path, "rs"))
        .into_iter()
        .map(find)
        .filter(|find| !find.is_allowed())
        .collect()
}

impl Find {
    fn is_allowed(&self) -> bool {
        let text = self.text.to_lowercase();
        ALLOWED.iter().any(|(path, phrase)| self.path.ends_with(path) && text == *phrase)
    }
}

/// Lists the files to check, relative to the top of the workspace.
fn files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = workspace().join(&folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if is_checked(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn is_checked(path: &str) -> bool {
    (has_extension(path, "rs") || has_extension(path, "md"))
        && !EXCLUDED.iter().any(|part| path.contains(part))
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path).extension().is_some_and(|own| own == extension)
}

/// The package that a file belongs to, or its folder.
fn folder(path: &str) -> String {
    let depth = match path.split('/').next() {
        Some("crates" | "xtask" | "testing") => 2,
        _ => 1,
    };
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let parts: Vec<_> = folders.split('/').take(depth).collect();
    if folders.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<(usize, String)> {
        finds_in(path, text).into_iter().map(|find| (find.line, find.text)).collect()
    }

    #[test]
    fn comments_strings_and_identifiers_are_checked() {
        let text = "/// Tells all.\nfn what_was_told() {\n    let told = \"an exit is\\\n        told twice\"; // in\n    // vain\n}\n";
        let expected = [(1, "Tells"), (2, "told"), (3, "told"), (4, "told"), (4, "in vain")];
        assert_eq!(lines("a.rs", text), expected.map(|(line, text)| (line, text.to_owned())));
        assert_eq!(lines("a.rs", "/// In\n/// vain.\n"), [(1, "In vain".to_owned())]);
        assert_eq!(lines("a.rs", "\"in \\\n    vain\""), [(1, "in vain".to_owned())]);
    }

    #[test]
    fn markdown_is_checked_but_for_code() {
        let text = "Of\nlate `told` it\n\n```rust\ntold();\n```\nis told.\n";
        assert_eq!(lines("a.md", text), [(1, "Of late".to_owned()), (7, "told".to_owned())]);
    }

    #[test]
    fn a_lone_backtick_hides_nothing() {
        let text = "A ` is told.\nA `told\ntold` told.\n";
        assert_eq!(lines("a.md", text), [1, 2, 3, 3].map(|line| (line, "told".to_owned())));
        assert_eq!(lines("a.rs", "// `a\n// b` told\n"), [(2, "told".to_owned())]);
    }

    #[test]
    fn words_must_be_whole() {
        assert_eq!(lines("a.md", "A warfare of the whole."), []);
    }

    #[test]
    fn generated_code_and_licences_are_not_checked() {
        assert!(is_checked("crates/a/src/lib.rs"));
        assert!(is_checked("docs/testing.md"));
        assert!(!is_checked("crates/whalewatcher-api/src/generated/cri/mod.rs"));
        assert!(!is_checked("CHANGELOG.md"));
        assert!(!is_checked("LICENSE-MIT"));
    }

    #[test]
    fn finds_are_counted_by_package() {
        assert_eq!(folder("crates/a/src/b/c.rs"), "crates/a");
        assert_eq!(folder("docs/testing.md"), "docs");
        assert_eq!(folder("README.md"), ".");
    }
}
