//! Which engines a selection concerns.

use whalewatcher_core::Watcher;

use super::{Pattern, Selection, begins};
use crate::args::wrong;
use crate::hosts::{Hosts, host};

/// The short names of engine types.
const ENGINES: [(&str, &str); 4] = [
    ("docker", "docker.com"),
    ("podman", "podman.io"),
    ("containerd", "containerd.io"),
    ("cri", "k8s.io/cri-api"),
];

impl Selection {
    /// Returns the engines whose containers may be shown, so that others are not connected to. Of engines
    /// that are found only the kind is known, and kinds that share an API or a socket are distinguished by
    /// connecting to both.
    ///
    /// # Errors
    ///
    /// If none that the user named is left: wrong usage.
    pub(crate) fn restrict(&self, hosts: Hosts) -> anyhow::Result<Hosts> {
        match hosts {
            Hosts::Named(mut clients, clusters, settings) => {
                clients.retain(|client| {
                    self.selects_engine(client.engine_type(), client.endpoint(), None) || self.may_name_ids()
                });
                // Which engines hosts publish is not known yet.
                if clients.is_empty() && clusters.is_empty() {
                    return Err(wrong("--engine selects none of the engines of --host and --context"));
                }
                Ok(Hosts::Named(clients, clusters, settings))
            }
            Hosts::Found(found) => Ok(Hosts::Found(found.restricted(|kind| self.may_be_of(kind)))),
        }
    }

    /// Returns whether only containers of some engines are shown.
    pub(crate) fn names_engines(&self) -> bool {
        !self.0.engines.is_empty()
    }

    /// Returns whether containers of this engine may be shown, as far as is known: an engine that was not
    /// reached may turn out to have the ID that was asked for.
    pub(crate) fn concerns(&self, watcher: &dyn Watcher) -> bool {
        self.selects_engine_of(watcher) || watcher.identity().is_none() && self.may_name_ids()
    }

    /// Returns whether a name may be an engine's ID.
    fn may_name_ids(&self) -> bool {
        !self.0.engines.iter().all(|name| is_type(name) || name.text().contains('/'))
    }

    /// Returns whether an engine of this type may be selected.
    fn may_be_of(&self, engine_type: &str) -> bool {
        let names = &self.0.engines;
        names.is_empty() || names.iter().any(|name| !is_type(name) || is_of_type(name, engine_type))
    }

    pub(super) fn selects_engine_of(&self, watcher: &dyn Watcher) -> bool {
        // Most often there is nothing to compare, and this is asked for each event.
        let identity = (!self.0.engines.is_empty()).then(|| watcher.identity()).flatten();
        let id = identity.as_ref().map(|identity| identity.id.as_str());
        self.selects_engine(watcher.engine_type(), watcher.endpoint(), id)
    }

    /// Returns whether an engine is selected: by its type, `docker` for `docker.com`, by its endpoint in
    /// either spelling, or by its ID or the first characters of that.
    pub(crate) fn selects_engine(&self, engine_type: &str, endpoint: &str, id: Option<&str>) -> bool {
        self.0.engines.is_empty()
            || self.0.engines.iter().any(|name| {
                is_of_type(name, engine_type)
                    || name.matches(endpoint)
                    || name.matches(&host(engine_type, endpoint))
                    || id.is_some_and(|id| name.matches(id) || begins(name, id))
            })
    }
}

/// Returns whether this is the name of an engine's type.
fn is_type(name: &Pattern) -> bool {
    ENGINES.iter().any(|(short, long)| [*short, *long].contains(&name.text()))
}

fn is_of_type(name: &Pattern, engine_type: &str) -> bool {
    let short = ENGINES.iter().find(|(_, long)| *long == engine_type).map(|(short, _)| *short);
    name.matches(engine_type) || short.is_some_and(|short| name.matches(short))
}
