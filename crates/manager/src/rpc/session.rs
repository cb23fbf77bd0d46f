//! `warren.v1.Session`: workers dial in.

use futures::StreamExt;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use warren_core::Invalid;
use warren_proto::v1::{self as pb, call_output::Output, session_server::Session};

use super::{Context, Outgoing};
use crate::{calls::OUTBOX_MAX, rejection::Rejection, session::serve};

pub struct SessionApi(pub Context);

#[async_trait]
impl Session for SessionApi {
    type OpenStream = Outgoing<pb::ManagerMessage>;

    async fn open(
        &self,
        request: Request<Streaming<pb::WorkerMessage>>,
    ) -> Result<Response<Self::OpenStream>, Status> {
        let (outbox, messages) = mpsc::channel(OUTBOX_MAX);
        self.0.tracker.spawn(serve(self.0.clone(), request.into_inner(), outbox));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }

    type AnswerStream = Outgoing<pb::CallInput>;

    async fn answer(
        &self,
        request: Request<Streaming<pb::CallOutput>>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let mut outputs = request.into_inner();
        let first = timeout(self.0.timing.call_open, outputs.message()).await;
        let first = first.map_err(|_| Rejection::Late("no call was named".to_owned()))??;
        let Some(pb::CallOutput { output: Some(Output::CallId(id)) }) = first else {
            let why = Invalid::new("the first message names the call").at("call_id");
            return Err(Rejection::from(why).into());
        };
        let inputs = self.0.calls.answered(id, outputs)?;
        let inputs = futures::stream::iter(inputs).flat_map(ReceiverStream::new);
        Ok(Response::new(self.0.outgoing(inputs)))
    }
}
