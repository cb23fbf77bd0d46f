//! `warren.v1.Nodes`.

use tonic::{Request, Response, Status, async_trait};
use warren_proto::v1::{self as pb, nodes_server::Nodes};

use super::Context;
use crate::{input::Input, lookup};

pub struct NodesApi(pub Context);

#[async_trait]
impl Nodes for NodesApi {
    async fn get(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::Node>, Status> {
        let published = self.0.handle.published();
        let node = lookup::node(&published.cluster, &request.into_inner().node)?;
        Ok(Response::new((&**node).into()))
    }

    async fn list(
        &self,
        _request: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let published = self.0.handle.published();
        let cluster = &published.cluster;
        let mut nodes: Vec<_> = cluster.nodes().collect();
        nodes.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        let nodes = nodes.into_iter().map(|node| {
            let living = cluster.tasks_on(node.id).filter(|task| !task.has_ended()).count();
            let tasks = u32::try_from(living).unwrap_or(u32::MAX);
            pb::NodeRow { node: Some((&**node).into()), tasks }
        });
        Ok(Response::new(pb::ListNodesResponse { nodes: nodes.collect() }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteNodeRequest>,
    ) -> Result<Response<pb::DeleteNodeResponse>, Status> {
        let pb::DeleteNodeRequest { node } = request.into_inner();
        self.0.handle.ask(|reply| Input::RemoveNode { node, reply }).await?;
        Ok(Response::new(pb::DeleteNodeResponse {}))
    }
}
