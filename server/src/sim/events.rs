//! Events from the game into the committed log and the tick's cues.

use ringfort_protocol::Message;
use ringfort_protocol::bits::BitWriter;
use ringfort_shm_state::layout::{Audience, EventRow, SessionRow};
use ringfort_shm_state::limits::MAX_EVENT_BYTES;
use ringfort_shm_state::table::Table;

use crate::game::Outgoing;

/// The row of an event; `None` when its encoding is longer than a row has room for. `bits` is used again and again.
pub fn row<E: Message>(out: &Outgoing<E>, tick: u32, bits: &mut BitWriter) -> Option<EventRow> {
    bits.clear();
    out.event.encode(bits);
    let encoded = bits.flush();
    let mut payload = [0; MAX_EVENT_BYTES];
    payload.get_mut(..encoded.len())?.copy_from_slice(encoded);
    Some(EventRow {
        number: 0,
        session: out.session,
        tick,
        audience: out.audience as u32,
        centre: [out.centre.x.to_bits(), out.centre.y.to_bits()],
        radius: out.radius,
        bytes: encoded.len() as u32,
        payload,
    })
}

/// Sessions that an event was for and that have not acknowledged it.
pub fn addressees<'t>(event: &EventRow, sessions: &'t Table<SessionRow>) -> impl Iterator<Item = u64> + use<'t> {
    let (number, session) = (event.number, event.session);
    let one = event.audience == Audience::One as u32;
    sessions.iter().filter(move |(_, row)| row.event_cursor < number && (!one || row.id == session)).map(|(_, row)| row.id)
}
