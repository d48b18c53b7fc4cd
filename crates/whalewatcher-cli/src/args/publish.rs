//! The arguments of `publish`.

use std::path::PathBuf;

use clap::Args;

use super::EngineArgs;

const EXAMPLES: &str = "\
Examples:
  whalewatcher publish --etcd etcd://etcd-1,etcd-2,etcd-3
  whalewatcher publish --etcd etcds://etcd-1,etcd-2,etcd-3 --ca ca.pem --cert web-3.pem --key web-3.key
  whalewatcher publish --etcd etcd://etcd-1 --publish-labels 'com.example.*' --publish-labels 'com.docker.compose.*'

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
    /// One member is enough, but only those that are named are tried when one fails.
    #[arg(long, value_name = "URL", help_heading = "Publishing")]
    pub(crate) etcd: String,

    /// Prefix of all keys, instead of that of the URL or /whalewatcher/v1/
    #[arg(long, value_name = "PREFIX", help_heading = "Publishing")]
    pub(crate) prefix: Option<String>,

    /// ID of this host, instead of one that is made of its machine ID
    #[arg(long, value_name = "ID", help_heading = "Publishing")]
    pub(crate) host_id: Option<String>,

    /// Publish labels with this name, instead of those of compose, pods and images; can be repeated
    ///
    /// The name may have wildcards; '*' publishes all labels. Labels often hold secrets, and whatever reads etcd reads them.
    #[arg(long = "publish-labels", value_name = "GLOB", help_heading = "Publishing")]
    pub(crate) labels: Vec<String>,

    /// User of etcd; without one it is the common name of the client certificate
    #[arg(long = "user", value_name = "NAME", requires = "etcd_password", help_heading = "Publishing")]
    pub(crate) etcd_user: Option<String>,

    /// File with the password of that user
    #[arg(long = "password-file", value_name = "FILE", requires = "etcd_user", help_heading = "Publishing")]
    pub(crate) etcd_password: Option<PathBuf>,

    /// Trust only the authorities in this file (PEM), instead of those that the system trusts
    #[arg(long = "ca", value_name = "FILE", help_heading = "Publishing")]
    pub(crate) etcd_ca: Option<PathBuf>,

    /// Client certificate for etcd (PEM)
    #[arg(long = "cert", value_name = "FILE", requires = "etcd_key", help_heading = "Publishing")]
    pub(crate) etcd_certificate: Option<PathBuf>,

    /// Key of the client certificate (PEM)
    #[arg(long = "key", value_name = "FILE", requires = "etcd_certificate", help_heading = "Publishing")]
    pub(crate) etcd_key: Option<PathBuf>,
}
