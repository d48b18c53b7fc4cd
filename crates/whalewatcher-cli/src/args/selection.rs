//! Which containers a command shows.

use clap::Args;

/// The containers to show; all by default.
#[derive(Args)]
pub(crate) struct SelectionArgs {
    /// Show only containers of this compose project; '' means those without one
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<String>,
}
