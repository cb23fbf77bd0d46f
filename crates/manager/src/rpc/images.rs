//! `warren.v1.Images`: the images are the workers'; the manager passes questions and archives on.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use tokio::{sync::oneshot, time::timeout};
use tonic::{Request, Response, Status, Streaming, async_trait};
use warren_core::{
    Invalid,
    cluster::Cluster,
    id::NodeId,
    node::{Driver, Node},
};
use warren_proto::v1::{
    self as pb, call::Ask, call_output::Output, images_server::Images, import_image_request::Part,
};

use super::Context;
use crate::{
    calls::{Inputs, Outputs, output},
    lookup,
    rejection::Rejection,
};

/// Large enough that framing costs nothing, small enough to fit in gRPC's default limit.
const PIECE_MAX: usize = 1 << 20;

/// tonic shows a stream that its client has reset as one that ended well; but the handler of a
/// reset request is dropped, within this at the latest.
const RESET_SETTLES: Duration = Duration::from_millis(100);

pub struct ImagesApi(pub Context);

#[async_trait]
impl Images for ImagesApi {
    async fn list(
        &self,
        request: Request<pb::ListImagesRequest>,
    ) -> Result<Response<pb::ListImagesResponse>, Status> {
        let pb::ListImagesRequest { node } = request.into_inner();
        let published = self.0.handle.published();
        if !node.is_empty() {
            let node = lookup::node(&published.cluster, &node)?.id;
            let images = self.images_of(node).await?;
            return Ok(Response::new(pb::ListImagesResponse { images, unasked: Vec::new() }));
        }
        let able = published.cluster.nodes().filter(|node| has_containerd(node));
        let asked = able.map(|node| async move { (node, self.images_of(node.id).await) });
        Ok(Response::new(gathered(join_all(asked).await)?))
    }

    async fn import(
        &self,
        request: Request<Streaming<pb::ImportImageRequest>>,
    ) -> Result<Response<pb::ImportImageResponse>, Status> {
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.and_then(|first| first.part);
        let Some(Part::Node(text)) = first else {
            return Err(Rejection::from(Invalid::new("is sent first").at("node")).into());
        };
        let published = self.0.handle.published();
        let node = self.importer(&published.cluster, &text)?;
        let ask = Ask::ImportImage(pb::ImportImageCall {});
        let answer = self.0.calls.ask_with_input(node, ask).await?;
        // On a task of its own: a client that goes away must not look like the archive's end.
        let (mut done, result) = oneshot::channel();
        self.0.tracker.spawn(async move {
            let transferred = transfer(node, pieces, answer, done.closed()).await;
            // A client that has gone away does not hear it.
            let _ = done.send(transferred);
        });
        let images = result.await.map_err(|_| Rejection::ending())??;
        Ok(Response::new(pb::ImportImageResponse { images }))
    }
}

impl ImagesApi {
    async fn images_of(&self, node: NodeId) -> Result<Vec<pb::Image>, Status> {
        let ask = Ask::ListImages(pb::ListImagesCall {});
        let patience = self.0.timing.call_open;
        let collect = async { images(node, self.0.calls.ask(node, ask).await?).await };
        timeout(patience, collect).await.map_err(|_| {
            Rejection::Unavailable(format!("node {node} did not answer within {patience:?}"))
        })?
    }

    /// Empty: the only node that has containerd.
    fn importer(&self, cluster: &Cluster, text: &str) -> Result<NodeId, Rejection> {
        if !text.is_empty() {
            return lookup::node(cluster, text).map(|node| node.id);
        }
        let connected = self.0.calls.connected();
        let able: Vec<_> = connected
            .into_iter()
            .filter_map(|id| cluster.node(id))
            .filter(|node| has_containerd(node))
            .collect();
        match able.as_slice() {
            [node] => Ok(node.id),
            [] => Err(Rejection::Forbidden("no node with containerd is connected".to_owned())),
            several => {
                let names: Vec<&str> = several.iter().map(|node| node.name.as_str()).collect();
                let why = format!("must be one of {}", names.join(", "));
                Err(Invalid::new(why).at("node").into())
            }
        }
    }
}

