//! Columns that are sent once: who has a row of one is not sent it again, whatever becomes of it.

use std::collections::BTreeMap;

use ringfort_protocol::client_world::ClientWorld;

use super::Failed;
use crate::game::Description;

/// Ticks after which the server knows that a client has a row: until then it may send it again, as it is by then.
const SETTLED_TICKS: u32 = 90;

/// The rows that a client has of such columns, by index, generation and wire column: since when, and which.
#[derive(Default)]
pub(super) struct Once {
    rows: BTreeMap<(u32, u32, usize), (u32, Vec<u8>)>,
}

impl Once {
    /// Looks at a client's world after a snapshot.
    pub(super) fn look(&mut self, is: &Description, has: &ClientWorld) -> Result<(), Failed> {
        let (tick, mut rows) = (has.tick().0, BTreeMap::new());
        let once = |schema_index: u16| is.schema.columns[usize::from(schema_index)].once;
        for (wire, _) in is.wire.columns.iter().enumerate().filter(|(_, column)| once(column.schema_index)) {
            for e in has.entities() {
                let Some(row) = has.encoded(e, wire) else { continue };
                let key = (e.index, e.generation, wire);
                let since = match self.rows.remove(&key) {
                    Some((since, held)) if held == row => since,
                    Some((since, held)) if tick > since + SETTLED_TICKS => {
                        let what = format!(
                            "tick {tick}: column {wire} of {e}, held as {held:?} since tick {since}, came again: {row:?}"
                        );
                        return Err(Failed(what));
                    }
                    _ => tick,
                };
                rows.insert(key, (since, row.to_vec()));
            }
        }
        self.rows = rows;
        Ok(())
    }
}
