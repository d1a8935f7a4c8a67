//! A world that churns, a client behind a link that loses, doubles and reorders both ways, and the claim that after each
//! applied tick the client sees exactly what the server chose to have told it. A failure names its seed.

use super::*;
use crate::bits::{BitWriter, Row};
use crate::client_world::{Applied, ClientWorld};
use crate::component::{ColumnId, Component, GlobalId};
use crate::limits::{MAX_PREDICTED, SENT_RECORDS, SENT_RECORDS_KEPT};
use crate::schema::encode_row;
use crate::snapshot::{Lapse, SnapshotHeader, SnapshotShape, SnapshotWriter};
use crate::test_game::{Body, Clock, Health, Random, Tag, Wide, schema};
use crate::{Entity, TickNo, Vec2, WireLayout};

const MAX: u32 = 13;
const COLUMNS: usize = 5;
const GLOBALS: usize = 2;
/// Few values, so that a column often changes and changes back.
const VALUES: u64 = 3;
/// Enough for every loss rate and delay.
const SEEDS: u64 = 360;

/// What a client can see of one entity: the numbers that its rows were made of.
#[derive(Clone, Copy, PartialEq, Debug)]
struct View {
    generation: u32,
    mine: bool,
    rows: [Option<u64>; COLUMNS],
}

#[derive(Clone, Copy, Default)]
struct Thing {
    generation: u32,
    mine: bool,
    rows: [Option<u64>; COLUMNS],
    /// Whether the client may see the column, and the entity at all.
    shown: [bool; COLUMNS],
    seen: bool,
    changed: [u32; COLUMNS],
}

impl Thing {
    fn mask(&self) -> u32 {
        (0..COLUMNS).map(|c| u32::from(self.rows[c].is_some() && self.shown[c]) << c).sum()
    }

    fn view(&self) -> Option<View> {
        let rows = std::array::from_fn(|c| self.rows[c].filter(|_| self.shown[c]));
        self.seen.then_some(View { generation: self.generation, mine: self.mine, rows })
    }
}

struct Server {
    random: Random,
    tick: u32,
    generations: [u32; MAX as usize],
    things: [Option<Thing>; MAX as usize],
    globals: [u64; GLOBALS],
    globals_changed: [u32; GLOBALS],
    baselines: Baselines,
    writer: SnapshotWriter,
    shape: SnapshotShape,
    /// Words and bits, by number and column.
    rows: Vec<[(Vec<u64>, u32); COLUMNS]>,
}

/// A snapshot under way, and what the server means by it: the view of everything that is up to date, nothing for what
/// was put off.
#[derive(Clone)]
struct Sent {
    bytes: Vec<u8>,
    tick: u32,
    views: [Option<Option<View>>; MAX as usize],
    globals: Option<[u64; GLOBALS]>,
}

fn row<T: Component>(value: &T) -> (Vec<u64>, u32) {
    let mut bits = BitWriter::default();
    value.encode(&mut bits);
    let mut words = Vec::new();
    let length = bits.copy_words(&mut words);
    (words, length)
}

/// Different numbers make different rows.
fn encode(column: usize, n: u64) -> (Vec<u64>, u32) {
    match column {
        0 => row(&body(n)),
        1 => row(&Health { hp: n as u8 }),
        2 => row(&wide(n)),
        3 => row(&Tag {}),
        _ => {
            let mut bits = BitWriter::default();
            encode_row(&schema().columns[5], name(n).as_bytes(), &mut bits);
            let mut words = Vec::new();
            let length = bits.copy_words(&mut words);
            (words, length)
        }
    }
}

/// Shorter and longer than a word, and nothing.
fn name(n: u64) -> &'static str {
    ["", "ada", "a name of 20 byte é"][n as usize]
}

fn body(n: u64) -> Body {
    let mut body = Body { pos: Vec2::new(n as f32 * 7.5, -3.0), aim: n as f32 };
    body.quantise();
    body
}

fn wide(n: u64) -> Wide {
    Wide { a: n, b: !n, c: Entity { index: n as u32, generation: 1 }, d: n % 2 == 1 }
}

impl Server {
    fn new(seed: u64, layout: &WireLayout) -> Server {
        Server {
            random: Random(seed),
            tick: 0,
            generations: [0; MAX as usize],
            things: [None; MAX as usize],
            globals: [0; GLOBALS],
            globals_changed: [1; GLOBALS],
            baselines: Baselines::new(COLUMNS, GLOBALS),
            writer: SnapshotWriter::new(),
            shape: SnapshotShape::new(layout, MAX),
            rows: vec![Default::default(); VALUES as usize],
        }
    }

