//! Zones stepped without processes: inputs exactly once over restarts, joins decided by the commit, events, timers, ends.

use std::rc::Rc;

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::{JoinRecord, MailKind, RecordKind, SessionRow, ZoneEntry};
use zerocopy::{FromZeros, IntoBytes};

use super::bench::{Bench, ZONE, random};
use super::zone::{Outcome, Zone};
use crate::prelude::*;

mod credit;
mod poison;

/// What a session's inputs have come to.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Tally {
    /// Inputs applied.
    count: u32,
    /// Sum of their values.
    sum: u32,
    /// Timers that came back.
    rings: u32,
    /// Commands applied.
    commands: u32,
}

#[derive(Component, Clone, Copy)]
struct Place {
    entity: Entity,
}

#[derive(State)]
pub(crate) struct Counting {
    ents: Entities,
    #[sync(all)]
    tally: Column<Tally>,
    seats: Seats<Place>,
    timers: Timers<Ring>,
}

#[derive(Input, Clone, Copy, Debug, Default)]
pub(crate) struct Value {
    #[q(max = 1000)]
    value: u32,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tell {
    #[reliable]
    Joined {
        who: Entity,
    },
    Noise {
        n: u32,
    },
    #[predicted]
    Odd {
        of: Entity,
    },
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Close,
    Add { n: u32 },
}

#[derive(Timer, Clone, Copy, Debug)]
pub(crate) enum Ring {
    For(Entity),
}

impl Game for Counting {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 4;
    type Input = Value;
    type Command = Order;
    type Event = Tell;
    type Timer = Ring;

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let entity = self.ents.spawn_for(who);
        self.seats.insert(who, Place { entity });
        self.tally.insert(entity, Tally::default());
        self.timers.at(t.now() + 3, Ring::For(entity));
        t.send(To::All, Tell::Joined { who: entity });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(place) = self.seats.remove(who) {
            self.ents.despawn(place.entity);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, order: &Order) {
        match order {
            Order::Close => t.close(),
            Order::Add { n } => {
                poison::applied(*n);
                let e = self.seats[who].entity;
                self.tally[e].commands += n;
            }
        }
    }

    fn timer(&mut self, _t: &Tick<Self>, what: Ring) {
        let Ring::For(e) = what;
        if let Some(tally) = self.tally.get_mut(e) {
            tally.rings += 1;
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        poison::step_begins(t.now());
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let e = self.seats[p.session].entity;
            let tally = &mut self.tally[e];
            tally.count += 1;
            tally.sum += p.input.value;
            poison::applied(p.input.value);
            if p.input.value % 2 == 1 {
                t.send(To::All, Tell::Odd { of: e });
            }
        }
        t.send(To::All, Tell::Noise { n: t.now().0 });
    }
}

impl Bench<Counting> {
    /// An input whose view is its sequence.
    pub(crate) fn input(&mut self, session: u64, sequence: u32, value: u32) {
        let mut bytes = Vec::new();
        ringfort_protocol::Input::to_wire(&Value { value }, &mut bytes);
        bytes.extend_from_slice(&sequence.to_le_bytes());
        self.push(RecordKind::Input, session, sequence, &bytes);
    }

    fn tally(&self, row: &SessionRow) -> Tally {
        let (mirror, is) = self.mirror();
        let bytes = mirror.row(&is.columns[0], row.entity_index).unwrap();
        let word = |i: usize| u32::from_ne_bytes(bytes[i * 4..i * 4 + 4].try_into().unwrap());
        Tally { count: word(0), sum: word(1), rings: word(2), commands: word(3) }
    }
}

/// A match with one player in it.
fn one_player() -> (Bench<Counting>, Zone<Counting>, SessionRow) {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    bench.step(&mut zone);
    let row = bench.sessions()[&1];
    (bench, zone, row)
}

#[test]
fn every_input_counts_exactly_once_over_jitter_repeats_and_restarts() {
    for seed in 1..=40u64 {
        let mut rng = seed * 0x9e37_79b9;
        let (mut bench, mut zone, row) = one_player();
        let (mut sent, mut sum) = (0, 0);
        for _ in 0..120 {
            // One on average: what comes faster than time goes is refused.
            for _ in 0..random(&mut rng) % 3 {
                sent += 1;
                let value = (random(&mut rng) % 1000) as u32;
                sum += value;
                bench.input(row.id, sent, value);
                if random(&mut rng).is_multiple_of(4) {
                    bench.input(row.id, sent, value);
                }
            }
            bench.flush();
            assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }));
            if random(&mut rng).is_multiple_of(5) {
                zone = bench.restart(zone);
            }
            let (tally, acked) = (bench.tally(&row), bench.acked(&row));
            assert_eq!(tally.count, acked.highest, "seed {seed}: without loss every acknowledged input was applied once");
            assert!(sent - tally.count <= 1, "seed {seed}: at most one waits");
        }
        bench.step(&mut zone);
        assert_eq!((bench.tally(&row).count, bench.tally(&row).sum), (sent, sum), "seed {seed}");
        bench.check();
    }
}

