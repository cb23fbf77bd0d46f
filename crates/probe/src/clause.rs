//! The clauses of `docs/checks.md` that can decide an attempt.

use warren_core::{clause::Clause, outcome::Outcome};

/// One deadline covers the whole attempt.
pub(crate) const DEADLINE: Clause = Clause::new(6);
/// The observer was at fault.
pub(crate) const OBSERVER: Clause = Clause::new(32);
/// What came is no HTTP.
pub(crate) const HTTP: Clause = Clause::new(50);
pub(crate) const STATUS: Clause = Clause::new(51);
pub(crate) const BODY: Clause = Clause::new(52);
pub(crate) const REDIRECT: Clause = Clause::new(53);
pub(crate) const TLS: Clause = Clause::new(55);
/// The body matched, or did not.
pub(crate) const BODY_MATCH: Clause = Clause::new(59);
pub(crate) const HTTP2: Clause = Clause::new(58);
/// It is not the right one.
pub(crate) const CERTIFICATE: Clause = Clause::new(100);
/// No unix socket lets us in.
pub(crate) const SOCKET: Clause = Clause::new(101);
pub(crate) const NAMED_PORT: Clause = Clause::new(102);
/// What came over TCP matched, or did not.
pub(crate) const ANSWER: Clause = Clause::new(105);
pub(crate) const GRPC: Clause = Clause::new(110);
/// It cannot be asked for its health at all.
pub(crate) const GRPC_HELP: Clause = Clause::new(111);
pub(crate) const EXIT_CODES: Clause = Clause::new(115);
pub(crate) const OUTPUT: Clause = Clause::new(116);
pub(crate) const FILE: Clause = Clause::new(120);
pub(crate) const FILE_AGE: Clause = Clause::new(121);
pub(crate) const PARTS: Clause = Clause::new(125);
pub(crate) const ALL: Clause = Clause::new(126);
pub(crate) const ANY: Clause = Clause::new(127);
pub(crate) const CONNECTED: Clause = Clause::new(60);
/// Nobody let us in, or the connection was lost.
pub(crate) const NO_CONNECTION: Clause = Clause::new(61);
pub(crate) const EXIT_CODE: Clause = Clause::new(70);
pub(crate) const NOT_RUN: Clause = Clause::new(71);
pub(crate) const KILLED: Clause = Clause::new(72);
pub(crate) const PERMIT: Clause = Clause::new(74);
pub(crate) const NO_RUNTIME: Clause = Clause::new(75);

/// Of a connection on which an error came that means `outcome`.
pub(crate) const fn of_connection(outcome: Outcome) -> Clause {
    use warren_core::outcome::Evidence::{Explicit, Gone, Refused, Timeout};
    match outcome {
        Outcome::Pass => CONNECTED,
        Outcome::Fail(Refused | Timeout | Gone) => NO_CONNECTION,
        Outcome::Fail(Explicit) => HTTP,
        Outcome::Inconclusive => OBSERVER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_that_decides_is_written_down() {
        let text = include_str!("../../../docs/checks.md");
        for clause in [
            DEADLINE,
            OBSERVER,
            HTTP,
            STATUS,
            BODY,
            REDIRECT,
            TLS,
            CONNECTED,
            NO_CONNECTION,
            EXIT_CODE,
            NOT_RUN,
            KILLED,
            PERMIT,
            NO_RUNTIME,
            BODY_MATCH,
            HTTP2,
            CERTIFICATE,
            SOCKET,
            NAMED_PORT,
            ANSWER,
            GRPC,
            GRPC_HELP,
            EXIT_CODES,
            OUTPUT,
            FILE,
            FILE_AGE,
            PARTS,
            ALL,
            ANY,
        ] {
            assert!(text.contains(&format!("\n**{clause}** ")), "{clause}");
        }
    }
}
