//! Hooks: code of the application that an adapter runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::EngineError;

/// Code of the application that an adapter runs before watching, or before each attempt to connect. By default it does
/// nothing.
///
/// A hook that panics ends the watch with that reason.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use whalewatcher_core::adapter::Hook;
///
/// let hook = Hook::new(|| async { Ok(()) });
/// assert!(hook.call().await.is_ok());
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Hook(Option<Arc<dyn Fn() -> Done + Send + Sync>>);

type Done = Pin<Box<dyn Future<Output = Result<(), EngineError>> + Send>>;

impl Hook {
    /// Creates a hook from an asynchronous closure, which runs at each call.
    #[must_use]
    pub fn new<F, D>(hook: F) -> Self
    where
        F: Fn() -> D + Send + Sync + 'static,
        D: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(hook()))))
    }

    /// Runs the hook.
    ///
    /// # Errors
    ///
    /// The error that the application's code returns.
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
    async fn a_hook_runs_at_each_call_and_the_default_does_nothing() {
        Hook::default().call().await.unwrap();
        let hook = Hook::new(|| async { Err(EngineError::new(ErrorKind::Failed, "no")) });
        for _ in 0..2 {
            assert_eq!(hook.clone().call().await.unwrap_err().to_string(), "no");
        }
    }
}
