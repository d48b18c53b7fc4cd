//! `cargo xtask deb`: the program as a Debian package, by dpkg's own tools.
//!
//! The package follows from the program and the commit alone: with the same ones, it is the same, byte by byte.

mod check;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::Metadata;
use clap::Args;
use xtask::output::output;

use self::check::check;
use super::cargo::{cargo, metadata, succeed, target_folder, workspace};
use super::features::Everything;

const NAME: &str = "whalewatcher";

/// The program in the folder of the package, and its largest size in bytes.
const INSTALLED: &str = "tree/usr/bin/whalewatcher";
const LARGEST: u64 = 12_000_000;

/// The package that builds the program.
const PROGRAM: &str = "whalewatcher-cli";

const MAINTAINER: &str = "The whalewatcher authors <whalewatcher-rs@users.noreply.github.com>";

const DESCRIPTION: &str = "Description: shows which containers are alive, and every change as it happens
 Lists the containers of Docker, podman, containerd and CRI runtimes that have
 a process, and follows the engines' events. After a lost connection or a
 restart of an engine it prints exactly what changed meanwhile.
";

/// What the package does not enable.
const UNITS: [&str; 4] = [
    "whalewatcher-journal.service",
    "whalewatcher-publish.service",
    "whalewatcher.service",
    "whalewatcher.socket",
];

/// How well dpkg-deb compresses: a large program takes it ten seconds at best.
const BEST: &str = "-z9";
const FASTEST: &str = "-z0";

/// The time to which all times in a package are cut, as the tools of reproducible builds define it.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Package the program as the tests have it, twice, then install it into a root with nothing but what it
    /// depends on, run it there and remove it; needs root
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check {
        return check_in_clean_root();
    }
    succeed(cargo().args(["build", "--profile", "dist", "--package", PROGRAM]))?;
    let target = target_folder()?;
    let folder = target.join("debian");
    let package = Deb::new()?.build(&target.join("dist").join(NAME), &folder, BEST)?;
    let size = fs::metadata(folder.join(INSTALLED))?.len();
    println!("{} with a program of {:.1} MB", package.display(), size as f64 / 1e6);
    ensure!(size < LARGEST, "the program has {size} bytes: it has to stay below {LARGEST}");
    Ok(())
}

/// Checks the package of the program that the tests build anyway: a release build takes minutes.
pub(crate) fn check_in_clean_root() -> Result<()> {
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--no-run", "--test", "program"]);
    succeed(Everything::load()?.of(&mut tests))?;
    let target = target_folder()?;
    let (deb, program) = (Deb::new()?, target.join("debug").join(NAME));
    let [package, again] =
        ["debian/check", "debian/again"].map(|folder| deb.build(&program, &target.join(folder), FASTEST));
    let (package, again) = (package?, again?);
    ensure!(fs::read(&package)? == fs::read(&again)?, "{} differs when built again", package.display());
    check(&package, &deb.version, &target.join("debian"))
}

/// What is the same for each program.
struct Deb {
    /// That of the program.
    version: String,
    architecture: String,
    /// The seconds of [`EPOCH`].
    epoch: String,
}

impl Deb {
    fn new() -> Result<Self> {
        let metadata: Metadata = metadata()?;
        let program = metadata.packages.iter().find(|package| package.name == PROGRAM);
        let epoch = match env::var(EPOCH) {
            Ok(epoch) => epoch,
            Err(_) => {
                output(Command::new("git").current_dir(workspace()).args(["log", "-1", "--format=%ct"]))?
            }
        };
        Ok(Self {
            version: program.context("the program is no package")?.version.to_string(),
            architecture: output(Command::new("dpkg").arg("--print-architecture"))?.trim().to_owned(),
            epoch: epoch.trim().to_owned(),
        })
    }

    /// Packages a program into a folder, which is emptied before.
    fn build(&self, program: &Path, folder: &Path, compression: &str) -> Result<PathBuf> {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        let tree = folder.join("tree");
        self.stage(program, &tree)?;
        let control = self.control(&tree, folder)?;
        write(&tree.join("DEBIAN/md5sums"), &md5sums(&tree)?)?;
        write(&tree.join("DEBIAN/control"), &control)?;
        set_modes(&tree)?;
        let path = folder.join(format!("{NAME}_{}-1_{}.deb", self.version, self.architecture));
        let mut build = Command::new("dpkg-deb");
        build
            .env(EPOCH, &self.epoch)
            .args([compression, "--root-owner-group", "--build"])
            .arg(&tree)
            .arg(&path);
        output(&mut build)?;
        Ok(path)
    }