    /// Rows are encoded once; a tag has but one value.
    fn encode_rows(&mut self) {
        for n in 0..VALUES {
            for column in 0..COLUMNS {
                self.rows[n as usize][column] = encode(column, n);
            }
        }
    }

    fn step(&mut self, churn: bool) {
        self.tick += 1;
        if !churn {
            return;
        }
        for index in 0..MAX as usize {
            if self.random.chance(70) {
                continue;
            }
            let before = self.things[index];
            self.change(index);
            let same = |a: &Thing, b: &Thing| a.generation == b.generation;
            if let Some(thing) = &mut self.things[index] {
                let before = before.filter(|before| same(before, thing));
                for column in 0..COLUMNS {
                    if before.is_none_or(|before| before.rows[column] != thing.rows[column]) {
                        thing.changed[column] = self.tick;
                    }
                }
            }
        }
        for global in 0..GLOBALS {
            let value = self.random.below(VALUES);
            if self.random.chance(10) && value != self.globals[global] {
                self.globals[global] = value;
                self.globals_changed[global] = self.tick;
            }
        }
    }

    fn change(&mut self, index: usize) {
        let random = &mut self.random;
        let Some(thing) = &mut self.things[index] else {
            self.generations[index] += 1;
            let mut thing = Thing {
                generation: self.generations[index],
                mine: random.chance(30),
                seen: random.chance(80),
                shown: std::array::from_fn(|_| random.chance(70)),
                ..Thing::default()
            };
            for column in 0..COLUMNS {
                thing.rows[column] = random.chance(70).then(|| value(random, column));
            }
            self.things[index] = Some(thing);
            return;
        };
        match random.below(20) {
            0 => self.things[index] = None,
            // Gone and come back as another within one tick.
            1 => {
                self.things[index] = None;
                self.change(index);
            }
            2..=4 => thing.seen = !thing.seen,
            5..=8 => {
                let column = random.below(COLUMNS as u64) as usize;
                thing.shown[column] = !thing.shown[column];
            }
            9..=11 => {
                let column = random.below(COLUMNS as u64) as usize;
                let had = thing.rows[column].is_some();
                thing.rows[column] = (!had).then(|| value(random, column));
            }
            _ => {
                let column = random.below(COLUMNS as u64) as usize;
                if thing.rows[column].is_some() {
                    thing.rows[column] = Some(value(random, column));
                }
            }
        }
    }

    fn snapshot(&mut self, budget: usize) -> Sent {
        let header = SnapshotHeader {
            stay: 0,
            tick: TickNo(self.tick),
            inputs: AckBits::NONE,
            waited: Lapse::UNKNOWN,
            early: Lapse::UNKNOWN,
            repeated: 0,
            verdicts: [0; MAX_PREDICTED],
        };
        self.writer.start(&header, self.shape, budget);
        self.baselines.begin(self.tick);
        let mut views: [Option<Option<View>>; MAX as usize] = [None; MAX as usize];
        let globals = self.write_globals();
        let wanted: Vec<u32> = (0..MAX).filter(|index| self.things[*index as usize].is_some_and(|thing| thing.seen)).collect();
        self.baselines.admit(&wanted, |index| *index);
        assert!(wanted.iter().all(|index| self.baselines.find(*index).is_some()), "who is wanted has a place");
        let places: Vec<u32> = (0..self.baselines.len()).map(|place| self.baselines.index(place)).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "places are in the order of the indices: {places:?}");
        let mut order: Vec<(u32, f32)> = (0..MAX)
            .map(|index| (index, self.baselines.find(index).map_or(0.0, |place| self.baselines.waiting(place))))
            .collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (index, _) in order {
            let up_to_date = match self.things[index as usize] {
                Some(thing) if thing.seen => self.write_thing(index, &thing),
                _ => self.write_gone(index),
            };
            if up_to_date {
                views[index as usize] = Some(self.things[index as usize].and_then(|thing| thing.view()));
            } else {
                let place = self.baselines.find(index).expect("what is put off has a place");
                self.baselines.wait(place, 1.0);
            }
        }
        Sent { bytes: self.writer.finish().to_vec(), tick: self.tick, views, globals }
    }

    fn write_globals(&mut self) -> Option<[u64; GLOBALS]> {
        let mask = self.baselines.need_globals(&self.globals_changed);
        if mask == 0 {
            return Some(self.globals);
        }
        let words = self.globals.map(|value| row(&Clock { ends: value as u32 }).0);
        let written = self.writer.globals(mask, |global| Row { words: &words[global], bits: 32 });
        if written {
            self.baselines.sent_globals();
        }
        written.then_some(self.globals)
    }

    fn write_thing(&mut self, index: u32, thing: &Thing) -> bool {
        let visible = thing.mask();
        let seen = seen(thing.generation, visible, &thing.changed);
        let place = self.baselines.find(index).expect("who is wanted has a place");
        let row = |column: usize| {
            let (words, bits) = &self.rows[thing.rows[column].unwrap() as usize][column];
            Row { words, bits: *bits }
        };
        let written = match self.baselines.need(place, &seen) {
            Need::Nothing => return true,
            Need::Update { mask } => self.writer.update(index, mask, |column| (visible >> column & 1 == 1).then(|| row(column))),
            Need::Fresh => self.writer.fresh(index, thing.generation, thing.mine, visible, row),
        };
        if written {
            self.baselines.sent(place, thing.generation, visible);
        }
        written
    }

    fn write_gone(&mut self, index: u32) -> bool {
        let Some(place) = self.baselines.find(index).filter(|place| self.baselines.need_gone(*place)) else { return true };
        let written = self.writer.gone(index);
        if written {
            self.baselines.sent_gone(place);
        }
        written
    }
}

