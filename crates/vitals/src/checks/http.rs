//! Another service's health endpoint, or any page.

use reqwest::{Client, Method};

use crate::check::{Check, CheckError, Context, Details};

/// Gets a page with the service's own client. Any status from 200 to 399 passes; redirects are the
/// client's affair.
pub fn http(client: Client, url: impl Into<String>) -> Http {
    Http { client, url: url.into(), method: Method::GET }
}

/// See [`http`].
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    url: String,
    method: Method,
}

impl Http {
    /// Asks for the head of the page alone.
    pub fn head(self) -> Self {
        Self { method: Method::HEAD, ..self }
    }
}

impl Check for Http {
    async fn check(&self, context: Context) -> Result<Details, CheckError> {
        let request = self.client.request(self.method.clone(), &self.url);
        let answer = request.timeout(context.timeout()).send().await?;
        let status = answer.status();
        // Read to the end: the headers of a service that hangs in the middle prove nothing.
        answer.bytes().await?;
        if status.is_success() || status.is_redirection() {
            Ok(Details::healthy())
        } else {
            Err(CheckError::new(format!("answered {status}")))
        }
    }

    fn target(&self) -> Option<String> {
        Some(self.url.clone())
    }
}
