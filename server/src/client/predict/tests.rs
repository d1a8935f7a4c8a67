//! A scripted server beside one column's prediction: what it corrects, what it leaves, and what is drawn.

use super::*;
use ringfort_protocol::Vec2;

#[derive(ringfort_derive::Component, Clone, Copy, PartialEq, Debug)]
struct Body {
    #[q(range = -100.0..=100.0, step = 0.1)]
    pos: Vec2,
}

#[derive(ringfort_derive::Input, Clone, Copy, PartialEq, Debug, Default)]
struct Go {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    to: Vec2,
}

const ME: Entity = Entity { index: 3, generation: 1 };
const EAST: Go = Go { to: Vec2 { x: 1.0, y: 0.0 } };

/// Four metres a second.
fn drive(body: &mut Body, go: &Go, dt: f32) {
    body.pos += go.to * (4.0 * dt);
}

/// A client, and the server's value after each of its inputs.
struct Pair {
    now: Instant,
    prediction: Prediction<Body, Go>,
    unacked: Unacked<Go>,
    server: Body,
    applied: u32,
    sent: Vec<Go>,
    tick: u32,
}

impl Pair {
    fn new(fix: OnFix) -> Pair {
        let mut pair = Pair {
            now: Instant::now(),
            prediction: Prediction::new(drive, fix, 20),
            unacked: Unacked::new(),
            server: Body { pos: Vec2::ZERO },
            applied: 0,
            sent: Vec::new(),
            tick: 0,
        };
        assert_eq!(pair.snapshot(0), None);
        pair
    }

    fn send(&mut self, go: Go) {
        self.sent.push(go);
        let sequence = self.sent.len() as u32;
        self.prediction.step(sequence, &go);
        self.unacked.push(sequence, go);
    }

    /// The server applies its next input.
    fn apply(&mut self) {
        let input = self.sent[self.applied as usize];
        self.applied += 1;
        self.step(&input);
    }

    fn step(&mut self, input: &Go) {
        drive(&mut self.server, input, 0.05);
        self.server.quantise();
    }

    fn snapshot_of(&mut self, server: Option<(Entity, Body)>, repeated: u8) -> Option<Correction<Body>> {
        self.tick += 1;
        self.unacked.settle(self.applied);
        let verdict = Verdict { tick: TickNo(self.tick), highest: self.applied, repeated };
        self.prediction.settle(self.now, server, verdict, &self.unacked)
    }

    fn snapshot(&mut self, repeated: u8) -> Option<Correction<Body>> {
        self.snapshot_of(Some((ME, self.server)), repeated)
    }

    fn drawn_x(&self) -> f32 {
        self.prediction.drawn(self.now).expect("a body").pos.x
    }

    fn newest_x(&self) -> f32 {
        self.prediction.newest().expect("a body").pos.x
    }
}

type OnFix = fn(&Correction<Body>) -> Fix;
const SNAP: OnFix = |_| Fix::Snap;
const BLEND: OnFix = |_| Fix::Blend(Duration::from_millis(100));

#[track_caller]
fn near(a: f32, b: f32) {
    assert!((a - b).abs() < 0.06, "{a} is not {b}");
}

#[test]
fn while_the_server_agrees_nothing_is_corrected() {
    let mut pair = Pair::new(SNAP);
    for i in 0..200 {
        let to = Vec2::from_angle(i as f32 * 0.1);
        let mut go = Go { to };
        go.quantise();
        pair.send(go);
        // Snapshots come six inputs later, and now and then one is lost.
        if i >= 6 {
            pair.apply();
            assert!(i % 7 == 0 || pair.snapshot(0).is_none(), "input {i}");
        }
    }
    assert_eq!(pair.prediction.after.len(), 7);
}

#[test]
fn what_the_server_decides_otherwise_is_taken_and_the_rest_replayed() {
    let mut pair = Pair::new(SNAP);
    (0..5).for_each(|_| pair.send(EAST));
    pair.apply();
    pair.apply();
    pair.server.pos.y = 7.0;
    let correction = pair.snapshot(0).expect("a correction");
    assert_eq!((correction.tick, correction.replayed, correction.repeated), (TickNo(2), 3, 0));
    near(correction.predicted.pos.y, 0.0);
    near(correction.server.pos.y, 7.0);
    let newest = pair.prediction.newest().expect("a body").pos;
    near(newest.x, 1.0);
    near(newest.y, 7.0);
    pair.apply();
    assert_eq!(pair.snapshot(0), None, "from there on both agree again");
}

#[test]
fn a_push_from_elsewhere_is_seen_although_no_input_was_applied() {
    let mut pair = Pair::new(SNAP);
    pair.send(EAST);
    pair.apply();
    assert_eq!(pair.snapshot(0), None);
    pair.server.pos.x += 5.0;
    assert_eq!(pair.snapshot(0).map(|correction| correction.replayed), Some(0));
}

#[test]
fn an_input_that_the_server_repeated_moves_us_on() {
    let mut pair = Pair::new(SNAP);
    (0..4).for_each(|_| pair.send(EAST));
    pair.apply();
    pair.step(&EAST);
    let correction = pair.snapshot(1).expect("a correction");
    assert_eq!((correction.repeated, correction.replayed), (1, 3));
    near(pair.newest_x(), 1.0);
    // The inputs that were late are applied all the same.
    (0..3).for_each(|_| pair.apply());
    assert_eq!(pair.snapshot(0), None);
}

