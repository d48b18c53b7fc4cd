//! What knows when the lives of a scripted engine end.

use std::fmt;
use std::sync::Arc;

use futures_core::future::BoxFuture;

use super::{Call, Engine, Moment};
use crate::model::{Container, EngineIdentity};
use crate::witness::{Witness, WitnessedLife};

/// Knows when the lives of a scripted engine end, whatever the engine reports.
pub(super) struct Truth(pub(super) Engine);

struct TrueLife(Engine, Container);

impl fmt::Debug for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Truth").finish_non_exhaustive()
    }
}

impl Witness for Truth {
    fn observe(&self, life: &Container, _: Option<&EngineIdentity>) -> Option<Arc<dyn WitnessedLife>> {
        let life = TrueLife(self.0.clone(), life.clone());
        life.goes_on().then(|| Arc::new(life) as Arc<dyn WitnessedLife>)
    }
}

impl WitnessedLife for TrueLife {
    fn ended(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut changed = self.0.0.changed.subscribe();
            // The sender lives as long as self.
            let _ = changed.wait_for(|_| !self.goes_on()).await;
            self.0.pass(Call::Witness, Moment::BeforeAnswering).await;
        })
    }

    fn goes_on(&self) -> bool {
        let is_it = |now: &Container| now.life() == self.1.life() && now.pid() == self.1.pid();
        self.0.state().alive.get(self.1.id()).is_some_and(is_it)
    }
}
