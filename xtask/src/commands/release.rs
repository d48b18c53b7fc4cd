//! `cargo xtask release --dry-run`: whether what is committed can be published as it is.
//!
//! It publishes nothing: CONTRIBUTING.md has the two commands that do.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{DependencyKind, Metadata, Package, Target};
use clap::Args;
use xtask::output::output;

use super::cargo::{SEMVER_CHECKS, cargo, metadata, succeed, workspace};
use super::features::Everything;

/// Which file a package has for a licence that it names.
const LICENCES: [(&str, &str); 2] = [("Apache-2.0", "LICENSE-APACHE"), ("MIT", "LICENSE-MIT")];

/// Where links into the repository point to, below its address.
const BRANCH: &str = "/blob/main/";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Check only: the one thing that this command does
    #[arg(long, required = true)]
    dry_run: bool,
    /// The version to be released, if not that of the workspace
    version: Option<Version>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let Options { dry_run: _, version } = options;
    let metadata: Metadata = metadata()?;
    let packages = published(&metadata);
    let own = &packages.first().context("nothing in this workspace is published")?.version;
    let version = version.as_ref().unwrap_or(own);
    let last = last_tag()?;
    let mut failed = 0;
    let mut check = |name: &str, what: &dyn Fn() -> Result<String>| {
        let start = Instant::now();
        let (verdict, line) = match what() {
            Ok(line) => ("ok", line),
            Err(error) => {
                failed += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        println!("{verdict:<6} {name:<9} {line} ({:.1} s)", start.elapsed().as_secs_f32());
    };
    check("versions", &|| {
        versions(&packages, version)?;
        Ok(format!("{} packages, all {version}, and they require it of each other", packages.len()))
    });
    check("tag", &|| {
        ensure!(last.as_deref() != Some(&format!("v{version}")), "v{version} is tagged already");
        Ok(format!("the last one is {}", last.as_deref().unwrap_or("none")))
    });
    check("changelog", &|| {
        let path = workspace().join("CHANGELOG.md");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(format!("{version} of {}", released_on(&text, version)?))
    });
    check("tree", &|| {
        let changes = git(&["status", "--porcelain"])?;
        ensure!(changes.is_empty(), "the working tree is not clean: commit or remove\n{changes}");
        Ok("nothing but what is committed".to_owned())
    });
    check("contents", &|| {
        packages.iter().try_for_each(|package| contents(package))?;
        Ok("each package has its README, with links that work, and its licences".to_owned())
    });
    check("package", &|| {
        forget_unpacked(&cargo_home()?, &packages)?;
        builds(&packages)?;
        Ok("each package builds from what is in it".to_owned())
    });
    check("semver", &|| {
        let Some(tag) = &last else { return Ok("skipped: no tag to compare with".to_owned()) };
        let mut compared = packages.iter().filter(|package| package.targets.iter().any(Target::is_lib));
        compared.try_for_each(|package| semver(package, tag))?;
        Ok(format!("{version} keeps what {tag} promised"))
    });
    ensure!(failed == 0, "{version} cannot be released: {failed} checks failed");
    println!("{version} can be released");
    Ok(())
}

/// What is published of the workspace.
fn published(metadata: &Metadata) -> Vec<&Package> {
    let all = metadata.packages.iter();
    all.filter(|package| package.publish.as_ref().is_none_or(|registries| !registries.is_empty())).collect()
}

/// All packages have this version, and require it of each other: a release of one is a release of all.
fn versions(packages: &[&Package], version: &Version) -> Result<()> {
    let own = VersionReq::parse(&version.to_string())?;
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        ensure!(package.version == *version, "{} is {}, not {version}", package.name, package.version);
        for dependency in package.dependencies.iter().filter(|one| names.contains(one.name.as_str())) {
            // cargo leaves those without a version out of the package.
            let left_out =
                dependency.kind == DependencyKind::Development && dependency.req == VersionReq::STAR;
            ensure!(
                left_out || dependency.req == own,
                "{} depends on {} {}, not {own}",
                package.name,
                dependency.name,
                dependency.req
            );
        }
    }
    Ok(())
}

