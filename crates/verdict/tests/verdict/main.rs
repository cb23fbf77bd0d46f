//! The verdicts against an oracle that shares no code with them, against a table, and clause by
//! clause of `docs/checks.md`.

mod edit;
mod evidence;
mod exhaustive;
mod flapping;
mod make;
mod oracle;
mod properties;
mod resume;
mod roles;
mod starting;
mod table;
mod thresholds;
mod timing;
