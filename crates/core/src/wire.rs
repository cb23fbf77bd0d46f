//! What the conversions to and from `warren.v1` messages share. The conversions themselves sit
//! under their types: `From<&Domain>` is total, `TryFrom<Message>` refuses with the field's path.

use std::{str::FromStr, time::Duration};

use crate::{Invalid, invalid::At};

/// Texts for a person that came from outside are cut to this many bytes: they are kept in every
/// snapshot and in the history, and nobody reads more.
pub const TEXT_MAX: usize = 4096;

/// The last second that protobuf's Duration can hold: ten thousand years.
const DURATION_MAX_SECONDS: u64 = 315_576_000_000;

/// A field that must be there.
pub fn required<W, D>(field: &str, wire: Option<W>) -> Result<D, Invalid>
where
    D: TryFrom<W, Error = Invalid>,
{
    wire.ok_or_else(|| Invalid::missing(field))?.try_into().at(field)
}

/// A field that may be absent.
pub fn optional<W, D>(field: &str, wire: Option<W>) -> Result<Option<D>, Invalid>
where
    D: TryFrom<W, Error = Invalid>,
{
    wire.map(D::try_from).transpose().at(field)
}

/// Every element of a repeated field.
pub fn repeated<W, D, C>(field: &str, wire: Vec<W>) -> Result<C, Invalid>
where
    D: TryFrom<W, Error = Invalid>,
    C: FromIterator<D>,
{
    let element = |(index, item): (usize, W)| D::try_from(item).map_err(|e| e.at_index(index));
    wire.into_iter().enumerate().map(element).collect::<Result<C, Invalid>>().at(field)
}

/// A string that must be there, such as an id.
pub fn parsed<D: FromStr<Err = Invalid>>(field: &str, text: &str) -> Result<D, Invalid> {
    parsed_or_none(field, text)?.ok_or_else(|| Invalid::missing(field))
}

/// A string where empty means absent.
pub fn parsed_or_none<D>(field: &str, text: &str) -> Result<Option<D>, Invalid>
where
    D: FromStr<Err = Invalid>,
{
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).at(field) }
}

/// An enum that must be there. `W` is the enum as generated.
pub fn enumerated<W, D>(field: &str, number: i32) -> Result<D, Invalid>
where
    W: TryFrom<i32>,
    D: TryFrom<W, Error = Invalid>,
{
    W::try_from(number).map_err(|_| unknown_number(number)).and_then(D::try_from).at(field)
}

/// An enum where UNSPECIFIED, which is always zero, means a default.
pub fn enumerated_or<W, D>(field: &str, number: i32, absent: D) -> Result<D, Invalid>
where
    W: TryFrom<i32>,
    D: TryFrom<W, Error = Invalid>,
{
    if number == 0 { Ok(absent) } else { enumerated::<W, D>(field, number) }
}

/// A number that a newer peer, or a broken one, put into an enum.
pub fn unknown_number(number: i32) -> Invalid {
    Invalid::new(format!("{number} is not known here"))
}

/// A slot of a service: 1..n.
pub fn slot(field: &str, slot: u32) -> Result<u32, Invalid> {
    if slot == 0 { Err(Invalid::missing(field)) } else { Ok(slot) }
}

/// A text for a person, cut to [`TEXT_MAX`] bytes between two characters.
pub fn text(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

/// A name that people see in one line: 1 to `max` characters, none of them a control character.
pub fn printable(text: String, max: usize) -> Result<String, Invalid> {
    let count = text.chars().count();
    if (1..=max).contains(&count) && !text.chars().any(char::is_control) {
        Ok(text)
    } else {
        Err(Invalid::new(format!("is not 1-{max} printable characters")))
    }
}

/// Exact to the nanosecond; longer spans than protobuf's longest become it.
pub fn duration_to_wire(span: Duration) -> prost_types::Duration {
    let longest = Duration::from_secs(DURATION_MAX_SECONDS);
    let span = span.min(longest);
    prost_types::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(i32::MAX),
    }
}

/// Exact to the nanosecond. No span of ours is negative.
pub fn duration_from_wire(wire: prost_types::Duration) -> Result<Duration, Invalid> {
    let prost_types::Duration { seconds, nanos } = wire;
    if seconds < 0 || (seconds == 0 && nanos < 0) {
        return Err(Invalid::new(format!("{seconds} s and {nanos} ns are negative")));
    }
    let whole = u64::try_from(seconds).ok().filter(|s| *s <= DURATION_MAX_SECONDS);
    match (whole, u32::try_from(nanos)) {
        (Some(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Invalid::new(format!("{seconds} s and {nanos} ns are not a duration"))),
    }
}

/// Both directions between an enum without data and its generated form, whose variants have the
/// same names and an UNSPECIFIED besides. Both matches are exhaustive.
macro_rules! wire_enum {
    ($name:ident: $($variant:ident),+ $(,)?) => {
        impl From<$name> for warren_proto::v1::$name {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => Self::$variant,)+
                }
            }
        }

        impl TryFrom<warren_proto::v1::$name> for $name {
            type Error = $crate::Invalid;

            fn try_from(wire: warren_proto::v1::$name) -> Result<Self, $crate::Invalid> {
                match wire {
                    warren_proto::v1::$name::Unspecified => {
                        Err($crate::Invalid::new("is required"))
                    }
                    $(warren_proto::v1::$name::$variant => Ok(Self::$variant),)+
                }
            }
        }
    };
}
pub(crate) use wire_enum;