/// The date of this version in a changelog.
fn released_on<'a>(changelog: &'a str, version: &Version) -> Result<&'a str> {
    let expected = || format!("CHANGELOG.md has no line `## {version} - YYYY-MM-DD`");
    let heading = format!("## {version} - ");
    let mut lines = changelog.lines().skip_while(|line| !line.starts_with(&heading));
    let date = lines.next().and_then(|line| line.strip_prefix(&heading)).with_context(expected)?;
    let is_date = date.len() == 10
        && date.char_indices().all(|(at, c)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() });
    ensure!(is_date, "{}, but `{date}`", expected());
    let notes = lines.take_while(|line| !line.starts_with("## ")).any(|line| !line.trim().is_empty());
    ensure!(notes, "CHANGELOG.md says nothing about {version}");
    Ok(date)
}

/// The newest tag of a version among the ancestors of what is checked out.
fn last_tag() -> Result<Option<String>> {
    let tags = git(&["tag", "--list", "v[0-9]*", "--merged", "HEAD", "--sort=-version:refname"])?;
    Ok(tags.lines().next().map(str::to_owned))
}

/// A package has a README with links that work anywhere, and the licences that it names.
fn contents(package: &Package) -> Result<()> {
    let mut list = cargo();
    list.args(["package", "--list", "--allow-dirty", "--quiet", "--package", &package.name]);
    let files = output(&mut list)?;
    let folder = package.manifest_path.parent().context("a manifest is in a folder")?;
    let named = package.license.as_deref().context("a package names no licence")?;
    let licences = LICENCES.iter().filter(|(licence, _)| named.contains(licence)).map(|(_, file)| *file);
    for name in licences.clone().chain(["README.md"]) {
        ensure!(files.lines().any(|file| file == name), "{} has no {name}", package.name);
    }
    for name in licences {
        let own = fs::read(folder.join(name))?;
        ensure!(
            own == fs::read(workspace().join(name))?,
            "{name} of {} is not that of the top",
            package.name
        );
    }
    let repository = package.repository.as_deref().context("workspace.package has no repository")?;
    let readme = fs::read_to_string(folder.join("README.md"))?;
    for link in links(&readme) {
        let broken = match link.strip_prefix(repository) {
            Some("") => false,
            Some(rest) => rest.strip_prefix(BRANCH).is_none_or(|path| !workspace().join(path).exists()),
            None => !link.starts_with("https://") || link.contains("/blob/"),
        };
        ensure!(!broken, "README.md of {} links to {link}, which is not there", package.name);
    }
    Ok(())
}

/// Where cargo keeps what it downloads and unpacks.
fn cargo_home() -> Result<PathBuf> {
    let set = env::var_os("CARGO_HOME").map(PathBuf::from);
    set.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).context("no home folder: set CARGO_HOME")
}

/// Removes what cargo unpacked of these packages before. As long as the version is the same, cargo (1.95)
/// builds packages that depend on them with that, whatever has changed since.
fn forget_unpacked(cargo_home: &Path, packages: &[&Package]) -> Result<()> {
    let Ok(registries) = fs::read_dir(cargo_home.join("registry/src")) else { return Ok(()) };
    for registry in registries {
        let registry = registry?;
        // `cargo package` has a registry of its own, in a folder: it has no host before the dash.
        if !registry.file_name().as_encoded_bytes().starts_with(b"-") {
            continue;
        }
        for package in packages {
            let unpacked = registry.path().join(format!("{}-{}", package.name, package.version));
            if unpacked.exists() {
                fs::remove_dir_all(&unpacked)
                    .with_context(|| format!("cannot remove {}", unpacked.display()))?;
            }
        }
    }
    Ok(())
}

/// Each package builds from what is in it, without a warning.
fn builds(packages: &[&Package]) -> Result<()> {
    // By name: cargo cannot package what depends on what is not published.
    let names = packages.iter().flat_map(|package| ["--package", &package.name]);
    let done = cargo()
        .args(["package", "--locked", "--allow-dirty"])
        .args(names)
        .output()
        .context("cannot start cargo")?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "`cargo package` failed ({}):\n{}", done.status, said.trim());
    let warnings: Vec<&str> = said.lines().filter(|line| line.starts_with("warning")).collect();
    ensure!(warnings.is_empty(), "`cargo package` warns:\n{}", warnings.join("\n"));
    Ok(())
}

/// Where the inline links of a text in Markdown lead to.
fn links(markdown: &str) -> impl Iterator<Item = &str> {
    markdown.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link)
}