#[test]
fn a_correction_fades_and_the_picture_goes_on_meanwhile() {
    let mut pair = Pair::new(BLEND);
    (0..5).for_each(|_| pair.send(EAST));
    pair.apply();
    pair.server.pos.x = 10.2;
    near(pair.drawn_x(), 1.0);
    assert!(pair.snapshot(0).is_some());
    near(pair.newest_x(), 11.0);
    near(pair.drawn_x(), 1.0);
    pair.now += Duration::from_millis(50);
    pair.send(EAST);
    // Half of the way, and an input further.
    near(pair.drawn_x(), 6.2);
    near(pair.newest_x(), 11.2);
    pair.now += Duration::from_millis(50);
    near(pair.drawn_x(), 11.2);
}

#[test]
fn a_correction_during_another_begins_at_what_is_drawn() {
    let mut pair = Pair::new(BLEND);
    pair.send(EAST);
    pair.apply();
    pair.server.pos.x = 10.0;
    assert!(pair.snapshot(0).is_some());
    pair.now += Duration::from_millis(50);
    let drawn = pair.drawn_x();
    pair.server.pos.x = -10.0;
    assert!(pair.snapshot(0).is_some());
    near(pair.drawn_x(), drawn);
}

#[test]
fn death_ends_the_prediction_and_a_new_life_begins_where_the_server_says() {
    let mut pair = Pair::new(BLEND);
    (0..3).for_each(|_| pair.send(EAST));
    pair.apply();
    assert_eq!(pair.snapshot_of(None, 0), None);
    assert!(pair.prediction.newest().is_none() && pair.prediction.entity() == Entity::NONE);
    (0..3).for_each(|_| pair.send(EAST));
    pair.applied = 5;
    assert_eq!(pair.snapshot_of(Some((ME, Body { pos: Vec2::new(50.0, 0.0) })), 0), None, "nothing was predicted");
    near(pair.drawn_x(), 50.2);
}

#[test]
fn another_entity_of_ours_is_not_drawn_coming_from_the_first() {
    let mut pair = Pair::new(BLEND);
    pair.send(EAST);
    let other = Entity { index: 4, generation: 1 };
    assert_eq!(pair.snapshot_of(Some((other, Body { pos: Vec2::new(-50.0, 0.0) })), 0), None);
    assert_eq!(pair.prediction.entity(), other);
    near(pair.drawn_x(), -49.8);
}

#[test]
fn what_is_kept_is_bounded_and_a_long_silence_ends_well() {
    let mut pair = Pair::new(SNAP);
    (0..1000).for_each(|_| pair.send(EAST));
    assert!(pair.unacked.len() <= PREDICTED_INPUTS_MAX && pair.prediction.after.len() <= PREDICTED_INPUTS_MAX + 1);
    (0..1000).for_each(|_| pair.apply());
    assert_eq!(pair.snapshot(0), None, "it came out as predicted");
    assert_eq!((pair.unacked.len(), pair.prediction.after.len()), (0, 1));
}

#[test]
fn inputs_of_which_only_later_ones_arrived_are_not_replayed() {
    let mut pair = Pair::new(SNAP);
    (0..4).for_each(|_| pair.send(EAST));
    // The second was lost for good: the server has the first and the third.
    pair.apply();
    pair.applied = 3;
    pair.step(&EAST);
    let correction = pair.snapshot(0).expect("a correction");
    assert_eq!(correction.replayed, 1);
    near(pair.newest_x(), 0.6);
}

#[test]
fn a_rejected_input_is_taken_out_and_those_after_it_are_replayed() {
    let mut pair = Pair::new(SNAP);
    (0..5).for_each(|_| pair.send(EAST));
    near(pair.newest_x(), 1.0);
    let rejected = AckBits { highest: 3, bits: 0b1 };
    pair.unacked.reject(rejected);
    let correction = pair.prediction.reject(pair.now, TickNo(1), rejected, &pair.unacked).expect("a correction");
    assert_eq!((correction.tick, correction.replayed), (TickNo(1), 3));
    near(correction.predicted.pos.x, 1.0);
    near(correction.server.pos.x, 0.6);
    near(pair.newest_x(), 0.6);
    for sequence in [1, 4, 5] {
        pair.applied = sequence;
        pair.step(&EAST);
        assert_eq!(pair.snapshot(0), None, "the server goes without them, too");
    }
}

#[test]
fn a_rejected_input_that_moved_nothing_or_is_long_settled_corrects_nothing() {
    let mut pair = Pair::new(BLEND);
    (0..2).for_each(|_| pair.send(EAST));
    pair.send(Go::default());
    for rejected in [3, 9] {
        let rejected = AckBits { highest: rejected, bits: 0 };
        pair.unacked.reject(rejected);
        assert_eq!(pair.prediction.reject(pair.now, TickNo(1), rejected, &pair.unacked), None);
    }
    near(pair.drawn_x(), 0.4);
    pair.apply();
    pair.apply();
    assert_eq!(pair.snapshot(0), None);
    let settled = AckBits { highest: 2, bits: 0 };
    pair.unacked.reject(settled);
    assert_eq!(pair.prediction.reject(pair.now, TickNo(2), settled, &pair.unacked), None);
}
