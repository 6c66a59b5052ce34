//! [`Choices`]: where a script comes from, a seed or the bytes of a fuzzer.

/// Decides. The first choice is the plainest, and the one that is taken when the bytes of a fuzzer have run out.
pub enum Choices<'a> {
    Seed(u64),
    Bytes(&'a [u8]),
}

impl Choices<'_> {
    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        match self {
            Choices::Seed(state) => (splitmix(state) % end as u64) as usize,
            Choices::Bytes(bytes) => {
                let count = if end <= 256 { 1 } else { 3 };
                let (taken, rest) = bytes.split_at(count.min(bytes.len()));
                *bytes = rest;
                taken.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)) % end
            }
        }
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Fewer than `end` items.
    pub fn list<T>(&mut self, end: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(end)).map(|_| item(self)).collect()
    }

    /// A number of bytes: most are few, some are at the sizes of the buffers, one in a hundred is large.
    pub fn bytes(&mut self) -> usize {
        const EDGES: [usize; 5] = [1024, 8 * 1024, 16 * 1024, 64 * 1024, 128 * 1024];
        match self.below(100) {
            0..=49 => self.below(40),
            50..=84 => self.below(1000),
            85..=92 => (self.pick(&EDGES[..3]) + self.below(24)).saturating_sub(12),
            93..=95 => (self.pick(&EDGES) + self.below(24)).saturating_sub(12),
            96..=98 => self.below(20_000),
            _ => self.below(300_000),
        }
    }
}

/// The next number of a sequence that is the same in each run (splitmix64).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *state;
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