    /// Puts the files where they will be.
    fn stage(&self, program: &Path, tree: &Path) -> Result<()> {
        let share = tree.join("usr/share");
        let [bin, man, doc] = [tree.join("usr/bin"), share.join("man/man1"), share.join("doc").join(NAME)];
        for folder in [&bin, &man, &doc] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // The program in a package has no names for debuggers.
        output(Command::new("strip").arg("-o").arg(bin.join(NAME)).arg(program))?;
        output(Command::new(program).arg("man").arg(&man))?;
        for (shell, path) in [
            ("bash", "bash-completion/completions/whalewatcher"),
            ("fish", "fish/vendor_completions.d/whalewatcher.fish"),
            ("zsh", "zsh/vendor-completions/_whalewatcher"),
        ] {
            let script = output(Command::new(program).args(["completions", shell]))?;
            write(&share.join(path), &script)?;
        }
        let own = workspace().join("xtask/deb");
        for unit in UNITS {
            write(&tree.join("usr/lib/systemd/system").join(unit), &fs::read_to_string(own.join(unit))?)?;
        }
        let licence = fs::read_to_string(workspace().join("LICENSE-MIT"))?;
        let copyright = fs::read_to_string(own.join("copyright"))? + &indented(&licence);
        write(&doc.join("copyright"), &copyright)?;
        write(&doc.join("libraries"), &libraries()?)?;
        write(&doc.join("changelog"), &fs::read_to_string(workspace().join("CHANGELOG.md"))?)?;
        write(&doc.join("changelog.Debian"), &self.changelog()?)?;
        let mut compressed = vec![doc.join("changelog"), doc.join("changelog.Debian")];
        for page in fs::read_dir(&man)? {
            compressed.push(page?.path());
        }
        output(Command::new("gzip").args(["--best", "--no-name"]).args(compressed)).map(drop)
    }

    fn changelog(&self) -> Result<String> {
        let mut date = Command::new("date");
        let date =
            output(date.env("LC_ALL", "C").args(["--utc", "--rfc-email"]).arg(format!("-d@{}", self.epoch)))?;
        let version = &self.version;
        Ok(format!(
            "{NAME} ({version}-1) unstable; urgency=medium\n\n  * Version {version}, whose changes are in changelog.gz.\n\n -- {MAINTAINER}  {date}"
        ))
    }

    /// Returns the fields of the package. Debian's tool finds out which libraries the program needs; it wants
    /// a source package.
    fn control(&self, tree: &Path, folder: &Path) -> Result<String> {
        let Self { version, architecture, .. } = self;
        write(
            &folder.join("debian/control"),
            &format!("Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n"),
        )?;
        let mut depends = Command::new("dpkg-shlibdeps");
        depends.current_dir(folder).arg("-O").arg(tree.join("usr/bin").join(NAME));
        let depends = output(&mut depends).context("cannot find its libraries (apt-get install dpkg-dev)")?;
        let depends =
            depends.trim().strip_prefix("shlibs:Depends=").context("dpkg-shlibdeps prints no fields")?;
        let size = output(
            Command::new("du").args(["--summarize", "--apparent-size", "--block-size=1024"]).arg(tree),
        )?;
        let size = size.split_whitespace().next().unwrap_or_default();
        Ok(format!(
            "Package: {NAME}\nVersion: {version}-1\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n\
             Installed-Size: {size}\nDepends: {depends}\nSuggests: openssh-client\nSection: admin\nPriority: optional\n\
             Homepage: https://github.com/whalewatcher-rs/whalewatcher\n{DESCRIPTION}"
        ))
    }
}

/// Returns the libraries in the program, with their licences.
fn libraries() -> Result<String> {
    let mut tree = cargo();
    tree.args(["tree", "--package", PROGRAM, "--edges", "normal", "--prefix", "none", "--no-dedupe"]);
    let tree = output(tree.args(["--format", "{p} {l}"]))?;
    // Those of this workspace have their folder.
    let mut lines: Vec<_> = tree.lines().filter(|line| !line.starts_with(NAME)).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.join("\n") + "\n")
}

/// Returns a text as part of a field.
fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") }).collect()
}

/// Returns the checksums by which dpkg verifies an installed package.
fn md5sums(tree: &Path) -> Result<String> {
    let mut files = files(tree)?;
    files.sort();
    output(Command::new("md5sum").current_dir(tree).args(files))
}

/// Returns all files below a folder, by their paths from there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path().strip_prefix(folder)?.to_owned());
            }
        }
    }
    Ok(files)
}

/// Makes everything readable, whatever the umask is, and the program executable.
fn set_modes(tree: &Path) -> Result<()> {
    let set = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode))
            .with_context(|| format!("cannot change {}", path.display()))
    };
    let program = Path::new("usr/bin").join(NAME);
    for file in files(tree)? {
        set(&tree.join(&file), if file == program { 0o755 } else { 0o644 })?;
        file.ancestors().skip(1).try_for_each(|folder| set(&tree.join(folder), 0o755))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let parent = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
