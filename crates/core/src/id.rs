//! Identities. Random numbers drawn by the shells, shown as sixteen hexadecimal digits; never
//! reused, so a report about a task of yesterday can never be taken for one of today.

use std::{fmt, str::FromStr};

use crate::Invalid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl $name {
            /// From a number that the caller drew at random.
            pub const fn from_u64(number: u64) -> Self {
                Self(number)
            }

            pub const fn as_u64(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                let well_formed = text.len() == 16
                    && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                match u64::from_str_radix(text, 16) {
                    Ok(number) if well_formed => Ok(Self(number)),
                    _ => Err(Invalid::new(format!(
                        "{text:?} is not an id: sixteen hexadecimal digits in lower case"
                    ))),
                }
            }
        }
    )+};
}

ids! {
    /// Of a service, for as long as it exists; its name may be given to another one later.
    ServiceId,
    /// Of one attempt to fill a slot.
    TaskId,
    /// Of a cluster: of the database that it lives in, drawn when that was made.
    ClusterId,
    /// Of a machine that runs a worker; kept in the worker's data directory.
    NodeId,
}

#[cfg(test)]
mod tests {
    use super::TaskId;

    #[test]
    fn ids_read_back_what_they_show() {
        for number in [0, 1, 0xdead_beef, u64::MAX] {
            let id = TaskId::from_u64(number);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn anything_but_sixteen_lower_case_digits_is_refused() {
        for text in ["", "1", "00000000DEADBEEF", "+0000000deadbeef", "00000000deadbeef0"] {
            assert!(text.parse::<TaskId>().is_err(), "{text:?}");
        }
    }
}
