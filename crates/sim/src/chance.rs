//! All chance of a run comes from its seed, by streams that do not disturb each other: what one
//! node draws does not depend on what another one did in the same moment.

/// A sequence of numbers: splitmix64.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream with this number.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed) ^ mix(stream.wrapping_add(0x51_7c_c1_b7_27_22_0a_95)))
    }

    pub const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// In `from..=to`.
    pub const fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw() % (to - from + 1)
    }

    pub const fn one_in(&mut self, n: u64) -> bool {
        self.draw().is_multiple_of(n)
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let last = u64::try_from(from.len()).unwrap() - 1;
        from[usize::try_from(self.between(0, last)).unwrap()].clone()
    }
}

/// Splitmix64's finalizer.
pub const fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number for these words alone.
pub fn hash(words: &[u64]) -> u64 {
    words.iter().fold(1, |state, &word| mix(state.wrapping_mul(31) ^ mix(word.wrapping_add(7))))
}
