//! What each role of one task has.

use warren_core::check::{ByRole, Role};

/// The first is of the role that stays: mostly there is no other, or only startup, which is over
/// soon. It lies with the task, since what lies elsewhere takes time to fetch. Of the others only
/// a task that has them takes the memory.
#[derive(Debug, Clone)]
pub(crate) struct Seats<T> {
    first: Option<(Role, T)>,
    others: ByRole<Option<Box<T>>>,
}

impl<T> Seats<T> {
    pub(crate) fn by_role(make: impl Fn(Role) -> Option<T>) -> Self {
        let mut seats = Self { first: None, others: ByRole::default() };
        for role in [Role::Liveness, Role::Readiness, Role::Startup] {
            let Some(seat) = make(role) else { continue };
            match &seats.first {
                None => seats.first = Some((role, seat)),
                Some(_) => *seats.others.get_mut(role) = Some(Box::new(seat)),
            }
        }
        seats
    }

    pub(crate) fn get(&self, role: Role) -> Option<&T> {
        match &self.first {
            Some((first, seat)) if *first == role => Some(seat),
            Some(_) | None => self.others.get(role).as_deref(),
        }
    }

    pub(crate) fn get_mut(&mut self, role: Role) -> Option<&mut T> {
        match &mut self.first {
            Some((first, seat)) if *first == role => Some(seat),
            Some(_) | None => self.others.get_mut(role).as_deref_mut(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_own_and_the_one_that_stays_lies_first() {
        for has in 0..8 {
            let has = |role: Role| has >> (role as u8) & 1 == 1;
            let mut seats = Seats::by_role(|role| has(role).then(|| role.name().to_owned()));
            for role in Role::ALL.into_iter().filter(|role| has(*role)) {
                seats.get_mut(role).unwrap().push('!');
            }
            let is = Role::ALL.map(|role| seats.get(role).cloned());
            let wanted = Role::ALL.map(|role| has(role).then(|| format!("{}!", role.name())));
            assert_eq!(is, wanted);
            let steady =
                [Role::Liveness, Role::Readiness, Role::Startup].into_iter().find(|r| has(*r));
            assert_eq!(seats.first.map(|(role, _)| role), steady);
        }
    }
}
