//! What `protoc` makes of `proto/warren/v1`, and nothing else.
#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "generated code"
)]

/// Messages, and with the feature `grpc` the clients and servers, of `warren.v1`.
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/warren.v1.rs"));
}

/// The compiled schema, for server reflection and for the JSON form of every message.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/warren.v1.bin"));
