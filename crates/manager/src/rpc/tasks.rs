//! `warren.v1.Tasks`.

use std::collections::BTreeMap;

use futures::{StreamExt, future::join_all};
use tokio::time::timeout;
use tonic::{Request, Response, Status, async_trait};
use warren_core::{check::Role, id::NodeId, wire::enumerated};
use warren_proto::v1::{self as pb, call::Ask, call_output::Output, tasks_server::Tasks};

use super::{Context, Outgoing};
use crate::{
    calls::output, input::Input, lookup, publish::Published, rejection::Rejection, views, why,
};

pub struct TasksApi(pub Context);

#[async_trait]
impl Tasks for TasksApi {
    async fn get(
        &self,
        request: Request<pb::GetTaskRequest>,
    ) -> Result<Response<pb::TaskDetail>, Status> {
        let published = self.0.handle.published();
        let task = lookup::task(&published.cluster, &request.into_inner().task)?;
        let now = self.0.handle.now();
        Ok(Response::new(views::task_detail(&published.cluster, task, now)))
    }

    async fn list(
        &self,
        request: Request<pb::ListTasksRequest>,
    ) -> Result<Response<pb::ListTasksResponse>, Status> {
        let pb::ListTasksRequest { service, all } = request.into_inner();
        let published = self.0.handle.published();
        let filter = Context::service_filter(&published, &service)?;
        let cluster = &published.cluster;
        let services: Vec<_> = match &filter {
            Some(service) => vec![service],
            None => cluster.services().collect(),
        };
        let now = self.0.handle.now();
        let tasks = services.into_iter().flat_map(|service| cluster.tasks_of(service.id));
        let tasks = tasks.filter(|task| all || !task.has_ended());
        let tasks = tasks.map(|task| views::task_detail(cluster, task, now)).collect();
        Ok(Response::new(pb::ListTasksResponse { tasks }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteTaskRequest>,
    ) -> Result<Response<pb::DeleteTaskResponse>, Status> {
        let pb::DeleteTaskRequest { task } = request.into_inner();
        self.0.handle.ask(|reply| Input::StopTask { task, reply }).await?;
        Ok(Response::new(pb::DeleteTaskResponse {}))
    }

    async fn why(
        &self,
        request: Request<pb::WhyTaskRequest>,
    ) -> Result<Response<pb::WhyTaskResponse>, Status> {
        let published = self.0.handle.published();
        let task = lookup::task(&published.cluster, &request.into_inner().task)?;
        let now = self.0.handle.now();
        Ok(Response::new(why::why(&published.cluster, task, now)))
    }

    type LogsStream = Outgoing<pb::LogLine>;

    async fn logs(
        &self,
        request: Request<pb::TaskLogsRequest>,
    ) -> Result<Response<Self::LogsStream>, Status> {
        let pb::TaskLogsRequest { task, tail, follow } = request.into_inner();
        let published = self.0.handle.published();
        let task = lookup::logged_task(&published.cluster, &task)?;
        let Some(node) = task.node() else {
            let why = format!("task {} has no node yet, and so no log", task.id);
            return Err(Rejection::Forbidden(why).into());
        };
        let call = pb::LogsCall { task_id: task.id.to_string(), tail, follow };
        let outputs = self.0.calls.ask(node, Ask::Logs(call)).await?;
        let lines = outputs.filter_map(|message| {
            let line = message.and_then(|message| Ok(output(message)?));
            futures::future::ready(match line {
                Ok(Some(Output::Log(line))) => Some(Ok(line)),
                Ok(_) => None,
                Err(status) => Some(Err(status)),
            })
        });
        Ok(Response::new(self.0.outgoing(lines)))
    }

    async fn observe(
        &self,
        request: Request<pb::ObserveRequest>,
    ) -> Result<Response<pb::ObserveResponse>, Status> {
        let published = self.0.handle.published();
        let by_node = observed(&published, request.into_inner())?;
        let asked = by_node.into_iter().map(|(node, tasks)| self.observe_node(node, tasks));
        let observations = join_all(asked).await.into_iter().flatten().collect();
        Ok(Response::new(pb::ObserveResponse { observations }))
    }

    async fn check(
        &self,
        request: Request<pb::CheckTaskRequest>,
    ) -> Result<Response<pb::CheckTaskResponse>, Status> {
        let pb::CheckTaskRequest { task, role } = request.into_inner();
        if role != 0 {
            enumerated::<pb::Role, Role>("role", role).map_err(Rejection::from)?;
        }
        let published = self.0.handle.published();
        let task = lookup::task(&published.cluster, &task)?;
        let id = task.id;
        let refuse = |why: &str| Rejection::Forbidden(format!("task {id} {why}: nothing to check"));
        if task.has_ended() {
            return Err(refuse("has ended").into());
        }
        let node = task.node().ok_or_else(|| refuse("has no node yet"))?;
        let call = pb::CheckCall { task_id: id.to_string(), role };
        let mut outputs = self.0.calls.ask(node, Ask::Check(call)).await?;
        let mut trials = Vec::new();
        while let Some(message) = outputs.message().await? {
            if let Some(Output::Trial(trial)) = output(message)? {
                trials.push(trial);
            }
        }
        Ok(Response::new(pb::CheckTaskResponse { trials }))
    }
}

/// Whom to ask about which tasks.
fn observed(
    published: &Published,
    request: pb::ObserveRequest,
) -> Result<BTreeMap<NodeId, Vec<String>>, Rejection> {
    let pb::ObserveRequest { service, tasks } = request;
    let cluster = &published.cluster;
    let mut found = Vec::new();
    for text in &tasks {
        found.push(lookup::task(cluster, text)?);
    }
    if tasks.is_empty() || !service.is_empty() {
        let service = Context::service_filter(published, &service)?;
        found.extend(views::living(cluster, service.as_deref()));
    }
    let mut by_node: BTreeMap<NodeId, Vec<String>> = BTreeMap::new();
    for task in found {
        if let Some(node) = task.node() {
            by_node.entry(node).or_default().push(task.id.to_string());
        }
    }
    Ok(by_node)
}

impl TasksApi {
    /// A worker that cannot be asked, or does not come to an end, sees nothing.
    async fn observe_node(&self, node: NodeId, task_ids: Vec<String>) -> Vec<pb::Observation> {
        let mut seen = Vec::new();
        let collect = async {
            let call = pb::ObserveCall { task_ids };
            let mut outputs = self.0.calls.ask(node, Ask::Observe(call)).await?;
            while let Some(message) = outputs.message().await? {
                if let Some(Output::Observation(observation)) = output(message)? {
                    seen.push(observation);
                }
            }
            Ok::<(), Status>(())
        };
        match timeout(self.0.timing.call_open, collect).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(node.id = %node, %error, "node cannot be observed"),
            Err(_) => tracing::debug!(node.id = %node, "node is slow to be observed"),
        }
        seen
    }
}