fn value(random: &mut Random, column: usize) -> u64 {
    if column == 3 { 0 } else { random.below(VALUES) }
}

struct Client {
    world: ClientWorld,
    expected: [Option<View>; MAX as usize],
    globals: Option<[u64; GLOBALS]>,
}

impl Client {
    fn apply(&mut self, sent: &Sent, seed: u64) {
        let applied = self.world.apply(&sent.bytes, |_| {}).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        if applied == Applied::Older(TickNo(sent.tick)) {
            return;
        }
        for (expected, view) in self.expected.iter_mut().zip(sent.views) {
            if let Some(view) = view {
                *expected = view;
            }
        }
        self.globals = sent.globals.or(self.globals);
        let seen: [Option<View>; MAX as usize] = std::array::from_fn(|index| self.view(index as u32));
        assert_eq!(seen, self.expected, "seed {seed}, tick {}", sent.tick);
        if let Some(globals) = self.globals {
            let global = |index| u64::from(self.world.global(GlobalId::<Clock>::new(index)).unwrap().ends);
            assert_eq!([global(0), global(1)], globals, "seed {seed}, tick {}", sent.tick);
        }
    }

    fn view(&self, index: u32) -> Option<View> {
        let entity = self.world.entities().find(|entity| entity.index == index)?;
        let numbers = 0..VALUES;
        let body_seen = self.world.get(entity, ColumnId::<Body>::new(0));
        let wide_seen = self.world.get(entity, ColumnId::<Wide>::new(3));
        let rows = [
            body_seen.map(|seen| numbers.clone().find(|n| body(*n) == seen).unwrap()),
            self.world.get(entity, ColumnId::<Health>::new(2)).map(|seen| u64::from(seen.hp)),
            wide_seen.map(|seen| numbers.clone().find(|n| wide(*n) == seen).unwrap()),
            self.world.get(entity, ColumnId::<Tag>::new(4)).map(|_| 0),
            self.world.blob(entity, 5).map(|seen| numbers.clone().find(|n| name(*n).as_bytes() == seen).unwrap()),
        ];
        assert!(self.world.get(entity, ColumnId::<Clock>::new(1)).is_none(), "the server-only column is never there");
        let mine = self.world.mine().any(|mine| mine == entity);
        Some(View { generation: entity.generation, mine, rows })
    }
}

struct Link {
    random: Random,
    loss_percent: u64,
    most_delay: u64,
}

impl Link {
    fn send<T: Clone>(&mut self, now: u32, wire: &mut Vec<(u32, T)>, message: &T) {
        let copies = if self.random.chance(self.loss_percent) { 0 } else { 1 + self.random.below(10) / 9 };
        for _ in 0..copies {
            wire.push((now + self.random.below(self.most_delay + 1) as u32, message.clone()));
        }
    }
}

