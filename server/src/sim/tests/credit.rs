//! How many inputs a session gets applied: as many as time allows, and for an honest one all of them.

use std::collections::BTreeSet;

use super::*;
use crate::limits::{INPUT_COST, INPUT_CREDIT_MAX, INPUT_CREDIT_PER_TICK, INPUTS_PER_TICK};

/// One player in a match, and what was acknowledged to it.
struct Play {
    bench: Bench<Counting>,
    zone: Zone<Counting>,
    row: SessionRow,
    acked: BTreeSet<u32>,
}

impl Play {
    fn new() -> Play {
        let (bench, zone, row) = one_player();
        Play { bench, zone, row, acked: BTreeSet::new() }
    }

    fn step(&mut self) {
        self.bench.flush();
        assert!(matches!(self.bench.step(&mut self.zone), Outcome::Committed { .. }));
        self.acked.extend(self.bench.acked(&self.row).iter());
    }

    fn restart(self) -> Play {
        let Play { mut bench, zone, row, acked } = self;
        let zone = bench.restart(zone);
        Play { bench, zone, row, acked }
    }
}

#[test]
fn who_sends_sixteen_inputs_a_tick_gets_no_more_applied_than_time_allows() {
    const TICKS: u32 = 300;
    let mut play = Play::new();
    let mut sent = 0;
    for tick in 0..TICKS {
        for _ in 0..INPUTS_PER_TICK {
            sent += 1;
            play.bench.input(play.row.id, sent, 1);
        }
        play.step();
        if tick == TICKS / 2 {
            // What is left is committed with the world: a takeover gives nothing back.
            play.zone.counters.inputs_over_credit = 0;
            play = play.restart();
        }
    }
    let applied = play.bench.tally(&play.row).count;
    let allowed = (INPUT_CREDIT_MAX + TICKS * INPUT_CREDIT_PER_TICK) / INPUT_COST;
    assert!(applied <= allowed && applied + 2 >= allowed, "{applied} of {sent} were applied, {allowed} are allowed");
    assert_eq!(applied as usize, play.acked.len(), "what was refused was never acknowledged");
    assert!(play.zone.counters.inputs_over_credit > u64::from(TICKS / 2));
}

#[test]
fn after_a_flood_a_session_plays_on_as_others_do() {
    let mut play = Play::new();
    for sequence in 1..=160 {
        play.bench.input(play.row.id, sequence, 1);
        if sequence % 16 == 0 {
            play.step();
        }
    }
    let (before, refused) = (play.bench.tally(&play.row).count, play.zone.counters.inputs_over_credit);
    for sequence in 200..300 {
        play.bench.input(play.row.id, sequence, 1);
        play.step();
    }
    assert!(play.bench.tally(&play.row).count >= before + 99);
    assert!(play.zone.counters.inputs_over_credit <= refused + 1);
}

/// A client whose clock is 1 % fast, over a network with jitter of more than a tick and bursts of loss as long as a datagram
/// reaches back, with takeovers in between.
#[test]
fn an_honest_client_loses_no_input_to_a_fast_clock_jitter_bursts_and_takeovers() {
    const REACH: u32 = 16;
    for seed in 1..=10u64 {
        let mut rng = seed * 0x9e37_79b9;
        let mut play = Play::new();
        let (mut sent, mut lost_for, mut taken) = (0u32, 0, BTreeSet::new());
        let mut under_way: Vec<(u32, BTreeSet<u32>)> = Vec::new();
        for tick in 0..1500u32 {
            // Datagrams of this tick: mostly one, two where the fast clock has gained one.
            while sent < tick * 101 / 100 {
                sent += 1;
                let carries = (sent.saturating_sub(REACH - 1).max(1)..=sent).filter(|n| !play.acked.contains(n)).collect();
                lost_for = match lost_for {
                    0 if random(&mut rng).is_multiple_of(25) => 1 + random(&mut rng) as u32 % (REACH - 4),
                    left => left.saturating_sub(1),
                };
                if lost_for == 0 {
                    under_way.push((tick + random(&mut rng) as u32 % 3, carries));
                }
            }
            let (arrived, later): (Vec<_>, Vec<_>) = under_way.into_iter().partition(|(at, _)| *at <= tick);
            under_way = later;
            let inputs: BTreeSet<u32> = arrived.into_iter().flat_map(|(_, carries)| carries).collect();
            for sequence in inputs.into_iter().filter(|n| taken.insert(*n)) {
                play.bench.input(play.row.id, sequence, 1);
            }
            play.step();
            if tick % 400 == 399 {
                assert_eq!(play.zone.counters.inputs_over_credit + play.zone.counters.inputs_refused, 0, "seed {seed}");
                play = play.restart();
            }
        }
        (0..4).for_each(|_| play.step());
        let applied = play.bench.tally(&play.row).count;
        assert_eq!(applied as usize, taken.len(), "seed {seed}: all that arrived was applied, and once");
        let counted = play.zone.counters;
        assert_eq!(counted.inputs_over_credit + counted.inputs_refused, 0, "seed {seed}");
        let newest = sent - 40;
        assert!((1..newest).all(|n| taken.contains(&n)), "seed {seed}: the bursts were within a datagram's reach");
    }
}

/// A second of inputs waits while nobody steps the match: they are no more than time allows, again and again.
#[test]
fn a_match_that_stood_still_refuses_no_input_of_that_time() {
    const STILL: u32 = 20;
    let mut play = Play::new();
    let mut sent = 0;
    for _ in 0..50 {
        play.bench.wait(STILL - 1);
        for _ in 0..STILL {
            sent += 1;
            play.bench.input(play.row.id, sent, 1);
        }
        play = play.restart();
        play.step();
    }
    play.step();
    assert_eq!(play.bench.tally(&play.row).count, sent);
    assert_eq!(play.zone.counters.inputs_over_credit + play.zone.counters.inputs_refused, 0);
}
