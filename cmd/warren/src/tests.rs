//! Commands as a whole, against a manager that only plays one.

mod commands;
mod fake;
mod fixture;
mod help;
mod shown;
mod spec_flags;
mod tls;
