//! The three states of a component and of the whole.

use serde::Serialize;

/// How a component is, or all of them together. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Works. Answered with 200.
    Healthy,
    /// Works, but worse than it should. Answered with 200: traffic is still welcome.
    Degraded,
    /// Does not work. Answered with 503.
    Unhealthy,
}

impl Status {
    /// Every state, from best to worst.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Degraded, Self::Unhealthy];

    /// The word that the endpoints use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The status code of an answer.
    pub fn code(self) -> http::StatusCode {
        match self {
            Self::Healthy | Self::Degraded => http::StatusCode::OK,
            Self::Unhealthy => http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What a component's failure means for the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Without it the service cannot work: its failure makes the whole unhealthy and not ready.
    Critical,
    /// The service works without it, only worse: its failure makes the whole degraded.
    NonCritical,
    /// It is shown and counts for nothing.
    Informational,
}

impl Weight {
    /// What a component's state adds to the whole.
    pub(crate) fn counts(self, status: Status) -> Status {
        match self {
            Self::Critical => status,
            Self::NonCritical => status.min(Status::Degraded),
            Self::Informational => Status::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_critical_component_can_make_the_whole_unhealthy() {
        use Status::{Degraded, Healthy, Unhealthy};
        for (weight, expected) in [
            (Weight::Critical, [Healthy, Degraded, Unhealthy]),
            (Weight::NonCritical, [Healthy, Degraded, Degraded]),
            (Weight::Informational, [Healthy, Healthy, Healthy]),
        ] {
            assert_eq!(Status::ALL.map(|status| weight.counts(status)), expected, "{weight:?}");
        }
    }

    #[test]
    fn degraded_is_still_answered_with_200() {
        assert_eq!(Status::ALL.map(|status| status.code().as_u16()), [200, 200, 503]);
    }
}
