//! The image that the tests' containers run: one static busybox and links to it, written as a tar by ourselves,
//! for no registry can be reached.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// How the image is called, where an engine wants no registry in front of it.
pub const TEST_IMAGE: &str = "whalewatcher-test:latest";

/// What a container of the image runs by default: it stays until it receives a signal, then ends at once with
/// exit code 0.
pub const TEST_COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 0' TERM INT; sleep 1000000 & wait"];

const LINKS: [&str; 32] = [
    "cat", "chmod", "cp", "date", "dd", "echo", "env", "expr", "false", "grep", "head", "hostname", "id",
    "kill", "ln", "ls", "mkdir", "mv", "nc", "ps", "pwd", "rm", "sed", "seq", "sh", "sleep", "tail", "test",
    "touch", "true", "uname", "wc",
];

const FOLDERS: [(&str, u32); 7] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("sys", 0o555),
    ("tmp", 0o1777),
];

/// The root file system as a tar. The same busybox gives the same bytes.
///
/// # Errors
///
/// When busybox cannot be read.
pub fn root_file_system(busybox: &Path) -> Result<Vec<u8>> {
    let program = fs::read(busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let mut archive = Builder::new(Vec::with_capacity(program.len() + 64 * 1024));
    let mut write = || -> std::io::Result<()> {
        for (name, mode) in FOLDERS {
            archive.append_data(&mut header(EntryType::Directory, mode, 0), format!("{name}/"), &[][..])?;
        }
        let size = program.len() as u64;
        archive.append_data(&mut header(EntryType::Regular, 0o755, size), "bin/busybox", &program[..])?;
        for name in LINKS {
            let mut link = header(EntryType::Symlink, 0o777, 0);
            archive.append_link(&mut link, format!("bin/{name}"), "busybox")?;
        }
        let users = b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
        let size = users.len() as u64;
        archive.append_data(&mut header(EntryType::Regular, 0o644, size), "etc/passwd", &users[..])
    };
    write().context("cannot write the test image")?;
    archive.into_inner().context("cannot finish the test image")
}

/// An image of that root file system under several names, as an archive in the format of `docker save`.
/// Without a command of its own a container of it sleeps, as the image of a sandbox has to.
///
/// # Errors
///
/// When busybox cannot be read.
pub(crate) fn image_archive(busybox: &Path, names: &[&str]) -> Result<Vec<u8>> {
    let layer = root_file_system(busybox)?;
    let digest: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": ["/bin/sleep", "1000000"], "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": names, "Layers": ["layer.tar"] }]);
    let mut archive = Builder::new(Vec::with_capacity(layer.len() + 64 * 1024));
    let mut write = |name: &str, content: &[u8]| {
        let size = content.len() as u64;
        archive.append_data(&mut header(EntryType::Regular, 0o644, size), name, content)
    };
    write("layer.tar", &layer)
        .and_then(|()| write("config.json", config.to_string().as_bytes()))
        .and_then(|()| write("manifest.json", manifest.to_string().as_bytes()))
        .context("cannot write the archive of the test image")?;
    archive.into_inner().context("cannot finish the archive of the test image")
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
