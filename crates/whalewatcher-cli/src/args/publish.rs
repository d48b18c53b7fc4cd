//! The arguments of `publish`.

use clap::Args;

use super::EngineArgs;

const EXAMPLES: &str = "\
Examples:
  whalewatcher publish --etcd etcd://etcd-1,etcd-2,etcd-3
  whalewatcher publish --etcd etcds://etcd-1 --tls-ca ca.pem --tls-cert a.pem --tls-key a.key
  whalewatcher publish --etcd etcd://etcd-1 --publish-labels 'com.example.*'

Publishes what 'whalewatcher watch' would show, until Ctrl-C or SIGTERM. Waits for engines and for etcd while they cannot be reached, and \
    then publishes the difference.

Exits with status 1 if another agent publishes for a host of the same ID.";

/// What to publish, and where.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,

    /// Cluster of etcd: etcd://HOST[:PORT][,HOST…][/PREFIX], or etcds:// for TLS
    ///
    /// One member is enough, but only those that are named are tried when one fails. --tls-ca, --tls-cert,
    /// --tls-key, --etcd-user and --etcd-password-file are for this cluster. The prefix of the keys is
    /// /whalewatcher/v1/ by default.
    #[arg(long, value_name = "URL", help_heading = "Publishing")]
    pub(crate) etcd: String,

    /// ID of this host, instead of one that is made of its machine ID
    #[arg(long, value_name = "ID", help_heading = "Publishing")]
    pub(crate) host_id: Option<String>,

    /// Publish labels with this name, instead of those of compose, pods and images; can be repeated
    ///
    /// The name may have wildcards; '*' publishes all labels. Labels often hold secrets, and whatever reads
    /// etcd reads them.
    #[arg(long = "publish-labels", value_name = "GLOB", help_heading = "Publishing")]
    pub(crate) labels: Vec<String>,
}
