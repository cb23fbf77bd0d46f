//! `warren.v1.Services`.

use tonic::{Request, Response, Status, async_trait};
use warren_core::{Invalid, invalid::At, service::ChecksPause, spec::ServiceSpec, wire::required};
use warren_proto::v1::{self as pb, services_server::Services};

use super::Context;
use crate::{
    decide::service::warnings,
    input::{AskedPause, Input, ServiceUpdate},
    lookup,
    rejection::Rejection,
    views,
};

pub struct ServicesApi(pub Context);

fn spec(wire: Option<pb::ServiceSpec>) -> Result<ServiceSpec, Rejection> {
    required("spec", wire).map_err(|invalid: Invalid| invalid.into())
}

#[async_trait]
impl Services for ServicesApi {
    async fn create(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Result<Response<pb::CreateServiceResponse>, Status> {
        let pb::CreateServiceRequest { spec: wire } = request.into_inner();
        let spec = spec(wire)?;
        let warnings = warnings(&spec.template);
        let service = self.0.handle.ask(|reply| Input::CreateService { spec, reply }).await?;
        let service = Some((&*service).into());
        Ok(Response::new(pb::CreateServiceResponse { service, warnings }))
    }

    async fn get(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Result<Response<pb::ServiceDetail>, Status> {
        let published = self.0.handle.published();
        let service = lookup::service(&published.cluster, &request.into_inner().service)?;
        let now = self.0.handle.now();
        Ok(Response::new(views::service_detail(&published.cluster, service, now)))
    }

    async fn list(
        &self,
        _request: Request<pb::ListServicesRequest>,
    ) -> Result<Response<pb::ListServicesResponse>, Status> {
        let published = self.0.handle.published();
        let now = self.0.handle.now();
        let row = |service| views::service_row(&published.cluster, service, now);
        let mut services: Vec<_> = published.cluster.services().collect();
        services.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let services = services.into_iter().map(|service| row(service)).collect();
        Ok(Response::new(pb::ListServicesResponse { services }))
    }

    async fn update(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Result<Response<pb::UpdateServiceResponse>, Status> {
        let pb::UpdateServiceRequest { service, spec: wire, expected_revision } =
            request.into_inner();
        let spec = spec(wire)?;
        let warnings = warnings(&spec.template);
        let update = ServiceUpdate { service, spec, expected_revision };
        let service = self.0.handle.ask(|reply| Input::UpdateService { update, reply }).await?;
        let service = Some((&*service).into());
        Ok(Response::new(pb::UpdateServiceResponse { service, warnings }))
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteServiceRequest>,
    ) -> Result<Response<pb::DeleteServiceResponse>, Status> {
        let pb::DeleteServiceRequest { service } = request.into_inner();
        self.0.handle.ask(|reply| Input::DeleteService { service, reply }).await?;
        Ok(Response::new(pb::DeleteServiceResponse {}))
    }

    async fn release(
        &self,
        request: Request<pb::ReleaseServiceRequest>,
    ) -> Result<Response<pb::ReleaseServiceResponse>, Status> {
        let pb::ReleaseServiceRequest { service } = request.into_inner();
        let released = self.0.handle.ask(|reply| Input::ReleaseService { service, reply }).await?;
        Ok(Response::new(pb::ReleaseServiceResponse { released }))
    }

    async fn pause_checks(
        &self,
        request: Request<pb::PauseChecksRequest>,
    ) -> Result<Response<pb::PauseChecksResponse>, Status> {
        let pb::PauseChecksRequest { service, r#for, by } = request.into_inner();
        let span = required("for", r#for).map_err(Rejection::from)?;
        let by = ChecksPause::checked_by(by).at("by").map_err(Rejection::from)?;
        let pause = AskedPause { span, by };
        let input = |reply| Input::PauseChecks { service, pause, reply };
        let service = self.0.handle.ask(input).await?;
        Ok(Response::new(pb::PauseChecksResponse { service: Some((&*service).into()) }))
    }

    async fn resume_checks(
        &self,
        request: Request<pb::ResumeChecksRequest>,
    ) -> Result<Response<pb::ResumeChecksResponse>, Status> {
        let pb::ResumeChecksRequest { service } = request.into_inner();
        let service = self.0.handle.ask(|reply| Input::ResumeChecks { service, reply }).await?;
        Ok(Response::new(pb::ResumeChecksResponse { service: Some((&*service).into()) }))
    }
}
