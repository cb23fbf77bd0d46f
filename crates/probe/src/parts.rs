//! One attempt at a check of several parts.
//!
//! All parts begin together, under one deadline. Commands are the exception: a task runs one at a
//! time, so they follow each other under that same deadline, and one permit serves them all.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{sync::Mutex, time::Instant};
use warren_core::{
    check::{CheckKind, Parts},
    outcome::{Evidence, Outcome},
};

use crate::{Prober, Seen, Target, clause, end::End, exec, message::fit, prober::Given};

/// How many must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    All,
    Any,
}

pub(crate) async fn attempt(
    prober: &Prober,
    target: &Target,
    rule: Rule,
    parts: &Parts,
    limit: Duration,
) -> Seen {
    let parts = parts.as_slice();
    let seen = make(prober, target, rule, parts, limit).await;
    if seen.outcome != Outcome::Pass {
        // Those that passed too: the whole is tried anew.
        for part in parts {
            target.failed(part);
        }
    }
    seen
}

async fn make(
    prober: &Prober,
    target: &Target,
    rule: Rule,
    parts: &[CheckKind],
    limit: Duration,
) -> Seen {
    let mut waited = Duration::ZERO;
    let mut held = None;
    if parts.iter().any(CheckKind::needs_permit) {
        match exec::permits(prober, target, limit).await {
            Ok(permits) => waited = held.insert(permits).waited,
            Err(seen) => return seen,
        }
    }
    let begun = Instant::now();
    let whole = prober.given(limit).limit;
    let turn = Mutex::new(());
    let look = async |index: usize, kind: &CheckKind| {
        let seen = match kind {
            CheckKind::Exec(check) => {
                let _turn = turn.lock().await;
                let spent = begun.elapsed();
                let left = |of: Duration| of.saturating_sub(spent);
                let given = Given::of(left(limit), left(whole));
                let stretched = given.is_stretched();
                let end = if given.limit.is_zero() {
                    let message =
                        format!("not begun: nothing was left of {}", Given::of(limit, whole));
                    End::fail(clause::DEADLINE, Evidence::Timeout, message)
                } else {
                    exec::run(target, check, given).await
                };
                let seen = Seen::new(end, begun);
                Seen { stretched: stretched && seen.latency > limit, ..seen }
            }
            CheckKind::Http(_) | CheckKind::Tcp(_) | CheckKind::Grpc(_) | CheckKind::File(_) => {
                Box::pin(prober.look(target, kind, limit)).await
            }
            // Parts are made of none.
            CheckKind::All(_) | CheckKind::Any(_) => {
                let message = "a part is made of parts itself";
                Seen::new(End::inconclusive(clause::PARTS, message), begun)
            }
        };
        (index, seen)
    };
    let mut looks: FuturesUnordered<_> =
        parts.iter().enumerate().map(|(index, kind)| Box::pin(look(index, kind))).collect();
    let mut seen: Vec<Option<Seen>> = vec![None; parts.len()];
    while let Some((index, one)) = looks.next().await {
        if rule.is_decided_by(one.outcome) {
            // The others end here.
            let message = format!("{}: {}", title(index, parts), one.message);
            return Seen { message: fit(message), waited, ..one };
        }
        seen[index] = Some(one);
    }
    drop(looks);
    let all: Vec<Seen> = seen.into_iter().flatten().collect();
    let stretched = all.iter().any(|one| one.stretched);
    Seen { waited, stretched, ..Seen::new(rule.undecided(parts, &all), begun) }
}

impl Rule {
    const fn is_decided_by(self, outcome: Outcome) -> bool {
        match (self, outcome) {
            (Self::All, Outcome::Fail(_)) | (Self::Any, Outcome::Pass) => true,
            (Self::All, Outcome::Pass | Outcome::Inconclusive)
            | (Self::Any, Outcome::Fail(_) | Outcome::Inconclusive) => false,
        }
    }

    /// No part decided alone.
    fn undecided(self, parts: &[CheckKind], all: &[Seen]) -> End {
        let lost = all.iter().enumerate().find(|(_, one)| one.outcome == Outcome::Inconclusive);
        if let Some((index, one)) = lost {
            let message = format!("{}: {}", title(index, parts), one.message);
            return End::inconclusive(one.clause, message);
        }
        let said: Vec<String> = parts
            .iter()
            .zip(all)
            .map(|(kind, one)| format!("({}) {}", kind.name(), one.message))
            .collect();
        let (count, said) = (parts.len(), said.join("; "));
        match self {
            Self::All => End::pass(clause::ALL, format!("all {count} parts passed: {said}")),
            Self::Any => {
                let message = format!("none of {count} parts passed: {said}");
                // The first that names some: they stand together.
                let named = all.iter().find(|one| !one.components.is_empty());
                let components = named.map(|one| one.components.clone()).unwrap_or_default();
                End { components, ..End::fail(clause::ANY, strongest(all), message) }
            }
        }
    }
}

/// That says most of the task: an answer more than a refusal, and that more than silence.
fn strongest(all: &[Seen]) -> Evidence {
    let some = |evidence| all.iter().any(|one| one.outcome == Outcome::Fail(evidence));
    [Evidence::Explicit, Evidence::Refused]
        .into_iter()
        .find(|evidence| some(*evidence))
        .unwrap_or(Evidence::Timeout)
}

fn title(index: usize, parts: &[CheckKind]) -> String {
    let kind = parts.get(index).map_or("", CheckKind::name);
    format!("part {} of {} ({kind})", index + 1, parts.len())
}
