//! Checks that are ready to use. Each takes the service's own pool or client, so that a pool that
//! is exhausted shows as what it is.

mod blocking;
#[cfg(feature = "certificate")]
mod certificate;
mod consumer;
#[cfg(feature = "disk")]
mod disk;
#[cfg(feature = "reqwest")]
mod http;
#[cfg(feature = "rdkafka")]
mod kafka;
mod memory;
#[cfg(feature = "async-nats")]
mod nats;
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
mod postgres;
#[cfg(feature = "reqwest")]
mod qdrant;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "tcp")]
mod tcp;

pub use self::blocking::{Blocking, blocking};
#[cfg(feature = "certificate")]
pub use self::certificate::{Certificate, certificate};
pub use self::consumer::Consumer;
#[cfg(feature = "disk")]
pub use self::disk::{Disk, disk};
#[cfg(feature = "reqwest")]
pub use self::http::{Http, http};
#[cfg(feature = "rdkafka")]
pub use self::kafka::{Kafka, kafka};
pub use self::memory::{Memory, memory};
#[cfg(feature = "async-nats")]
pub use self::nats::{Nats, nats};
#[cfg(any(feature = "sqlx", feature = "tokio-postgres"))]
pub use self::postgres::{Postgres, PostgresPool, postgres};
#[cfg(feature = "reqwest")]
pub use self::qdrant::{Qdrant, qdrant};
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisClient, redis};
#[cfg(feature = "tcp")]
pub use self::tcp::{Tcp, tcp};
