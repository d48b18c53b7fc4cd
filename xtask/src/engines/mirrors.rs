//! The mirrors of Debian's archive that the host uses. No mirror is named here: a host may reach only its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::output::output;

/// What Debian's releases are called.
const SUITES: &str =
    "bullseye bookworm trixie forky duke sid oldoldstable oldstable stable testing unstable rc-buggy";

/// Debian's keyring on a Debian host.
pub(crate) const HOST_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A mirror of Debian's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Of the archive itself.
    archive: String,
    /// Of the archive of security updates, where the host has one.
    security: Option<String>,
}

impl Mirror {
    /// Returns the mirrors in the host's sources. Mirrors of other vendors may be among them: their signatures are not
    /// Debian's.
    ///
    /// # Errors
    ///
    /// Fails if there is no apt, or none of its sources has the name of a release of Debian.
    pub(crate) fn of_host(folder: &Path) -> Result<Vec<Mirror>> {
        // With empty lists, apt prints the URIs of all of them.
        let lists = folder.join("no-lists");
        fs::create_dir_all(lists.join("partial"))
            .with_context(|| format!("cannot make {}", lists.display()))?;
        let mut apt = Command::new("apt-get");
        apt.args(["update", "--print-uris", "-o"]).arg(format!("Dir::State::lists={}", lists.display()));
        let uris = output(&mut apt).context("packages can be fetched on Debian only")?;
        let mirrors = mirrors_in(&uris);
        ensure!(
            !mirrors.is_empty(),
            "none of this host's apt sources is Debian's archive: packages can be fetched on Debian only"
        );
        Ok(mirrors)
    }

    /// A sources file that names one release at this mirror.
    pub(crate) fn sources_list(&self, codename: &str, keyring: &Path) -> String {
        let options = format!("deb [signed-by={}]", keyring.display());
        let mut list = format!("{options} {} {codename} main\n", self.archive);
        // sid has no security updates of its own.
        if let Some(security) = self.security.as_ref().filter(|_| codename != "sid") {
            list.push_str(&format!("{options} {security} {codename}-security main\n"));
        }
        list
    }
}

/// Reads lines like `'http://HOST/debian/dists/SUITE/main/binary-amd64/Packages.xz' FILE SIZE`.
fn mirrors_in(uris: &str) -> Vec<Mirror> {
    let uris = uris.lines().filter_map(|line| line.strip_prefix('\'')?.split('\'').next());
    let main = uris.filter_map(|uri| {
        let (archive, rest) = uri.split_once("/dists/")?;
        let (suite, _) = rest.split_once("/main/binary-")?;
        Some((archive, suite))
    });
    let main: Vec<(&str, &str)> = main.collect();
    let security = main.iter().find(|(_, suite)| suite.ends_with("-security"));
    let security = security.map(|(archive, _)| (*archive).to_owned());
    let mut mirrors: Vec<Mirror> = Vec::new();
    for (archive, _) in main.iter().filter(|(_, suite)| SUITES.split(' ').any(|known| known == *suite)) {
        let mirror = Mirror { archive: (*archive).to_owned(), security: security.clone() };
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    mirrors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_those_with_a_release_of_debian() {
        let uris = "\
'http://m.example/debian/dists/bookworm/InRelease' a 0
'http://m.example/debian/dists/bookworm/main/binary-amd64/Packages.xz' b 0
'http://m.example/debian/dists/bookworm/main/binary-all/Packages.xz' c 0
'http://m.example/debian/dists/bookworm-updates/main/binary-amd64/Packages.xz' d 0
'http://m.example/debian-security/dists/bookworm-security/main/binary-amd64/Packages.xz' e 0
'https://vendor.example/apt/dists/nodistro/main/binary-amd64/Packages.xz' f 0
'https://vendor.example/linux/dists/bookworm/stable/binary-amd64/Packages.xz' g 0
";
        let mirror = Mirror {
            archive: "http://m.example/debian".to_owned(),
            security: Some("http://m.example/debian-security".to_owned()),
        };
        assert_eq!(mirrors_in(uris), [mirror]);
        assert_eq!(
            mirrors_in("'http://m.example/other/dists/jammy/main/binary-amd64/Packages.xz' a 0\n"),
            []
        );
    }

    #[test]
    fn sid_has_no_security_archive() {
        let mirror = Mirror { archive: "http://a".to_owned(), security: Some("http://s".to_owned()) };
        assert_eq!(mirror.sources_list("sid", Path::new("/k")), "deb [signed-by=/k] http://a sid main\n");
        assert!(mirror.sources_list("trixie", Path::new("/k")).contains("http://s trixie-security main"));
    }
}