/// Compares the API of a package with that at a tag, if it was there.
fn semver(package: &Package, tag: &str) -> Result<()> {
    let manifest = package.manifest_path.strip_prefix(workspace())?.as_str();
    if git(&["ls-tree", tag, "--", manifest])?.is_empty() {
        return Ok(());
    }
    let mut command = SEMVER_CHECKS.ready()?;
    Everything::load()?.with_protoc(&mut command);
    command.args(["--package", &package.name, "--baseline-rev", tag, "--all-features"]);
    succeed(&mut command)
}

/// What git prints at the top of the workspace.
fn git(arguments: &[&str]) -> Result<String> {
    output(Command::new("git").current_dir(workspace()).args(arguments))
}

#[cfg(test)]
mod tests {
    use cargo_metadata::MetadataCommand;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    /// Judges a workspace of two packages at 0.2.0, of which one depends on the other like this.
    fn judged(dependency: &str) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let manifest = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.join("src")).unwrap();
            fs::write(path.join("src/lib.rs"), "").unwrap();
            fs::write(path.join("Cargo.toml"), text).unwrap();
        };
        manifest("lower", "[package]\nname = 'lower'\nversion = '0.2.0'\n");
        manifest("upper", &format!("[package]\nname = 'upper'\nversion = '0.2.0'\n{dependency}\n"));
        fs::write(folder.path().join("Cargo.toml"), "[workspace]\nmembers = ['lower', 'upper']\n").unwrap();
        let metadata = MetadataCommand::new().current_dir(folder.path()).no_deps().exec().unwrap();
        versions(&published(&metadata), &version("0.2.0"))
    }

    #[test]
    fn packages_require_the_version_that_is_released_of_each_other() {
        judged("[dependencies]\nlower = { path = '../lower', version = '0.2.0' }").unwrap();
        judged("[dev-dependencies]\nlower = { path = '../lower' }").unwrap();
        for other in [
            "[dependencies]\nlower = { path = '../lower', version = '0.2' }",
            "[dependencies]\nlower = { path = '../lower' }",
            "[dev-dependencies]\nlower = { path = '../lower', version = '>=0.1' }",
        ] {
            let error = judged(other).unwrap_err().to_string();
            assert!(error.starts_with("upper depends on lower "), "{error}");
        }
    }

    #[test]
    fn packages_that_are_not_published_do_not_count() {
        judged("publish = false\n[dependencies]\nlower = { path = '../lower' }").unwrap();
    }

    #[test]
    fn a_release_has_a_date_and_notes_in_the_changelog() {
        let dated = |text| released_on(text, &version("0.2.0"));
        assert_eq!(dated("# Changelog\n\n## 0.2.0 - 2026-02-03\n\nFaster.\n").unwrap(), "2026-02-03");
        for text in [
            "## Unreleased\n\nFaster.\n",
            "## 0.2.0 - unreleased\n\nFaster.\n",
            "## 0.2.0\n\nFaster.\n",
            "## 0.2.0-rc.1 - 2026-02-03\n\nFaster.\n",
            "## 0.2.0 - 2026-02-03\n\n## 0.1.0 - 2026-01-02\n\nFirst.\n",
        ] {
            assert!(dated(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_cargo_unpacked_of_these_packages_before_is_removed_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let metadata: Metadata = metadata().unwrap();
        let packages = published(&metadata);
        let own = format!("{}-{}", packages[0].name, packages[0].version);
        let folder = |registry: &str, name: &str| {
            let path = home.path().join("registry/src").join(registry).join(name);
            fs::create_dir_all(path.join("src")).unwrap();
            path
        };
        let stale = folder("-2aa55195", &own);
        let others = [folder("-2aa55195", "other-0.1.0"), folder("index-1949cf8c", &own)];
        forget_unpacked(home.path(), &packages).unwrap();
        assert!(!stale.exists());
        assert!(others.iter().all(|path| path.exists()), "{others:?}");
        forget_unpacked(&home.path().join("nothing"), &packages).unwrap();
    }

    #[test]
    fn links_are_found_in_markdown() {
        let text = "[a](https://a), `[b]` and [c](docs/c.md#d).\n[e](f)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["https://a", "docs/c.md#d", "f"]);
    }

    #[test]
    fn every_package_of_this_workspace_is_complete() {
        let metadata: Metadata = metadata().unwrap();
        let packages = published(&metadata);
        versions(&packages, &packages[0].version).unwrap();
        for package in packages {
            contents(package).unwrap();
        }
    }
}
