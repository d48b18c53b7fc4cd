//! What applications have adapters do besides.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::EngineError;

/// Something that an application wants done before watching, or before each attempt to connect; by default nothing.
///
/// For adapters, whose clients are configured with these. A hook that panics ends the watch, with that reason.
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<dyn Fn() -> Done + Send + Sync>>);

type Done = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

impl Hook {
    /// Has this done each time.
    #[must_use]
    pub fn new<F, D>(hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(hook()))))
    }

    /// Does it.
    ///
    /// # Errors
    ///
    /// Whatever the application returns.
    pub async fn call(&self) -> Result<(), EngineError> {
        match &self.0 {
            Some(hook) => hook().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hook(..)" } else { "Hook" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ErrorKind;

    #[tokio::test]
    async fn what_is_wanted_is_done_each_time_and_nothing_if_nothing_is_wanted() {
        Hook::default().call().await.unwrap();
        let hook = Hook::new(|| async { Err(EngineError::new(ErrorKind::Failed, "no")) });
        for _ in 0..2 {
            assert_eq!(hook.clone().call().await.unwrap_err().to_string(), "no");
        }
    }
}
