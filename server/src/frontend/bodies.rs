//! The rows of an entity's record, put together once a commit for all clients that are sent the same columns.

use ringfort_protocol::bits::{BitWriter, Row};

/// Sets of columns that are remembered for an entity: who is up to date is sent one, who missed a snapshot often another.
const WAYS: usize = 2;

/// Bodies of records of one commit.
#[derive(Default)]
pub struct Bodies {
    commit: u32,
    of: Vec<[Body; WAYS]>,
    words: Vec<u64>,
    bits: BitWriter,
}

#[derive(Clone, Copy, Default)]
struct Body {
    /// Of which commit it is; 0 for none.
    commit: u32,
    mask: u32,
    at: u32,
    bits: u32,
}

impl Bodies {
    /// Forgets all of the commit before, and makes room for entities.
    pub fn begin(&mut self, entities: usize) {
        self.commit = self.commit.wrapping_add(1).max(1);
        self.words.clear();
        if self.of.len() < entities {
            self.of.resize(entities, [Body::default(); WAYS]);
        }
    }

    /// The rows of the columns in `mask`, one behind the other, lowest first. `None` when other columns of the entity have taken the
    /// place.
    #[inline]
    pub fn get<'b>(&'b mut self, index: u32, mask: u32, row: impl Fn(usize) -> Row<'b>) -> Option<Row<'b>> {
        if mask.is_power_of_two() {
            return Some(row(mask.trailing_zeros() as usize));
        }
        let ways = &mut self.of[index as usize];
        let way = ways.iter_mut().find(|way| way.commit != self.commit || way.mask == mask)?;
        if way.commit != self.commit {
            self.bits.clear();
            let mut rest = mask;
            while rest != 0 {
                self.bits.append(row(rest.trailing_zeros() as usize));
                rest &= rest - 1;
            }
            let at = self.words.len() as u32;
            *way = Body { commit: self.commit, mask, at, bits: self.bits.copy_words(&mut self.words) };
        }
        Some(Row { words: &self.words[way.at as usize..], bits: way.bits })
    }
}