fn has_containerd(node: &Node) -> bool {
    node.drivers.contains(&Driver::Containerd)
}

type Asked<'a> = (&'a Arc<Node>, Result<Vec<pb::Image>, Status>);

/// A part of the answer, with what is missing of it, is better than none.
fn gathered(nodes: Vec<Asked<'_>>) -> Result<pb::ListImagesResponse, Rejection> {
    let count = nodes.len();
    let mut all = pb::ListImagesResponse::default();
    for (node, images) in nodes {
        match images {
            Ok(images) => all.images.extend(images),
            Err(status) => all.unasked.push(pb::UnaskedNode {
                node_id: node.id.to_string(),
                node_name: node.name.clone(),
                reason: status.message().to_owned(),
            }),
        }
    }
    if count == 0 || all.unasked.len() < count {
        return Ok(all);
    }
    let reasons = all.unasked.iter().map(|node| format!("{}: {}", node.node_name, node.reason));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    Err(Rejection::Unavailable(format!("no node can be asked for its images: {reasons}")))
}

async fn images(node: NodeId, mut outputs: Outputs) -> Result<Vec<pb::Image>, Status> {
    let mut images = Vec::new();
    while let Some(message) = outputs.message().await? {
        if let Some(Output::Image(image)) = output(message)? {
            images.push(pb::Image { node_id: node.to_string(), ..image });
        }
    }
    Ok(images)
}

/// The archive goes down while the images that it held come up.
async fn transfer(
    node: NodeId,
    pieces: Streaming<pb::ImportImageRequest>,
    (outputs, inputs): (Outputs, Inputs),
    client_gone: impl Future<Output = ()>,
) -> Result<Vec<pb::Image>, Status> {
    let uploaded = upload(pieces, inputs, client_gone);
    let ((), imported) = tokio::try_join!(uploaded, images(node, outputs))?;
    if imported.is_empty() {
        // An archive holds at least one; a worker that hung up looks like one that was done.
        let why = format!("node {node} broke off the import");
        return Err(Rejection::Unavailable(why).into());
    }
    Ok(imported)
}

/// Ends the inputs after the last piece; where the client fails, says so instead.
async fn upload(
    mut pieces: Streaming<pb::ImportImageRequest>,
    inputs: Inputs,
    client_gone: impl Future<Output = ()>,
) -> Result<(), Status> {
    let broken = loop {
        match next_piece(&mut pieces).await {
            Ok(Some(data)) => {
                if inputs.send(Ok(pb::CallInput { data })).await.is_err() {
                    // The worker has seen enough; why is in what it puts out.
                    return Ok(());
                }
            }
            Ok(None) if timeout(RESET_SETTLES, client_gone).await.is_err() => return Ok(()),
            Ok(None) => break Status::cancelled("the client has gone away"),
            Err(status) => break status,
        }
    };
    // A worker that has gone away too does not hear it.
    let _ = inputs.send(Err(Status::cancelled("the archive is broken off"))).await;
    Err(broken)
}

async fn next_piece(
    pieces: &mut Streaming<pb::ImportImageRequest>,
) -> Result<Option<Vec<u8>>, Status> {
    let Some(pb::ImportImageRequest { part }) = pieces.message().await? else {
        return Ok(None);
    };
    let why = match part {
        Some(Part::Data(data)) if data.len() <= PIECE_MAX => return Ok(Some(data)),
        Some(Part::Data(_)) => Invalid::new("is longer than 1 MiB").at("data"),
        Some(Part::Node(_)) | None => Invalid::new("comes after the node").at("data"),
    };
    Err(Rejection::from(why).into())
}
