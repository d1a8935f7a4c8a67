//! What a tick has done to sessions, for the flight recorder: kept until the tick is committed, so that nothing is told that never was.

use ringfort_shm_state::layout::FlightKind;
use ringfort_shm_state::limits::PLAYER_NAME_BYTES;
use ringfort_shm_state::segment::{padded, unpadded};

use super::Zone;
use crate::flight::{self, Note};
use crate::game::Game;
use crate::limits::FLIGHTS_PER_TICK;

/// Notes of the tick under way; the first so many of them.
#[derive(Default)]
pub(super) struct Flights(Vec<Flight>);

struct Flight {
    kind: FlightKind,
    session: u64,
    a: u64,
    name: [u8; PLAYER_NAME_BYTES],
}

impl Flights {
    pub(super) fn add(&mut self, kind: FlightKind, session: u64, a: u64) {
        self.push(Flight { kind, session, a, name: [0; PLAYER_NAME_BYTES] });
    }

    pub(super) fn add_named(&mut self, kind: FlightKind, session: u64, name: &str) {
        self.push(Flight { kind, session, a: 0, name: padded(name) });
    }

    fn push(&mut self, flight: Flight) {
        if self.0.len() < FLIGHTS_PER_TICK {
            self.0.push(flight);
        }
    }

    /// The tick was rolled back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<G: Game> Zone<G> {
    /// Notes what the committed tick has done.
    pub fn tell_flights(&mut self) {
        let zone = Some((self.slot, self.entry.incarnation));
        for Flight { kind, session, a, name } in self.flights.0.drain(..) {
            flight::note(kind, Note { zone, session, a, text: &unpadded(&name), ..Note::default() });
        }
    }
}
