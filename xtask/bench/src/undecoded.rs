//! A minimal client of engines that speak gRPC: it sends what has to be sent on one HTTP/2 connection, and throws the answers
//! away, undecoded.

use std::marker::PhantomData;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Buf as _;
use http::uri::PathAndQuery;
use prost::Message;
use prost_types::Any;
use tokio::time::sleep;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use whalewatcher_drivers::api::containerd::services::events::v1::{PublishRequest, SubscribeRequest};
use whalewatcher_drivers::containerd::within;

/// After what time our own event is published again that has not come back.
const AGAIN: Duration = Duration::from_millis(2);

/// One connection, which ends with this.
#[derive(Clone, Debug)]
pub(crate) struct Undecoded(Channel);

impl Undecoded {
    pub(crate) async fn connect(socket: &Path) -> Result<Self> {
        let endpoint = format!("unix://{}", socket.display());
        let endpoint = Endpoint::from_shared(endpoint).context("no endpoint")?;
        Ok(Self(endpoint.connect().await.context("cannot connect")?))
    }

    /// Asks, and waits for the end of the answer.
    pub(crate) async fn ask<M: Message + 'static>(
        &self,
        method: &'static str,
        request: Request<M>,
    ) -> Result<()> {
        let mut answer = self.begin(method, request).await?;
        while answer.message().await.with_context(|| format!("{method} fails"))?.is_some() {}
        Ok(())
    }

    /// Asks, and waits for the beginning of the answer.
    async fn begin<M: Message + 'static>(
        &self,
        method: &'static str,
        request: Request<M>,
    ) -> Result<Streaming<()>> {
        let mut grpc = Grpc::new(self.0.clone()).max_decoding_message_size(usize::MAX);
        grpc.ready().await.context("the connection is gone")?;
        let path = PathAndQuery::from_static(method);
        let answer = grpc.server_streaming(request, path, Thrown(PhantomData)).await;
        Ok(answer.with_context(|| format!("{method} is refused"))?.into_inner())
    }

    /// Subscribes to what happens in containerd. That it is subscribed is known when an event of our own comes back.
    pub(crate) async fn subscribe(&self) -> Result<Streaming<()>> {
        let subscribed = async {
            let filters = vec!["topic==\"/whalewatcher/bench\"".to_owned()];
            let request = Request::new(SubscribeRequest { filters });
            let mut events = self.begin("/containerd.services.events.v1.Events/Subscribe", request).await?;
            events.message().await?.context("the event stream ends")?;
            anyhow::Ok(events)
        };
        let publishing = async {
            loop {
                let event = Some(Any { type_url: "google.protobuf.Empty".to_owned(), value: Vec::new() });
                let request = PublishRequest { topic: "/whalewatcher/bench".to_owned(), event };
                let request = within("whalewatcher", request)?;
                self.ask("/containerd.services.events.v1.Events/Publish", request).await?;
                sleep(AGAIN).await;
            }
        };
        tokio::select! {
            subscribed = subscribed => subscribed,
            failed = publishing => failed,
        }
    }
}

/// Encodes what is asked, and decodes nothing.
struct Thrown<M>(PhantomData<M>);

impl<M: Message + 'static> Codec for Thrown<M> {
    type Encode = M;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<M: Message> Encoder for Thrown<M> {
    type Item = M;
    type Error = Status;

    fn encode(&mut self, message: M, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl<M> Decoder for Thrown<M> {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        message.advance(message.remaining());
        Ok(Some(()))
    }
}
