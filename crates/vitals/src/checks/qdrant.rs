//! Qdrant, by its own endpoints.

use reqwest::Client;

use crate::check::{Check, CheckError, Context, Details};

/// Asks Qdrant's `/readyz` at its REST address, such as `http://vectors:6333`: 200 when all shards
/// are there. An older one, which has no `/readyz`, is asked for `/healthz`.
pub fn qdrant(client: Client, address: impl AsRef<str>) -> Qdrant {
    Qdrant { client, address: address.as_ref().trim_end_matches('/').to_owned(), key: None }
}

/// See [`qdrant`].
#[derive(Clone)]
pub struct Qdrant {
    client: Client,
    address: String,
    key: Option<String>,
}

impl Qdrant {
    /// For a server that wants a key even for its health.
    pub fn api_key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    async fn get(&self, path: &str, context: Context) -> Result<reqwest::StatusCode, CheckError> {
        let mut request = self.client.get(format!("{}{path}", self.address));
        if let Some(key) = &self.key {
            request = request.header("api-key", key);
        }
        Ok(request.timeout(context.timeout()).send().await?.status())
    }
}

impl std::fmt::Debug for Qdrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qdrant").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Check for Qdrant {
    async fn check(&self, context: Context) -> Result<Details, CheckError> {
        let mut status = self.get("/readyz", context).await?;
        if status == reqwest::StatusCode::NOT_FOUND {
            status = self.get("/healthz", context).await?;
        }
        if status.is_success() {
            Ok(Details::healthy())
        } else {
            Err(CheckError::new(format!("answered {status}")))
        }
    }

    fn target(&self) -> Option<String> {
        Some(self.address.clone())
    }
}
