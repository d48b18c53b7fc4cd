//! Finds out what answers at a socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use whalewatcher_core::{EngineError, ErrorKind, Settings};

use crate::detector::{Detected, Detector};
use crate::table::ToProbe;

/// The longest time that one detector may take, however long connecting may take in the watch.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks the detectors whose engines are expected there, and all others if none of those finds one: what
/// answers as what decides.
pub(crate) async fn probe(
    detectors: &[Arc<dyn Detector>],
    settings: &Settings,
    probe: &ToProbe,
) -> Vec<(usize, Result<Detected, EngineError>)> {
    let expected = &probe.candidate.expected;
    let (first, others): (Vec<_>, Vec<_>) = (0..detectors.len())
        .filter(|detector| !probe.known.contains(detector))
        .partition(|detector| expected.contains(detector));
    let mut answers = Vec::new();
    for group in [first, others] {
        for nth in group {
            answers.push((nth, detect(&*detectors[nth], settings, probe).await));
        }
        // What cannot be connected to answers no other detector either.
        let is_other = |error: &EngineError| {
            matches!(error.kind(), ErrorKind::NotThisEngine | ErrorKind::Malformed | ErrorKind::Disconnected)
        };
        let is_unknown = answers.iter().all(|(_, answer)| answer.as_ref().is_err_and(is_other));
        if !is_unknown || !probe.known.is_empty() {
            break;
        }
    }
    answers
}

async fn detect(
    detector: &dyn Detector,
    settings: &Settings,
    probe: &ToProbe,
) -> Result<Detected, EngineError> {
    let socket = &probe.candidate.socket;
    socket.check()?;
    let limit = settings.connect_limit().min(LIMIT);
    match timeout(limit, detector.detect(socket, settings)).await {
        Ok(answer) => answer,
        Err(_) => {
            let message = format!("no answer from {} within {} s", socket.endpoint(), limit.as_secs_f32());
            Err(EngineError::new(ErrorKind::TimedOut, message))
        }
    }
}