fn arrived<T>(now: u32, wire: &mut Vec<(u32, T)>) -> Vec<T> {
    let (due, later): (Vec<_>, Vec<_>) = wire.drain(..).partition(|(at, _)| *at <= now);
    *wire = later;
    due.into_iter().map(|(_, message)| message).collect()
}

fn session(seed: u64, ticks: u32, budget: usize) {
    let layout = WireLayout::new(&schema()).unwrap();
    let mut server = Server::new(seed, &layout);
    server.encode_rows();
    let world = ClientWorld::new(layout, MAX);
    let mut client = Client { world, expected: [None; MAX as usize], globals: None };
    let mut link = Link { random: Random(!seed), loss_percent: seed % 60, most_delay: seed / 60 * 2 };
    let (mut down, mut up) = (Vec::new(), Vec::new());
    let calm = ticks - 200;
    for now in 0..ticks {
        server.step(now < calm);
        if now >= calm {
            link.loss_percent = 0;
        }
        for acks in arrived(now, &mut up) {
            server.baselines.acked(acks);
        }
        if !link.random.chance(20) {
            let sent = server.snapshot(if now < calm { budget } else { 1150 });
            link.send(now, &mut down, &sent);
        }
        for sent in arrived(now, &mut down) {
            client.apply(&sent, seed);
        }
        if link.random.chance(80) {
            link.send(now, &mut up, &client.world.acks());
        }
    }
    // Everything was told and acknowledged in the end, and there is nothing more to say.
    let views: [Option<View>; MAX as usize] = std::array::from_fn(|i| server.things[i].and_then(|thing| thing.view()));
    assert_eq!(client.expected, views, "seed {seed}");
    server.step(false);
    let quiet = server.snapshot(1150);
    assert_eq!(quiet.bytes.len(), server.shape.header_bytes() + 1, "seed {seed}");
}

#[test]
fn a_client_sees_what_it_was_told_whatever_is_lost() {
    for seed in 0..SEEDS {
        session(seed, 600, 1150);
    }
}

#[test]
fn what_is_put_off_stays_as_it_was() {
    for seed in 0..SEEDS {
        session(seed, 600, 36 + seed as usize % 50);
    }
}

fn seen(generation: u32, visible: u32, changed: &[u32]) -> Seen<'_> {
    Seen { generation, visible, changes: Changes::of(changed), changed }
}

