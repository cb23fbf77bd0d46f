#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

#[cfg(feature = "actix-web")]
mod actix;
#[cfg(feature = "axum")]
mod axum;

mod answer;
mod check;
mod checks;
mod clock;
mod disclosure;
mod form;
#[cfg(feature = "tonic")]
mod grpc;
mod heartbeat;
mod lifecycle;
#[cfg(feature = "listener")]
mod listener;
mod live;
#[cfg(feature = "metrics")]
mod metrics;
mod redact;
mod report;
mod settings;
mod shared;
mod state;
mod status;
mod tally;
pub mod testing;
mod vitals;

#[cfg(feature = "tonic")]
pub use self::grpc::GrpcHealth;
#[cfg(feature = "listener")]
pub use self::listener::Listener;
pub use self::{
    answer::PATHS,
    check::{Check, CheckError, Context, Details},
    checks::*,
    clock::Clock,
    disclosure::Disclosure,
    heartbeat::Heartbeat,
    report::{ComponentReport, Report},
    settings::Component,
    status::{Status, Weight},
    vitals::{Gate, InFlight, RegistrationError, Vitals},
};
