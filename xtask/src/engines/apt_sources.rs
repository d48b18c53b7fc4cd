//! Which Debian mirror the host uses, and with which keyring, read from the host's own apt sources in both of
//! their formats. No mirror is named here: a host may only reach its own.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

const CODENAMES: [&str; 12] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "rc-buggy",
];

/// Debian's own keyring on a Debian host, for sources that name none.
const HOST_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The places that one source names, as far as they matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<PathBuf>,
}

/// A mirror of Debian's archive that the host trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Of the archive itself.
    pub(crate) archive: String,
    /// Of the archive of security updates, where the host has one.
    pub(crate) security: Option<String>,
    /// What signatures are checked with.
    pub(crate) keyring: PathBuf,
}

impl Mirror {
    /// The mirrors that the host's sources name, the likeliest first.
    ///
    /// # Errors
    ///
    /// When the sources cannot be read, or none is of Debian's archive.
    pub(crate) fn of_host() -> Result<Vec<Mirror>> {
        let mut sources = Vec::new();
        for path in source_files(Path::new("/etc/apt"))? {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if path.extension() == Some(OsStr::new("sources")) {
                sources.extend(parse_deb822(&text));
            } else {
                sources.extend(text.lines().filter_map(parse_line));
            }
        }
        let mirrors = mirrors_among(&sources);
        if mirrors.is_empty() {
            bail!(
                "none of this host's apt sources is Debian's archive: packages can be fetched on Debian only"
            );
        }
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

fn source_files(apt: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let single = apt.join("sources.list");
    if single.is_file() {
        files.push(single);
    }
    let folder = apt.join("sources.list.d");
    if folder.is_dir() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if matches!(path.extension().and_then(OsStr::to_str), Some("list" | "sources")) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The older format: `deb [signed-by=/a.gpg] URI SUITE COMPONENT…`.
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let mut signed_by = None;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        signed_by =
            options.split_whitespace().find_map(|option| option.strip_prefix("signed-by=")).and_then(file);
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), signed_by })
}

/// The newer format: stanzas of fields, where a line that starts with white space continues a field.
fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let lines = text.lines().filter(|line| !line.starts_with('#')).chain([""]);
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.trim().is_empty() {
            sources.extend(source_of(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn source_of(fields: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
    let enabled = !field("enabled").eq_ignore_ascii_case("no");
    let binary = field("types").split_whitespace().any(|kind| kind == "deb");
    (enabled && binary).then(|| Source {
        uris: words(field("uris")),
        suites: words(field("suites")),
        components: words(field("components")),
        signed_by: file(field("signed-by")),
    })
}

/// A keyring can also be embedded or a fingerprint: only files are of use here.
fn file(signed_by: &str) -> Option<PathBuf> {
    let path = signed_by.split([',', ' ']).next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

fn mirrors_among(sources: &[Source]) -> Vec<Mirror> {
    let main =
        || sources.iter().filter(|source| source.components.iter().any(|component| component == "main"));
    let usable = |uri: &&String| !uri.starts_with("cdrom:");
    let security = main()
        .filter(|source| source.suites.iter().any(|suite| suite.ends_with("-security")))
        .find_map(|source| source.uris.iter().find(usable).cloned());
    let mut found: Vec<(bool, Mirror)> = Vec::new();
    for source in main() {
        if !source.suites.iter().any(|suite| CODENAMES.contains(&suite.as_str())) {
            continue;
        }
        // Others also publish a «bookworm main»: their keyring is not Debian's.
        let by_debian =
            source.signed_by.as_ref().filter(|path| path.to_string_lossy().contains("debian-archive"));
        for archive in source.uris.iter().filter(usable) {
            let keyring = by_debian.cloned().unwrap_or_else(|| PathBuf::from(HOST_KEYRING));
            let mirror = Mirror { archive: archive.clone(), security: security.clone(), keyring };
            let rank = by_debian.is_none() && source.signed_by.is_some();
            if !found.iter().any(|(_, known)| *known == mirror) {
                found.push((rank, mirror));
            }
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, mirror)| mirror).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANZAS: &str = "\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
";

    #[test]
    fn stanzas_name_the_archive_the_security_archive_and_the_keyring() {
        let mirrors = mirrors_among(&parse_deb822(STANZAS));
        assert_eq!(
            mirrors,
            [Mirror {
                archive: "http://mirror.example/debian".to_owned(),
                security: Some("http://mirror.example/debian-security".to_owned()),
                keyring: PathBuf::from(HOST_KEYRING),
            }]
        );
    }

    #[test]
    fn single_lines_are_read_with_and_without_options() {
        let plain = parse_line("deb http://mirror.example/debian trixie main # with a comment").unwrap();
        assert_eq!(plain.suites, ["trixie"]);
        let signed =
            parse_line("deb [arch=amd64 signed-by=/k/debian-archive.gpg] http://m.example sid main").unwrap();
        assert_eq!(signed.signed_by, Some(PathBuf::from("/k/debian-archive.gpg")));
        assert_eq!(parse_line("# deb http://mirror.example/debian trixie main"), None);
        assert_eq!(parse_line("deb-src http://mirror.example/debian trixie main"), None);
    }

    #[test]
    fn debian_comes_before_other_vendors() {
        let sources = [
            "deb [signed-by=/k/vendor.gpg] http://vendor.example/debian bookworm main",
            "deb http://mirror.example/debian bookworm main",
            "deb cdrom:[Debian]/ bookworm main",
        ];
        let sources: Vec<Source> = sources.iter().filter_map(|line| parse_line(line)).collect();
        let archives: Vec<String> =
            mirrors_among(&sources).into_iter().map(|mirror| mirror.archive).collect();
        assert_eq!(archives, ["http://mirror.example/debian", "http://vendor.example/debian"]);
    }

    #[test]
    fn another_distribution_has_no_mirror() {
        let line = parse_line("deb http://archive.example/other jammy main").unwrap();
        assert_eq!(mirrors_among(&[line]), []);
    }

    #[test]
    fn sid_has_no_security_archive() {
        let mirror = Mirror {
            archive: "http://a".to_owned(),
            security: Some("http://s".to_owned()),
            keyring: PathBuf::from("/k"),
        };
        assert_eq!(mirror.sources_list("sid", Path::new("/k")), "deb [signed-by=/k] http://a sid main\n");
        assert!(mirror.sources_list("trixie", Path::new("/k")).contains("http://s trixie-security main"));
    }
}
