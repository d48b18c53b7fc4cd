//! The arguments of `ps`.

use clap::Args;

use super::{EngineArgs, SelectionArgs, ShapeArgs};

const EXAMPLES: &str = "\
Examples:
  whalewatcher ps
  whalewatcher ps web 'shop-*'
  whalewatcher ps --project shop --filter health=unhealthy
  whalewatcher -H ssh://me@build-server ps
  whalewatcher ps -o wide
  whalewatcher ps --columns name,image,ports --sort age
  whalewatcher ps -q --filter label=tier=back
  whalewatcher ps --context build-server
  whalewatcher ps --host podman:///run/user/1000/podman/podman.sock
  whalewatcher ps --host cri:///run/containerd/containerd.sock
  whalewatcher ps --host tcp://whale:2376 --tls-ca ca.pem
  whalewatcher ps -o json | jq -r '.[] | [.pid, .name] | @tsv'

Exits with status 1 if a NAME matches nothing, an engine cannot be listed or a container \
    cannot be inspected; prints what is known.";

/// What to list, and how to print it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PsArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    #[command(flatten)]
    pub(crate) shape: ShapeArgs,
}
