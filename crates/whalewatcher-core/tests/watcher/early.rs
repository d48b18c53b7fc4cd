//! Attempts that do not wait for the back-off, because the engine is likely to be reachable again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::scripted::{Connection, Engine};
use whalewatcher_core::{Backoff, EngineError, ErrorKind, Settings, watch_with};

/// A scripted engine that is reachable again once for each permit.
struct Announced {
    engine: Engine,
    permits: Arc<Semaphore>,
}

impl EngineClient for Announced {
    type Connection = Connection;

    fn engine_type(&self) -> &str {
        self.engine.engine_type()
    }

    fn endpoint(&self) -> &str {
        self.engine.endpoint()
    }

    async fn connect(&self, settings: &Settings) -> Result<Connection, EngineError> {
        self.engine.connect(settings).await
    }

    async fn reachable(&self) {
        self.permits.acquire().await.expect("never closed").forget();
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_reachable_again_is_not_waited_for() {
    let (engine, permits) = (Engine::new(), Arc::new(Semaphore::new(0)));
    engine.refuse(ErrorKind::Unreachable, "nothing there");
    let settings = Settings::default().with_backoff(Backoff::default().with_delays(HOUR, HOUR));
    let client = Announced { engine: engine.clone(), permits: permits.clone() };
    let watching = watch_with(client, settings);
    engine.asked(|calls| calls.connects == 1).await;
    for _ in 0..3 {
        let begun = Instant::now();
        engine.accept();
        permits.add_permits(1);
        watching.ready().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        engine.disconnect();
        watching.follow_status().wait_for(|status| !status.is_live()).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_seems_reachable_all_the_time_gets_one_attempt_a_second() {
    let (engine, permits) = (Engine::new(), Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)));
    engine.refuse(ErrorKind::Unreachable, "nothing there");
    let settings = Settings::default().with_backoff(Backoff::default().with_delays(HOUR, HOUR));
    let watching = watch_with(Announced { engine: engine.clone(), permits }, settings);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(engine.calls().connects, 6, "the first, and five at once");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(engine.calls().connects, 106);
    watching.close().await;
}

#[tokio::test(start_paused = true)]
async fn early_attempts_count_for_giving_up() {
    let (engine, permits) = (Engine::new(), Arc::new(Semaphore::new(9)));
    engine.refuse(ErrorKind::Unreachable, "nothing there");
    let backoff = Backoff::default().with_delays(HOUR, HOUR).with_attempts(4);
    let client = Announced { engine: engine.clone(), permits };
    let watching = watch_with(client, Settings::default().with_backoff(backoff));
    let begun = Instant::now();
    watching.ready().await.unwrap_err();
    assert_eq!(engine.calls().connects, 4);
    assert!(begun.elapsed() < HOUR);
}