#[test]
fn a_lost_input_is_never_acknowledged_and_a_late_one_still_counts() {
    let (mut bench, mut zone, row) = one_player();
    for sequence in [1, 2, 5, 4, 6] {
        bench.input(row.id, sequence, 1);
        bench.flush();
        bench.step(&mut zone);
    }
    let acked = bench.acked(&row);
    assert_eq!(acked.highest, 6);
    let has: Vec<u32> = (1..=6).filter(|n| acked.contains(*n)).collect();
    assert_eq!(has, [1, 2, 4, 5, 6]);
    assert_eq!(bench.tally(&row).count, 5);
}

#[test]
fn a_predicted_event_is_a_verdict_on_the_inputs_of_its_tick() {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.join(2);
    bench.flush();
    bench.step(&mut zone);
    let (row, other) = (bench.sessions()[&1], bench.sessions()[&2]);
    // Sequences and values of each tick. 8 and 9 come together, 9 waits and is applied with 10, and the late 7 after 11.
    let ticks: [&[(u32, u32)]; 7] = [&[(1, 1)], &[(2, 2)], &[(3, 3)], &[(8, 4), (9, 6)], &[(10, 5), (11, 8)], &[], &[(7, 7)]];
    for inputs in ticks {
        for (sequence, value) in inputs {
            bench.input(row.id, *sequence, *value);
        }
        bench.flush();
        bench.step(&mut zone);
        zone = bench.restart(zone);
    }
    let (inputs, verdicts) = (bench.inputs(&row), bench.verdicts(&row));
    let confirmed: Vec<u32> = (1..=inputs.highest).filter(|n| verdicts[0] >> (inputs.highest - n) & 1 == 1).collect();
    assert_eq!((inputs.highest, confirmed), (11, vec![1, 3, 7, 9, 10]));
    assert_eq!((inputs.last_view, inputs.waiting_view, verdicts[1]), (7, 0, 0));
    assert_eq!(bench.verdicts(&other), [0; 4], "another's event is no verdict");
    // What is too long ago is forgotten.
    bench.input(row.id, 43, 2);
    bench.flush();
    bench.step(&mut zone);
    assert_eq!(bench.verdicts(&row), [0; 4]);
}

