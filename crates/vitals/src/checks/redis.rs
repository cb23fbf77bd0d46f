//! Redis: PING, and in a cluster whether the cluster is whole.

use std::fmt;

use redis::{RedisError, aio::ConnectionLike};

use crate::check::{Check, CheckError, Context, Details};

/// Sends PING through the service's own client: a `redis::Client`, a `ConnectionManager`, a
/// `MultiplexedConnection` or, with feature `redis-cluster`, a `ClusterConnection`.
///
/// ```no_run
/// # fn build() -> redis::RedisResult<()> {
/// # use vitals::Vitals;
/// let client = redis::Client::open("redis://cache/")?;
/// let health =
///     Vitals::new("payments", "1.0.0").non_critical("redis", vitals::redis(client.clone()));
/// # drop(health);
/// # Ok(())
/// # }
/// ```
pub fn redis<C: RedisClient>(client: C) -> Redis<C> {
    Redis { client, cluster: false }
}

/// See [`redis()`].
#[derive(Clone)]
pub struct Redis<C> {
    client: C,
    cluster: bool,
}

impl<C> Redis<C> {
    /// Fails as well while the cluster does not serve all slots (`cluster_state` is not `ok`).
    pub fn cluster(self) -> Self {
        Self { cluster: true, ..self }
    }
}

impl<C> fmt::Debug for Redis<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Where [`redis()`] gets its connection from.
pub trait RedisClient: Send + Sync + 'static {
    /// A connection to ask on.
    fn connection(
        &self,
    ) -> impl Future<Output = Result<impl ConnectionLike + Send, RedisError>> + Send;

    /// The server's address, where the client knows it.
    fn target(&self) -> Option<String> {
        None
    }
}

impl<C: RedisClient> Check for Redis<C> {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        let mut connection = self.client.connection().await?;
        let () = redis::cmd("PING").query_async(&mut connection).await?;
        if self.cluster {
            let facts: String =
                redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await?;
            whole(&facts)?;
        }
        Ok(Details::healthy())
    }

    fn target(&self) -> Option<String> {
        self.client.target()
    }
}

/// What `CLUSTER INFO` says.
fn whole(facts: &str) -> Result<(), CheckError> {
    let state = facts.lines().find_map(|line| line.trim().strip_prefix("cluster_state:"));
    match state {
        Some("ok") => Ok(()),
        Some(state) => Err(CheckError::new(format!("cluster_state is {state}"))),
        None => Err(CheckError::new("CLUSTER INFO has no cluster_state")),
    }
}

impl RedisClient for redis::Client {
    async fn connection(&self) -> Result<impl ConnectionLike + Send, RedisError> {
        self.get_multiplexed_async_connection().await
    }

    fn target(&self) -> Option<String> {
        Some(self.get_connection_info().addr().to_string())
    }
}

impl RedisClient for redis::aio::MultiplexedConnection {
    async fn connection(&self) -> Result<impl ConnectionLike + Send, RedisError> {
        Ok(self.clone())
    }
}

impl RedisClient for redis::aio::ConnectionManager {
    async fn connection(&self) -> Result<impl ConnectionLike + Send, RedisError> {
        Ok(self.clone())
    }
}

#[cfg(feature = "redis-cluster")]
impl RedisClient for redis::cluster_async::ClusterConnection {
    async fn connection(&self) -> Result<impl ConnectionLike + Send, RedisError> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_whole_when_it_says_ok() {
        let said = |facts: &str| whole(facts).map_err(|error| error.message().to_owned());
        assert_eq!(said("cluster_enabled:1\r\ncluster_state:ok\r\n"), Ok(()));
        let failed = Err("cluster_state is fail".to_owned());
        assert_eq!(said("cluster_state:fail\r\ncluster_slots_assigned:1\r\n"), failed);
        assert!(said("").is_err());
    }
}
