//! What `ctr` says, to compare pictures with.

use anyhow::Result;
use whalewatcher_containerd::Client;
use whalewatcher_core::Portfolio;

use super::stage::{Stage, Watched};
use super::truth::Truth;
use crate::picture::{self, Reality};

impl Reality<Client> for Stage {
    type Truth = Truth;

    async fn ask(&self) -> Result<Truth> {
        Truth::ask(self).await
    }

    fn differences(truth: &Truth, portfolio: &Portfolio) -> Vec<String> {
        truth.differences(portfolio)
    }

    async fn fence(&self, watched: &Watched) -> Result<()> {
        Stage::fence(self, watched).await
    }
}

/// Checks everything, once the engine is quiet and no more fault is at work.
pub(super) async fn check(stage: &Stage, watched: &Watched) -> Result<()> {
    picture::check(stage, watched).await.map(drop)
}
