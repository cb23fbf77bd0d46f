//! Who is asked: addresses of 127.0.0.0/8, each one task.

use std::{net::Ipv4Addr, time::Duration};

/// Where all of them listen.
pub const PORT: u16 = 8080;
/// And for gRPC.
pub const GRPC_PORT: u16 = 8081;
/// As many addresses as are told apart below.
pub const MOST: usize = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub targets: usize,
    pub period: Duration,
    /// Whether a namespace is entered for each socket.
    pub netns: bool,
}

impl Plan {
    pub fn to_args(self) -> [String; 3] {
        let netns = if self.netns { "netns" } else { "-" };
        [self.targets.to_string(), self.period.as_millis().to_string(), netns.to_owned()]
    }

    pub fn from_args(args: &[String]) -> Self {
        let [targets, period, netns] = args else { panic!("three arguments, not {args:?}") };
        Self {
            targets: targets.parse().unwrap(),
            period: Duration::from_millis(period.parse().unwrap()),
            netns: netns == "netns",
        }
    }
}

pub fn address(target: usize) -> Ipv4Addr {
    let octet = |number: usize| u8::try_from(number % 250 + 1).unwrap();
    Ipv4Addr::new(127, octet(target / 62_500), octet(target / 250), octet(target))
}
