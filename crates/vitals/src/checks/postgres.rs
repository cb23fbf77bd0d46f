//! `PostgreSQL`: a connection from the pool, and `SELECT 1` on it.

use std::fmt;

use crate::check::{Check, CheckError, Context, Details};

/// Asks the server one question through the service's own pool. Takes `sqlx::PgPool`,
/// `deadpool_postgres::Pool` or an `Arc<tokio_postgres::Client>`, by the features `sqlx`,
/// `deadpool-postgres` and `tokio-postgres`.
///
/// ```no_run
/// # async fn build() -> Result<(), sqlx::Error> {
/// # use vitals::Vitals;
/// let pool = sqlx::PgPool::connect("postgres://app@db/payments").await?;
/// let health =
///     Vitals::new("payments", "1.0.0").critical("postgres", vitals::postgres(pool.clone()));
/// # drop(health);
/// # Ok(())
/// # }
/// ```
pub fn postgres<P: PostgresPool>(pool: P) -> Postgres<P> {
    Postgres { pool }
}

/// See [`postgres`].
#[derive(Clone)]
pub struct Postgres<P> {
    pool: P,
}

impl<P> fmt::Debug for Postgres<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").finish_non_exhaustive()
    }
}

/// Where [`postgres`] gets its connection from.
pub trait PostgresPool: Send + Sync + 'static {
    /// Asks `SELECT 1`.
    fn ask(&self) -> impl Future<Output = Result<(), CheckError>> + Send;

    /// The server's address and the database, where the pool knows them.
    fn target(&self) -> Option<String> {
        None
    }
}

impl<P: PostgresPool> Check for Postgres<P> {
    async fn check(&self, _: Context) -> Result<Details, CheckError> {
        self.pool.ask().await?;
        Ok(Details::healthy())
    }

    fn target(&self) -> Option<String> {
        self.pool.target()
    }
}

#[cfg(feature = "sqlx")]
impl PostgresPool for sqlx::PgPool {
    async fn ask(&self) -> Result<(), CheckError> {
        sqlx::query("SELECT 1").execute(self).await?;
        Ok(())
    }

    fn target(&self) -> Option<String> {
        let options = self.connect_options();
        let database = options.get_database().unwrap_or_default();
        Some(format!("{}:{}/{database}", options.get_host(), options.get_port()))
    }
}

#[cfg(feature = "tokio-postgres")]
impl PostgresPool for std::sync::Arc<tokio_postgres::Client> {
    async fn ask(&self) -> Result<(), CheckError> {
        self.simple_query("SELECT 1").await?;
        Ok(())
    }
}

#[cfg(feature = "deadpool-postgres")]
impl PostgresPool for deadpool_postgres::Pool {
    async fn ask(&self) -> Result<(), CheckError> {
        self.get().await?.simple_query("SELECT 1").await?;
        Ok(())
    }
}
