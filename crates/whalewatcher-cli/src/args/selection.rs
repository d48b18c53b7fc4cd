//! Which containers a command shows.

use clap::Args;

/// The containers to show; all by default.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SelectionArgs {
    /// Show only these containers: names, which may contain the wildcards *, ? and [...], or IDs or their
    /// first characters
    #[arg(value_name = "NAME", help_heading = None)]
    pub(crate) names: Vec<String>,

    #[command(flatten)]
    pub(crate) filters: FilterArgs,
}

/// What has to hold for a container; different options have to hold together.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Selection")]
pub(crate) struct FilterArgs {
    /// Show only containers for which this holds, as 'docker ps --filter' has it, such as name=web; can be repeated
    ///
    /// The keys are name and id (regular expressions), label (KEY or KEY=VALUE), status (running or paused),
    /// health (starting, healthy, unhealthy or none), ancestor (the image's name, with the tag 'latest' by
    /// default, or its ID), image (its name with wildcards, without a tag any tag) and network (its name).
    /// One filter of each key has to hold, and all of the labels. Images that were built on an ancestor are
    /// not known.
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,

    /// Show only containers of this compose project; '' means those without one; can be repeated
    #[arg(long = "project", value_name = "NAME")]
    pub(crate) projects: Vec<String>,

    /// Show only containers of this pod; can be repeated
    #[arg(long = "pod", value_name = "[NAMESPACE/]NAME")]
    pub(crate) pods: Vec<String>,

    /// Show only containers with this label; if repeated, with all of them
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub(crate) labels: Vec<String>,

    /// Show only containers of this engine: docker, podman, containerd or cri, its URL or its ID; can be repeated
    #[arg(long = "engine", value_name = "ENGINE")]
    pub(crate) engines: Vec<String>,
}
