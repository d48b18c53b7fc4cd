//! The runtime's stream of events, asked for and read.

use std::future::Future;
use std::pin::Pin;

use tonic::{Status, Streaming};
use whalewatcher_api::cri::v1::{ContainerEventResponse, GetEventsRequest};

use crate::connection::Connection;

/// The stream. There is an answer only with the first event.
pub(crate) enum EventStream<'a> {
    Asked(Pin<Box<dyn Future<Output = Result<Streaming<ContainerEventResponse>, Status>> + Send + 'a>>),
    Answered(Box<Streaming<ContainerEventResponse>>),
}

impl<'a> EventStream<'a> {
    /// Asks when it is first read.
    pub(crate) fn new(connection: &'a Connection) -> Self {
        Self::Asked(Box::pin(async {
            let mut client = connection.client_for_stream(connection.limits().event());
            Ok(client.get_container_events(GetEventsRequest {}).await?.into_inner())
        }))
    }

    /// The next event; `None` at its end. Nothing is lost if that is not awaited to its end.
    pub(crate) async fn next(&mut self) -> Result<Option<ContainerEventResponse>, Status> {
        loop {
            match self {
                Self::Asked(answer) => *self = Self::Answered(Box::new(answer.await?)),
                Self::Answered(stream) => return stream.message().await,
            }
        }
    }
}
