//! Columns that are sent once: who has a row of one is not sent it again, whatever becomes of it.

use std::collections::BTreeMap;

use ringfort_protocol::client_world::ClientWorld;

use super::oracle::Oracle;
use super::{Carrier, Failed};

/// Ticks after which the server knows that a client has a row: until then it may send it again, as it is by then. QUIC holds
/// datagrams back when many were lost, and what acknowledges the row with them: seconds, in a storm.
fn settled_ticks(carrier: Carrier) -> u32 {
    match carrier {
        Carrier::Plain => 90,
        Carrier::Quic => 300,
    }
}

/// The rows that a client has of such columns, by index, generation and wire column: since when, and which.
pub(super) struct Once {
    settled_ticks: u32,
    rows: BTreeMap<(u32, u32, usize), (u32, Vec<u8>)>,
}

impl Once {
    /// Before anything is seen.
    pub(super) fn new(carrier: Carrier) -> Self {
        Self { settled_ticks: settled_ticks(carrier), rows: BTreeMap::new() }
    }

    /// Looks at a session's world after a snapshot. An entity that it was not to see in between is told anew.
    pub(super) fn look(&mut self, oracle: &Oracle, session: u64, has: &ClientWorld) -> Result<(), Failed> {
        let is = &oracle.is;
        let (tick, mut rows) = (has.tick().0, BTreeMap::new());
        let once = |schema_index: u16| is.schema.columns[usize::from(schema_index)].once;
        for (wire, _) in is.wire.columns.iter().enumerate().filter(|(_, column)| once(column.schema_index)) {
            for e in has.entities() {
                let Some(row) = has.encoded(e, wire) else { continue };
                let key = (e.index, e.generation, wire);
                let since = match self.rows.remove(&key) {
                    Some((since, held)) if held == row => since,
                    Some((since, held))
                        if tick > since + self.settled_ticks && oracle.saw_always(session, e, wire, since..=tick) =>
                    {
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
