//! What to do next: cluster + policy + now -> plan.
//!
//! Pure. A plan depends on the rows, the time and the seed alone, so a crash between two plans
//! loses nothing: whatever one began, the next one finds in the rows and carries on. Applying a
//! plan and planning again at the same moment yields nothing.

mod backoff;
mod breaker;
mod dirty;
mod draft;
mod guard;
mod health;
mod ledger;
mod mix;
mod node;
mod placement;
mod plan;
mod policy;
mod ranking;
mod retention;
mod service;
mod slot;
mod step;
pub mod summary;
mod violations;

pub use dirty::Dirty;
pub use health::{effective_health, observed_health, standing, title};
pub use plan::{AtRest, Plan, plan, plan_dirty};
pub use policy::Policy;
pub use slot::holder;
pub use violations::{Violation, violations};
