//! Numbers that look random and depend on their input alone.

/// Mixes the words into one: splitmix64's finalizer over a running sum.
pub(crate) fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, &word| finalize(state ^ finalize(word)))
}

/// A number in `1..=top` out of an even 64-bit one; zero when `top` is.
pub(crate) fn scale(number: u64, top: u64) -> u64 {
    if top == 0 {
        return 0;
    }
    let product = u128::from(number) * u128::from(top);
    u64::try_from(product >> 64).map_or(top, |below| below + 1)
}

const fn finalize(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_reaches_both_ends_and_nothing_beyond() {
        assert_eq!((scale(0, 5_000), scale(u64::MAX, 5_000), scale(7, 0)), (1, 5_000, 0));
    }

    #[test]
    fn the_order_of_words_matters() {
        assert_ne!(mix(&[1, 2]), mix(&[2, 1]));
        assert_ne!(mix(&[0]), mix(&[0, 0]));
    }
}
