//! `warren.v1.Nodes`.

use tonic::{Request, Response, Status, async_trait};
use warren_core::wire::{enumerated, text};
use warren_proto::v1::{self as pb, nodes_server::Nodes};

use super::Context;
use crate::{
    input::{Input, NodeInput},
    lookup,
    rejection::Rejection,
    views,
};

pub struct NodesApi(pub Context);

#[async_trait]
impl Nodes for NodesApi {
    async fn get(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::Node>, Status> {
        let published = self.0.handle.published();
        let node = lookup::node(&published.cluster, &request.into_inner().node)?;
        Ok(Response::new(views::node(node, &self.0.calls)))
    }

    async fn list(
        &self,
        _request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let published = self.0.handle.published();
        let cluster = &published.cluster;
        let mut nodes: Vec<_> = cluster.nodes().collect();
        nodes.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let calls = &self.0.calls;
        let nodes = nodes.into_iter().map(|node| views::node_row(cluster, node, calls));
        Ok(Response::new(pb::ListNodesResponse { nodes: nodes.collect() }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNodeRequest>,
    ) -> Result<Response<pb::DeleteNodeResponse>, Status> {
        let pb::DeleteNodeRequest { node } = request.into_inner();
        let input = |reply| Input::Node(NodeInput::Remove { node, reply });
        self.0.handle.ask(input).await?;
        Ok(Response::new(pb::DeleteNodeResponse {}))
    }

    async fn set_availability(
        &self,
        request: Request<pb::SetAvailabilityRequest>,
    ) -> Result<Response<pb::NodeRow>, Status> {
        let pb::SetAvailabilityRequest { node, kind, reason } = request.into_inner();
        let kind = enumerated::<pb::AvailabilityKind, _>("kind", kind).map_err(Rejection::from)?;
        let reason = text(reason);
        let input = |reply| Input::Node(NodeInput::SetAvailability { node, kind, reason, reply });
        let id = self.0.handle.ask(input).await?;
        let published = self.0.handle.published();
        let gone = || Rejection::NotFound(format!("node {id} was removed meanwhile"));
        let node = published.cluster.node(id).ok_or_else(gone)?;
        Ok(Response::new(views::node_row(&published.cluster, node, &self.0.calls)))
    }
}
