//! containerd's content store: blobs by their digest.

use std::{collections::HashMap, io};

use bytes::Bytes;
use containerd_client::services::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, UpdateRequest, WriteAction,
    WriteContentRequest, WriteContentResponse,
};
use futures::{Stream, StreamExt};
use prost_types::FieldMask;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use warren_runtime::RuntimeError;

use crate::{
    client::{Client, Lease, fault, found, is_down, unavailable, unique},
    manifest::Descriptor,
};

/// Of a manifest, index or config. The largest known ones have some hundred kilobytes.
const DOCUMENT_MAX: usize = 16 << 20;
/// containerd takes messages of 16 MiB, and its own client sends pieces of 1 MiB.
const PIECE_MAX: usize = 1 << 20;

/// Why a blob could not be stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Where the blob came from failed, or gave something else than was announced.
    #[error("{0}")]
    Source(String),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl Client {
    /// A manifest, index or config. `None`: containerd does not have it.
    pub async fn document(&self, digest: &str) -> Result<Option<Vec<u8>>, RuntimeError> {
        let failed = || fault(format!("cannot read {digest} from containerd"));
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let read = self.content().read(self.request(request)).await;
        let Some(mut pieces) = found(read).map_err(failed())? else { return Ok(None) };
        let mut document = Vec::new();
        loop {
            match pieces.message().await {
                Ok(Some(piece)) => document.extend_from_slice(&piece.data),
                Ok(None) => return Ok(Some(document)),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => return Err(failed()(status)),
            }
            if document.len() > DOCUMENT_MAX {
                return Err(RuntimeError::Refused(format!("{digest} is larger than 16 MiB")));
            }
        }
    }

    pub async fn has_blob(&self, digest: &str) -> Result<bool, RuntimeError> {
        let request = self.request(InfoRequest { digest: digest.to_owned() });
        let info = found(self.content().info(request).await);
        Ok(info.map_err(fault(format!("cannot ask containerd for {digest}")))?.is_some())
    }

    /// Labels a blob that is there. containerd's collector follows some of the labels.
    pub async fn label_blob(
        &self,
        digest: &str,
        labels: HashMap<String, String>,
    ) -> Result<(), RuntimeError> {
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let info = Info { digest: digest.to_owned(), labels, ..Info::default() };
        let update = UpdateRequest { info: Some(info), update_mask: Some(FieldMask { paths }) };
        self.content()
            .update(self.request(update))
            .await
            .map_err(fault(format!("cannot label {digest} in containerd")))?;
        Ok(())
    }

    /// Stores a small blob, with its labels even where it is already there.
    pub async fn store_document(
        &self,
        lease: &Lease,
        blob: &Descriptor,
        document: Vec<u8>,
        labels: HashMap<String, String>,
    ) -> Result<(), StoreError> {
        if let Some(writer) = self.writer(lease, blob).await? {
            let once = futures::stream::iter([Ok(Bytes::from(document))]);
            writer.fill(Box::pin(once)).await?;
        }
        if !labels.is_empty() {
            self.label_blob(&blob.digest, labels).await?;
        }
        Ok(())
    }

    /// Begins to write a blob. `None`: it is there, and belongs to the lease now as well.
    pub async fn writer(
        &self,
        lease: &Lease,
        blob: &Descriptor,
    ) -> Result<Option<Writer>, StoreError> {
        // A name of its own: two who fetch the same blob must not wait for each other.
        let reference = format!("warren-{}-{}", blob.digest, unique());
        let size = i64::try_from(blob.size)
            .map_err(|_| StoreError::Source(format!("{} has an absurd size", blob.digest)))?;
        let (sender, receiver) = mpsc::channel(1);
        let mut writer = Writer {
            client: self.clone(),
            template: WriteContentRequest {
                r#ref: reference,
                total: size,
                expected: blob.digest.clone(),
                ..WriteContentRequest::default()
            },
            sender,
            answers: None,
        };
        // The answer's headers come with its first message, so the question must be there first.
        writer.post(WriteAction::Stat, 0, Bytes::new()).await;
        let request = lease.over(self.endless(ReceiverStream::new(receiver)));
        let opened = match self.content().write(request).await {
            Ok(answers) => writer.answers.insert(answers.into_inner()).message().await,
            Err(status) => Err(status),
        };
        match opened {
            Ok(_) => Ok(Some(writer)),
            Err(status) if status.code() == Code::AlreadyExists => Ok(None),
            Err(status) => Err(StoreError::Runtime(fault("cannot write to containerd")(status))),
        }
    }
}

/// A blob that is being written.
#[derive(Debug)]
pub struct Writer {
    client: Client,
    template: WriteContentRequest,
    sender: mpsc::Sender<WriteContentRequest>,
    answers: Option<Streaming<WriteContentResponse>>,
}

impl Writer {
    /// Writes all that comes, and commits when it is what was announced. Nothing is left of it
    /// otherwise.
    pub async fn fill<S>(mut self, source: S) -> Result<(), StoreError>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin,
    {
        let filled = self.copy(source).await;
        if filled.is_err() {
            let reference = self.template.r#ref.clone();
            let abort = self.client.request(AbortRequest { r#ref: reference });
            // The lease's end collects it where this fails.
            drop(self.client.content().abort(abort).await);
        }
        filled
    }

    async fn copy<S>(&mut self, mut source: S) -> Result<(), StoreError>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin,
    {
        let mut offset = 0;
        while let Some(piece) = source.next().await {
            let mut piece = piece.map_err(|error| StoreError::Source(error.to_string()))?;
            while !piece.is_empty() {
                let part = piece.split_to(piece.len().min(PIECE_MAX));
                let length = i64::try_from(part.len()).unwrap_or(i64::MAX);
                if self.step(WriteAction::Write, offset, part).await? {
                    return Ok(());
                }
                offset += length;
                if offset > self.template.total {
                    return Err(StoreError::Source("it is longer than announced".to_owned()));
                }
            }
        }
        self.step(WriteAction::Commit, offset, Bytes::new()).await?;
        Ok(())
    }

    /// Says whether the blob is complete: by this step, or because somebody else was faster.
    async fn step(
        &mut self,
        action: WriteAction,
        offset: i64,
        data: Bytes,
    ) -> Result<bool, StoreError> {
        self.post(action, offset, data).await;
        let answer = match &mut self.answers {
            Some(answers) => answers.message().await,
            None => Ok(None),
        };
        match answer {
            Ok(Some(_)) => Ok(action == WriteAction::Commit),
            Ok(None) => Err(unavailable("a write to containerd was cut off".to_owned()).into()),
            Err(status) if status.code() == Code::AlreadyExists => Ok(true),
            Err(status) if is_corrupt(&status) => {
                Err(StoreError::Source(status.message().to_owned()))
            }
            Err(status) => Err(fault("cannot write to containerd")(status).into()),
        }
    }

    /// A closed channel shows itself in the answer.
    async fn post(&self, action: WriteAction, offset: i64, data: Bytes) {
        let message = WriteContentRequest {
            action: action.into(),
            offset,
            data: data.into(),
            ..self.template.clone()
        };
        drop(self.sender.send(message).await);
    }
}

/// Size or digest are not what was announced.
fn is_corrupt(status: &Status) -> bool {
    !is_down(status)
        && matches!(status.code(), Code::FailedPrecondition | Code::OutOfRange | Code::Aborted)
}
