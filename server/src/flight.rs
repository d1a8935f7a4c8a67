//! What this process has done lately, noted in the flight recorder of its segment: a ring that `ringfort tail` reads, also after its death.
//!
//! A note is a few stores: no lock, no system call, nobody is waited for. One thread of a process notes, the one that has called [`start`]; on any
//! other, and in tests, a note is nothing. What is noted per tick or per input would push out the rest: commits stand in the roots already.

use std::cell::RefCell;

use ringfort_protocol::bucket::{Bucket, Rate};
use ringfort_shm_state::flight::{FlightRing, blank};
use ringfort_shm_state::layout::{FlightKind, FlightRecord};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, padded};

use crate::clock::{now_us, wall_us};
use crate::limits::FLIGHT_REFUSALS;

struct Recorder {
    segment: Segment,
    ring: FlightRing,
    refusals: Bucket,
    unsaid: u64,
}

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}

/// What is noted beside its kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Note<'t> {
    /// The match's slot in the directory and its id.
    pub(crate) zone: Option<(usize, u64)>,
    /// The session.
    pub(crate) session: u64,
    /// What these two are [`FlightKind`] says.
    pub(crate) a: u64,
    pub(crate) b: u64,
    /// What does not fit is cut.
    pub(crate) text: &'t str,
}

/// From here on this thread notes in a segment that this process alone writes. `ring` says where in it.
pub(crate) fn start(instance: &str, spec: SegmentSpec, ring: FlightRing, incarnation: u32) -> Result<(), SegmentError> {
    let segment = Segment::open(instance, spec, Access::ReadWrite)?;
    let recorder = Recorder { segment, ring, refusals: Bucket::full(FLIGHT_REFUSALS, now_us()), unsaid: 0 };
    RECORDER.set(Some(recorder));
    note(FlightKind::Start, Note { a: std::process::id().into(), b: incarnation.into(), ..Note::default() });
    Ok(())
}

/// Notes something.
pub(crate) fn note(kind: FlightKind, note: Note<'_>) {
    RECORDER.with_borrow(|recorder| {
        if let Some(recorder) = recorder {
            recorder.write(kind, note);
        }
    });
}

/// Notes a refused client. A crowd of them is counted instead, so that it leaves room for others.
pub(crate) fn refuse(zone: Option<(usize, u64)>, code: u16, reason: &str) {
    const RATE: Rate = FLIGHT_REFUSALS;
    RECORDER.with_borrow_mut(|recorder| {
        let Some(recorder) = recorder else { return };
        if recorder.refusals.take(RATE, now_us(), 1) {
            let unsaid = std::mem::take(&mut recorder.unsaid);
            recorder.write(FlightKind::Refusal, Note { zone, a: code.into(), b: unsaid, text: reason, ..Note::default() });
        } else {
            recorder.unsaid += 1;
        }
    });
}

impl Recorder {
    fn write(&self, kind: FlightKind, note: Note<'_>) {
        let (zone, incarnation) = note.zone.map_or((0, 0), |(slot, id)| (slot as u32 + 1, id));
        let record = FlightRecord {
            time_us: now_us(),
            wall_us: wall_us(),
            kind: kind as u32,
            zone,
            incarnation,
            session: note.session,
            a: note.a,
            b: note.b,
            text: padded(note.text),
            ..blank()
        };
        self.ring.write(self.segment.memory(), &record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort_shm_state::flight::Flown;
    use ringfort_shm_state::layout::SegmentKind;

    #[test]
    fn a_crowd_of_refusals_leaves_room_for_others_and_is_counted() {
        let instance = format!("ctl-flight-{}", std::process::id());
        let spec = SegmentSpec::worker(SegmentKind::Hook, 0);
        let segment = Segment::create(&instance, spec).unwrap();
        start(&instance, spec, FlightRing::WORKER, 7).unwrap();
        std::fs::remove_file(spec.path(&instance)).unwrap();
        (0..10_000).for_each(|_| refuse(Some((3, 9)), 4, "the match is full"));
        note(FlightKind::Shed, Note { a: 2, b: 1, text: "every 2nd snapshot", ..Note::default() });
        let (numbers, lost) = FlightRing::WORKER.since(segment.memory(), 0);
        let records: Vec<FlightRecord> = numbers
            .filter_map(|number| match FlightRing::WORKER.read(segment.memory(), number) {
                Flown::Record(record) => Some(record),
                _ => None,
            })
            .collect();
        assert_eq!((lost, records[0].kind, records[0].b), (0, FlightKind::Start as u32, 7));
        let refusals = records.iter().filter(|record| record.kind == FlightKind::Refusal as u32);
        assert!(refusals.clone().count() < 1000, "most are only counted");
        assert!(refusals.into_iter().all(|record| (record.zone, record.incarnation, record.a) == (4, 9, 4)));
        assert_eq!((records.last().unwrap().kind, records.last().unwrap().a), (FlightKind::Shed as u32, 2));
    }
}