#[test]
fn the_commit_decides_who_fits_and_a_repeated_join_finds_its_row() {
    let mut bench = Bench::<Counting>::new(2, 64);
    let mut zone = bench.start();
    for nonce in [1, 2, 3, 1] {
        bench.join(nonce);
    }
    bench.flush();
    bench.step(&mut zone);
    let sessions = bench.sessions();
    assert_eq!(sessions.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(sessions[&1].attachment, 2, "the second join attached anew");
    assert_eq!(zone.counters.joins_refused, 1);
    // A record of the older attachment is ignored.
    bench.input(sessions[&1].id, 1, 5);
    bench.flush();
    bench.step(&mut zone);
    assert_eq!(bench.tally(&sessions[&1]).count, 0);
    assert_eq!(zone.counters.records_ignored, 1);
}

#[test]
fn timers_survive_a_restart_and_commands_come_once_and_in_order() {
    let (mut bench, mut zone, row) = one_player();
    let mut add = Vec::new();
    ringfort_protocol::Message::to_wire(&Order::Add { n: 7 }, &mut add);
    for number in [1, 1, 3, 2] {
        bench.push(RecordKind::Command, row.id, number, &add);
    }
    bench.flush();
    bench.step(&mut zone);
    assert_eq!(bench.tally(&row).commands, 14, "1 and 2 were applied; the repeat and the one out of order were not");
    assert_eq!(bench.tally(&row).rings, 0);
    zone = bench.restart(zone);
    bench.step(&mut zone);
    bench.step(&mut zone);
    assert_eq!(bench.tally(&row).rings, 1);
}

#[test]
fn who_never_acknowledges_events_is_ended_before_the_log_forgets_them() {
    let mut bench = Bench::<Counting>::new(4, 128);
    let mut zone = bench.start();
    bench.join(1);
    bench.join(2);
    bench.flush();
    bench.step(&mut zone);
    let reader = bench.sessions()[&1];
    // Each join tells everybody: session 1 acknowledges, session 2 does not.
    for round in 0..crate::limits::EVENT_LOG_MIN + 8 {
        let (_, is) = bench.mirror();
        let newest = bench.mirror().0.get::<ringfort_shm_state::layout::ZoneMeta>(&is.engine.meta, 0).unwrap().next_event;
        bench.push(RecordKind::EventAck, reader.id, 0, &newest.to_ne_bytes());
        bench.join(100);
        bench.flush();
        bench.step(&mut zone);
        let guest = bench.sessions()[&100];
        bench.push(RecordKind::Leave, guest.id, 0, &1u64.to_ne_bytes());
        bench.flush();
        bench.step(&mut zone);
        let _ = round;
    }
    let left = bench.sessions();
    assert!(left.contains_key(&1) && !left.contains_key(&2));
    assert_eq!(zone.counters.event_overflows, 1);
}

#[test]
fn an_ended_match_gives_everything_back() {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    for _ in 0..50 {
        bench.step(&mut zone);
    }
    assert!(bench.world.extents_used() > 0);
    DirectoryWriter::new(&bench.directory).post(ZONE, 0, MailKind::End, 0, 0, "").unwrap();
    let mut outcome = Outcome::Starved;
    for _ in 0..20 {
        outcome = bench.step(&mut zone);
        if matches!(outcome, Outcome::Ended { .. }) {
            break;
        }
    }
    assert!(matches!(outcome, Outcome::Ended { .. }));
    assert_eq!(bench.world.extents_used(), 0);
    drop(zone);
    // The slot serves the next match.
    bench.entry.incarnation = 78;
    let mut next = bench.start();
    next.skip_mail(Directory::new(&bench.directory));
    assert!(matches!(bench.step(&mut next), Outcome::Committed { .. }));
    bench.check();
}

#[test]
fn a_front_end_that_died_takes_its_sessions_along() {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    bench.join(1);
    let other = JoinRecord { nonce: [2; 16], frontend: 1, incarnation: 4, ..JoinRecord::new_zeroed() };
    bench.push(RecordKind::Join, 0, 0, other.as_bytes());
    bench.flush();
    bench.step(&mut zone);
    assert_eq!(bench.sessions().len(), 2);
    DirectoryWriter::new(&bench.directory).post(ZONE, 0, MailKind::FrontendDied, 1, 4, "").unwrap();
    bench.step(&mut zone);
    assert_eq!(bench.sessions().keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_full_arena_puts_ticks_off_and_loses_nothing() {
    let mut bench = Bench::<Counting>::new(4, 8);
    let mut zone = bench.start();
    bench.join(1);
    bench.flush();
    bench.step(&mut zone);
    let row = bench.sessions()[&1];
    // A neighbour takes what is left.
    let mut neighbour = Bench::<Counting>::new(4, 1);
    neighbour.world = Rc::clone(&bench.world);
    let mut greedy = Vec::new();
    for slot in 100..200 {
        let entry = ZoneEntry { incarnation: 1000 + slot as u64, ..neighbour.entry };
        let Ok(mut zone) = Zone::<Counting>::start(&bench.world, neighbour.inbox.memory(), slot, entry, bench.asks, 0) else {
            break;
        };
        for _ in 0..40 {
            let _ = zone.step(&bench.world, neighbour.inbox.memory(), Directory::new(&neighbour.directory), 0, || 0);
        }
        greedy.push(zone);
    }
    let mut starved = 0;
    for sequence in 1..=60 {
        // A front-end lets no more through than a tick applies until the next commit.
        if sequence <= crate::limits::INPUTS_PER_TICK as u32 {
            bench.input(row.id, sequence, 1);
            bench.flush();
        }
        starved += u32::from(bench.step(&mut zone) == Outcome::Starved);
        assert_eq!(bench.judged().next.deaths, 0, "to be put off is no death");
    }
    assert!(starved > 0, "the arena was meant to be too small");
    let before = bench.tally(&row).count;
    drop(greedy);
    // Their processes are dead; whoever opens the slots next gives their extents back.
    for slot in 100..200 {
        let entry = ZoneEntry { incarnation: 5000 + slot as u64, epoch: 2, ..neighbour.entry };
        if let Ok(mut zone) = Zone::<Counting>::start(&bench.world, neighbour.inbox.memory(), slot, entry, bench.asks, 0) {
            DirectoryWriter::new(&neighbour.directory).post(slot, 0, MailKind::End, 0, 0, "").unwrap();
            while !matches!(
                zone.step(&bench.world, neighbour.inbox.memory(), Directory::new(&neighbour.directory), 0, || 0),
                Outcome::Ended { .. }
            ) {}
        }
    }
    for _ in 0..20 {
        bench.step(&mut zone);
    }
    assert!(bench.tally(&row).count > before);
    assert_eq!(bench.tally(&row).count, bench.acked(&row).highest, "what was put off was applied once");
}

#[test]
fn a_full_match_may_exchange_all_its_players_in_one_tick() {
    let mut bench = Bench::<Counting>::new(4, 64);
    let mut zone = bench.start();
    for round in 0..20u8 {
        for nonce in 0..4 {
            bench.join(1 + round * 4 + nonce);
        }
        bench.flush();
        assert!(matches!(bench.step(&mut zone), Outcome::Committed { .. }));
        let sessions = bench.sessions();
        assert_eq!(sessions.len(), 4, "round {round}: places are free again one tick after they were given up");
        for row in sessions.values() {
            bench.push(RecordKind::Leave, row.id, 0, &1u64.to_ne_bytes());
        }
        // These come in the same tick as the leaves: refused, since the places rest until the next.
        (0..4).for_each(|nonce| bench.join(100 + nonce));
        bench.flush();
        bench.step(&mut zone);
        assert_eq!(bench.sessions().len(), 0);
    }
    assert_eq!(zone.counters.joins_refused, 80);
    bench.check();
}
