//! What players may do to the bundled game without bringing its sim down.

use ringfort_protocol::Message;
use ringfort_shm_state::layout::RecordKind;

use super::{Ask, Skirmish};
use crate::game::ZoneLimits;
use crate::limits::TIMERS_PER_ENTITY;
use crate::sim::bench::Bench;

const CAPACITY: u32 = 16;

/// Session ids follow from how many have joined; each tick of these tests finds all slots free and takes them in order.
fn id(joined: u32, slot: u32) -> u64 {
    u64::from(joined) << 32 | u64::from(slot)
}

#[test]
fn joining_dying_and_leaving_over_and_over_fills_nothing() {
    let mut bench = Bench::<Skirmish>::new(CAPACITY, 64);
    let mut zone = bench.start();
    let mut suicide = Vec::new();
    Ask::Suicide.to_wire(&mut suicide);
    // All within the time of one respawn, and more than all rows of timers together.
    let (mut joined, ticks) = (0, 20);
    assert!(ticks * CAPACITY > ZoneLimits::of::<Skirmish>(CAPACITY).max_entities * TIMERS_PER_ENTITY);
    for _ in 0..ticks {
        for slot in 0..CAPACITY {
            joined += 1;
            bench.join(slot as u8);
            bench.push(RecordKind::Command, id(joined, slot), 1, &suicide);
            bench.push(RecordKind::Leave, id(joined, slot), 0, &1u64.to_ne_bytes());
        }
        bench.flush();
        bench.step(&mut zone);
        assert_eq!(timers(&bench), 0, "nobody is left who could come back");
    }
    let refused = zone.counters.records_ignored + zone.counters.commands_refused + zone.counters.joins_refused;
    assert_eq!(refused, 0, "all of them lived");
    bench.check();
}

#[test]
fn the_dead_come_back() {
    let mut bench = Bench::<Skirmish>::new(CAPACITY, 64);
    let mut zone = bench.start();
    let mut suicide = Vec::new();
    Ask::Suicide.to_wire(&mut suicide);
    bench.join(1);
    bench.push(RecordKind::Command, id(1, 0), 1, &suicide);
    bench.flush();
    bench.step(&mut zone);
    assert_eq!((timers(&bench), alive(&bench)), (1, 0));
    zone = bench.restart(zone);
    for _ in 0..40 {
        bench.step(&mut zone);
    }
    assert_eq!((timers(&bench), alive(&bench)), (0, 1));
}

fn timers(bench: &Bench<Skirmish>) -> u32 {
    let (mirror, is) = bench.mirror();
    mirror.get::<ringfort_shm_state::layout::ZoneMeta>(&is.engine.meta, 0).expect("a match has one").timers
}

/// Players with a body.
fn alive(bench: &Bench<Skirmish>) -> usize {
    let (mirror, is) = bench.mirror();
    (0..is.limits.max_entities).filter(|row| mirror.row(&is.columns[0], *row).is_some()).count()
}
