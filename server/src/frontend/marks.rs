//! A set of entity indices that is filled in any order and read in that of the indices.

/// A bit for each index, and above each 64 words of them a word that says which are not empty, so that reading a few of thousands
/// touches little.
#[derive(Default)]
pub struct Marks {
    words: Vec<u64>,
    filled: Vec<u64>,
}

impl Marks {
    /// Makes room for indices below `entities`.
    pub fn reserve(&mut self, entities: usize) {
        let words = entities.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
            self.filled.resize(words.div_ceil(64), 0);
        }
    }

    /// Adds an index for which there is room.
    #[inline]
    pub fn add(&mut self, index: u32) {
        let word = index as usize / 64;
        self.words[word] |= 1 << (index % 64);
        self.filled[word / 64] |= 1 << (word % 64);
    }

    /// Takes all out, lowest first.
    #[inline]
    pub fn drain(&mut self, mut each: impl FnMut(u32)) {
        for (at, filled) in self.filled.iter_mut().enumerate() {
            let mut filled = std::mem::take(filled);
            while filled != 0 {
                let word = at * 64 + filled.trailing_zeros() as usize;
                filled &= filled - 1;
                let mut bits = std::mem::take(&mut self.words[word]);
                while bits != 0 {
                    each((word * 64) as u32 + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_added_comes_out_once_and_in_order(sets in proptest::collection::vec(proptest::collection::vec(0u32..9000, 0..80), 1..5)) {
            let mut marks = Marks::default();
            marks.reserve(9000);
            for set in sets {
                set.iter().for_each(|index| marks.add(*index));
                let mut out = Vec::new();
                marks.drain(|index| out.push(index));
                let expected: Vec<u32> = set.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
                proptest::prop_assert_eq!(out, expected);
            }
        }
    }
}
