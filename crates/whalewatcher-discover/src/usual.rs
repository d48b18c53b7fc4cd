//! The usual places of sockets, and the endpoints that the user named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::candidate::{Candidate, Source};
use crate::options::Options;
use crate::socket::{Place, Socket, locate};

/// The most folders that `*` in a path stands for.
const MAX_FOLDERS: usize = 1_024;

/// Returns all paths where sockets usually are, each with the detector whose sockets these are.
pub(crate) fn paths(options: &Options) -> Vec<(PathBuf, usize)> {
    let detectors = options.detectors.iter().enumerate();
    let patterns = detectors.flat_map(|(nth, one)| one.sockets().iter().map(move |pattern| (*pattern, nth)));
    let expanded = patterns.flat_map(|(pattern, nth)| {
        expand(options, pattern).into_iter().map(move |path| (path, nth)).collect::<Vec<_>>()
    });
    expanded.collect()
}

/// Expands `~` and one `*`.
fn expand(options: &Options, pattern: &str) -> Vec<PathBuf> {
    let pattern = match pattern.strip_prefix("~/") {
        Some(rest) => match &options.home {
            Some(home) => home.join(rest),
            None => return Vec::new(),
        },
        None => options.root.join(pattern.trim_start_matches('/')),
    };
    let parts: Vec<_> = pattern.components().collect();
    let Some(any) = parts.iter().position(|part| part.as_os_str() == "*") else { return vec![pattern] };
    let (before, after) =
        (parts[..any].iter().collect::<PathBuf>(), parts[any + 1..].iter().collect::<PathBuf>());
    let folders = fs::read_dir(before).into_iter().flatten().flatten().take(MAX_FOLDERS);
    let mut paths: Vec<_> = folders.map(|folder| folder.path().join(&after)).collect();
    paths.sort();
    paths
}

/// Returns the sockets in the usual places.
pub(crate) fn candidates(options: &Options) -> Vec<Candidate> {
    let found = paths(options).into_iter().filter_map(|(path, detector)| {
        let mut candidate = at(&path, Source::Usual)?;
        candidate.expected.push(detector);
        Some(candidate)
    });
    found.collect()
}

/// Returns the endpoints that the user named, whether there is anything or not.
pub(crate) fn named(options: &Options) -> Vec<Candidate> {
    let candidate = |endpoint: &String| {
        let path = endpoint.strip_prefix("unix://").or_else(|| endpoint.starts_with('/').then_some(endpoint));
        let located = path.and_then(|path| at(Path::new(path), Source::Named));
        located.unwrap_or_else(|| {
            let socket = path.and_then(|path| Socket::at(Path::new(path)));
            let socket = socket.unwrap_or_else(|| Socket::url(endpoint));
            Candidate::new(socket, Place::Url(endpoint.clone()), Source::Named)
        })
    };
    options.named.iter().map(candidate).collect()
}

fn at(path: &Path, source: Source) -> Option<Candidate> {
    Some(Candidate::own(Socket::at(path)?, locate(path).ok()?, source))
}