#[test]
fn the_lowest_priority_is_served_in_the_end() {
    let mut baselines = Baselines::new(1, 0);
    baselines.admit(&[0, 1, 2, 3], |index| *index);
    let important = baselines.wait(0, 4.0);
    let waited = (0..100).map(|_| baselines.wait(1, 0.01)).take_while(|waited| *waited <= important).count();
    assert_eq!(waited, 64, "a sixteenth a time, and one more passes");
    assert!(baselines.wait(2, 0.0) > 0.0 && baselines.waiting(2) > 0.0);
    assert!((0..5000).map(|_| baselines.wait(3, 100.0)).is_sorted(), "the sum ends at its maximum");
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_changes_nothing() {
    let mut baselines = Baselines::new(4, 0);
    let changed = [5, 0, 0, 0];
    let seen = seen(1, 1, &changed);
    baselines.begin(5);
    let place = baselines.place(0);
    baselines.sent(place, 1, 1);
    baselines.acked(AckBits { highest: 900, bits: u32::MAX });
    baselines.acked(AckBits { highest: 7, bits: 2 });
    baselines.acked(AckBits { highest: 4, bits: u32::MAX });
    assert_eq!(baselines.need(place, &seen), Need::Fresh);
    baselines.acked(AckBits { highest: 5, bits: u32::MAX });
    assert_eq!(baselines.need(place, &seen), Need::Nothing);
}

#[test]
fn forgotten_snapshots_are_acknowledged_without_effect() {
    let mut baselines = Baselines::new(1, 0);
    baselines.admit(&(0..=SENT_RECORDS as u32).collect::<Vec<_>>(), |index| *index);
    baselines.begin(1);
    baselines.sent(0, 1, 1);
    baselines.begin(2);
    (1..=SENT_RECORDS).for_each(|place| baselines.sent(place, 1, 1));
    baselines.acked(AckBits { highest: 2, bits: 1 });
    assert_eq!(baselines.need(0, &seen(1, 1, &[1])), Need::Fresh, "its snapshot was pushed out");
    assert_eq!(baselines.need(1, &seen(1, 1, &[1])), Need::Nothing);
    // One with more than are remembered is no better.
    baselines.begin(3);
    (0..=SENT_RECORDS).for_each(|place| baselines.sent(place, 2, 1));
    baselines.acked(AckBits { highest: 3, bits: 0 });
    assert_eq!(baselines.need(1, &seen(2, 1, &[1])), Need::Fresh);
}

#[test]
fn who_was_in_a_crowd_does_not_pay_for_it_for_ever() {
    let mut baselines = Baselines::new(1, 0);
    let mut near = |count: u32| {
        baselines.admit(&(0..count).collect::<Vec<u32>>(), |index| *index);
        assert_eq!(baselines.len(), count as usize);
        baselines.bytes() / size_of::<Baseline>()
    };
    assert!((200..=250).contains(&near(200)));
    let alone = near(60);
    assert!((60..=90).contains(&alone), "{alone}");
    // Those that come and go at the edge move no memory.
    assert!((55..=75).chain((52..=75).rev()).all(|count| near(count) == alone));
    assert_eq!(near(0), PLACES_KEPT + PLACES_KEPT / 4);
}

#[test]
fn what_is_settled_takes_no_memory() {
    let mut baselines = Baselines::new(1, 0);
    baselines.admit(&(0..60).collect::<Vec<u32>>(), |index| *index);
    let at_rest = baselines.bytes();
    let mut send = |tick: u32, acked: u32| {
        baselines.begin(tick);
        (0..60).for_each(|place| baselines.sent(place, 1, 1));
        baselines.acked(AckBits { highest: acked, bits: u32::MAX });
        baselines.bytes() - at_rest
    };
    let close = (1..200).map(|tick| send(tick, tick)).max().unwrap();
    assert!(close < 2048, "one snapshot under way: {close} bytes");
    // Nothing is heard of the client for long, and then it is there again.
    let silent = (200..400).map(|tick| send(tick, 199)).max().unwrap();
    assert!((8 * SENT_RECORDS / 2..=8 * SENT_RECORDS + 4096).contains(&silent), "{silent} bytes");
    assert!(send(400, 400) <= 8 * SENT_RECORDS_KEPT + 4096);
}

proptest::proptest! {
    /// Places come and go as a map of them would.
    #[test]
    fn places_are_those_wanted_and_those_that_the_client_may_have(
        looks in proptest::collection::vec(proptest::collection::btree_set(0u32..40, 0..20), 1..30),
        acks in proptest::collection::vec(proptest::bool::ANY, 30),
    ) {
        let mut baselines = Baselines::new(1, 0);
        let mut has = std::collections::BTreeSet::new();
        for (at, (wanted, acked)) in looks.iter().zip(acks).enumerate() {
            let wanted: Vec<u32> = wanted.iter().copied().collect();
            baselines.admit(&wanted, |index| *index);
            let tick = at as u32 + 1;
            baselines.begin(tick);
            let places: Vec<u32> = (0..baselines.len()).map(|place| baselines.index(place)).collect();
            let expected: std::collections::BTreeSet<u32> = wanted.iter().chain(&has).copied().collect();
            proptest::prop_assert!(places.iter().eq(&expected), "{places:?} instead of {expected:?}");
            for (place, index) in places.iter().enumerate() {
                if wanted.binary_search(index).is_ok() {
                    baselines.sent(place, 1, 1);
                    has.insert(*index);
                } else {
                    baselines.sent_gone(place);
                }
            }
            if acked {
                baselines.acked(AckBits { highest: tick, bits: 0 });
                has.retain(|index| wanted.binary_search(index).is_ok());
            }
        }
    }

    /// The short form says the same as all columns, for whoever has whatever tick.
    #[test]
    fn changes_in_short_are_those_of_the_columns(notes in proptest::collection::vec((0usize..6, 0u32..3), 0..40)) {
        let (mut changed, mut changes, mut tick) = ([0; 6], Changes::default(), 1);
        for (column, ticks) in notes {
            tick += ticks;
            changed[column] = tick;
            changes.note(column, tick);
            for since in 0..=tick + 1 {
                let all = (0..6).fold(0, |mask, column| mask | u32::from(changed[column] > since) << column);
                proptest::prop_assert_eq!(changes.since(since, &changed), all);
                proptest::prop_assert_eq!(Changes::of(&changed).since(since, &changed), all);
            }
        }
    }
}
