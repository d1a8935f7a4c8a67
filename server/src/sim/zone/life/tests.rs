//! Joins admitted and refused, spectators, locks, labels, kicks and idle ends: decided by the tick, committed with it, and the same
//! after a restart.

use ringfort_protocol::control::Code;
use ringfort_shm_state::directory::DirectoryWriter;
use ringfort_shm_state::layout::{
    JoinRecord, MailKind, RecordKind, RefusalRow, RootFlags, SessionFlags, SessionInput, SessionRow, ZoneLife,
};
use ringfort_shm_state::limits::MAX_REFUSALS;
use ringfort_shm_state::segment::{padded, unpadded};
use zerocopy::{FromZeros, IntoBytes};

use crate::prelude::*;
use crate::sim::bench::{Bench, ZONE};
use crate::sim::zone::{Outcome, Zone};

/// What happened to a club, as its clients could read it.
#[derive(Component, Clone, Copy, Default)]
struct Told {
    joined: u32,
    watched: u32,
    dropped: u32,
    resumed: u32,
    left: u32,
    kicked: u32,
    inputs: u32,
}

#[derive(Component, Clone, Copy)]
struct Chair {
    body: Entity,
}

#[derive(State)]
struct Club {
    ents: Entities,
    told: Global<Told>,
    star: Global<Chair>,
    seats: Seats<Chair>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nod {
    yes: bool,
}

#[derive(Message, Clone, Copy)]
enum Ask {
    Lock,
    Unlock,
    Label,
}

impl Game for Club {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 2;
    type Input = Nod;
    type Command = Ask;
    type Event = ();
    type Timer = ();

    fn open(&mut self, t: &Tick<Self>) {
        t.set_label("empty");
    }
    fn admit(&self, t: &Tick<Self>, hello: &Hello<'_>) -> Result<(), Refusal> {
        match hello.name {
            "mallory" => Err(format!("{} is not welcome in tick {}", hello.name, t.now().0).into()),
            _ => Ok(()),
        }
    }
    fn join(&mut self, _t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        assert!(!hello.spectator);
        let body = self.ents.spawn_for(who);
        self.seats.insert(who, Chair { body });
        self.star.body = body;
        self.told.joined += 1;
    }
    fn spectate(&mut self, t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        assert!(hello.spectator);
        t.follow(who, self.star.body);
        self.told.watched += 1;
    }
    fn dropped(&mut self, _t: &Tick<Self>, _who: SessionId) {
        self.told.dropped += 1;
    }
    fn resumed(&mut self, _t: &Tick<Self>, _who: SessionId) {
        self.told.resumed += 1;
    }
    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, why: Why) {
        self.told.left += 1;
        self.told.kicked += u32::from(why == Why::Kicked);
        if let Some(chair) = self.seats.remove(who) {
            self.ents.despawn(chair.body);
        }
    }
    fn command(&mut self, t: &Tick<Self>, _who: SessionId, ask: &Ask) {
        match ask {
            Ask::Lock => t.lock(),
            Ask::Unlock => t.unlock(),
            Ask::Label => t.set_label(&"ä".repeat(60)),
        }
    }
    fn step(&mut self, t: &Tick<Self>) {
        self.told.inputs += t.players().count() as u32;
    }
}

impl Bench<Club> {
    fn enter(&mut self, nonce: u8, name: &str, spectate: bool) {
        let join =
            JoinRecord { nonce: [nonce; 16], name: padded(name), spectate: u32::from(spectate), ..JoinRecord::new_zeroed() };
        self.push(RecordKind::Join, 0, 0, join.as_bytes());
    }

    fn tick(&mut self, zone: &mut Zone<Club>) {
        self.flush();
        assert!(matches!(self.step(zone), Outcome::Committed { .. }));
    }

    fn order(&mut self, session: u64, number: u32, ask: &Ask) {
        let mut bytes = Vec::new();
        ringfort_protocol::Message::to_wire(ask, &mut bytes);
        self.push(RecordKind::Command, session, number, &bytes);
    }

    /// What the newest refusal of a nonce says.
    fn refusal(&self, nonce: u8) -> Option<(Code, String)> {
        let (mirror, is) = self.mirror();
        let rows = mirror.iter::<RefusalRow>(is.engine.refusals).map(|(_, row)| row);
        let newest = rows.filter(|row| row.nonce == [nonce; 16]).max_by_key(|row| row.number)?;
        Some((Code::from_u64(newest.code.into())?, unpadded(&newest.text)))
    }

    fn life(&self) -> ZoneLife {
        let (mirror, is) = self.mirror();
        mirror.get(&is.engine.life, 0).unwrap()
    }

    fn told(&self) -> Told {
        let (mirror, is) = self.mirror();
        let row = mirror.row(&is.globals[0], 0).unwrap();
        let word = |at: usize| u32::from_ne_bytes(row[at * 4..at * 4 + 4].try_into().unwrap());
        Told {
            joined: word(0),
            watched: word(1),
            dropped: word(2),
            resumed: word(3),
            left: word(4),
            kicked: word(5),
            inputs: word(6),
        }
    }

    fn kick(&self, session: u64) {
        let (mirror, _) = self.mirror();
        let consumed = mirror.head().unwrap().mail_cursor;
        DirectoryWriter::new(&self.directory).post(ZONE, consumed, MailKind::Kick, session, 0, "").unwrap();
    }
}

/// A club with room for two players and so many spectators.
fn club(spectators: u32, idle_minutes: u32) -> Bench<Club> {
    let mut bench = Bench::<Club>::new(2, 64);
    (bench.entry.spectators, bench.entry.idle_minutes) = (spectators, idle_minutes);
    bench.entry.tables_hash = bench.description().tables_hash;
    bench
}

fn ids(bench: &Bench<Club>) -> Vec<u8> {
    bench.sessions().into_keys().collect()
}

#[test]
fn spectators_have_room_of_their_own_and_none_is_a_player() {
    let mut bench = club(1, 0);
    let mut zone = bench.start();
    (1..=3).for_each(|nonce| bench.enter(nonce, "ada", false));
    (4..=5).for_each(|nonce| bench.enter(nonce, "sam", true));
    bench.tick(&mut zone);
    assert_eq!(ids(&bench), [1, 2, 4]);
    assert_eq!((bench.refusal(3), bench.refusal(5)), (Some((Code::MatchFull, "".into())), Some((Code::MatchFull, "".into()))));
    let (rows, head) = (bench.sessions(), *bench.mirror().0.head().unwrap());
    assert_eq!((rows[&1].flags, rows[&4].flags), (0, SessionFlags::SPECTATOR));
    assert_eq!((head.sessions, head.spectators), (3, 1));
    assert_eq!(
        (rows[&4].entity_index, rows[&4].entity_generation),
        (rows[&2].entity_index, rows[&2].entity_generation),
        "follows"
    );
    // It sends what it may not: nothing of it counts.
    bench.push(RecordKind::Input, rows[&4].id, 1, &[1, 0, 0, 0, 0]);
    bench.order(rows[&4].id, 1, &Ask::Lock);
    let before = bench.told().inputs;
    zone = bench.restart(zone);
    bench.tick(&mut zone);
    assert_eq!((bench.told().inputs - before, bench.life().locked), (2, 0), "two players, and no lock");
    assert_eq!(zone.counters.spectators_refused, 2);
    assert!(bench.mirror().0.get::<SessionInput>(&bench.description().engine.inputs, rows[&4].id as u32).is_none());
    // A place that a spectator gives up is a spectator's again.
    bench.push(RecordKind::Leave, rows[&4].id, 0, &1u64.to_ne_bytes());
    bench.tick(&mut zone);
    bench.enter(6, "bob", false);
    bench.enter(7, "sid", true);
    bench.tick(&mut zone);
    assert_eq!(ids(&bench), [1, 2, 7]);
    bench.check();
}

#[test]
fn what_the_game_says_to_whom_it_does_not_admit_is_committed() {
    let mut bench = club(1, 0);
    let mut zone = bench.start();
    bench.enter(1, "mallory", false);
    bench.enter(2, "mallory", true);
    bench.enter(3, "ada", false);
    bench.tick(&mut zone);
    assert_eq!(ids(&bench), [3]);
    for nonce in [1, 2] {
        assert_eq!(bench.refusal(nonce), Some((Code::Refused, "mallory is not welcome in tick 2".into())));
    }
    assert_eq!((bench.told().joined, bench.told().watched, zone.counters.joins_refused), (1, 0, 2));
    // A front-end that looks later still finds it.
    zone = bench.restart(zone);
    (0..3).for_each(|_| bench.tick(&mut zone));
    assert!(bench.refusal(1).is_some());
    bench.check();
}

#[test]
fn the_newest_refusals_are_kept_and_the_table_never_grows() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    for first in [1, 101] {
        (first..first + 100).for_each(|nonce| bench.enter(nonce, "mallory", false));
        (0..2).for_each(|_| bench.tick(&mut zone));
    }
    let kept: Vec<u8> = (1..=200).filter(|nonce| bench.refusal(*nonce).is_some()).collect();
    assert_eq!(kept, (200 - MAX_REFUSALS as u8 + 1..=200).collect::<Vec<u8>>());
    assert_eq!(bench.life().refusals, 200);
}

#[test]
fn of_many_joins_that_are_refused_each_is_told_its_own_words() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    // More than the table holds at all, and a player in between and behind them.
    let name = |nonce| match nonce {
        100 => "ada",
        201 => "bob",
        _ => "mallory",
    };
    let mut told = std::collections::BTreeMap::new();
    for (tick, nonces) in [1..=80, 81..=160, 161..=200, 201..=201].into_iter().enumerate() {
        nonces.for_each(|nonce| bench.enter(nonce, name(nonce), false));
        bench.tick(&mut zone);
        // A front-end that looks at every other commit only.
        if tick % 2 == 1 {
            told.extend((1..=201u8).filter_map(|nonce| Some((nonce, bench.refusal(nonce)?.0))));
        }
        if tick == 2 {
            zone = bench.restart(zone);
        }
    }
    let mallories = (1..=201u8).filter(|nonce| name(*nonce) == "mallory");
    assert_eq!(told, mallories.map(|nonce| (nonce, Code::Refused)).collect());
    assert_eq!(ids(&bench), [100, 201]);
    assert_eq!((bench.life().refusals, bench.told().joined), (199, 2));
    bench.check();
}

#[test]
fn a_nonce_brings_back_the_same_name_in_the_same_part_only() {
    let mut bench = club(1, 0);
    let mut zone = bench.start();
    bench.enter(1, "ada", false);
    bench.enter(2, "sam", true);
    bench.tick(&mut zone);
    let before = bench.sessions();
    for (nonce, name, spectate) in
        [(1, "mallory", false), (1, "bob", false), (1, "ada", true), (2, "sam", false), (2, "ada", true)]
    {
        bench.enter(nonce, name, spectate);
        bench.tick(&mut zone);
        let (code, words) = bench.refusal(nonce).unwrap();
        assert!(code == Code::Refused && words.contains("join with a new one"), "{name}: {code:?} {words}");
    }
    let after = bench.sessions();
    assert_eq!([1, 2].map(|nonce| after[&nonce].attachment), [1, 1]);
    assert_eq!([1, 2].map(|nonce| after[&nonce].id), [1, 2].map(|nonce| before[&nonce].id));
    assert_eq!((bench.told().joined, bench.told().watched, bench.told().resumed, zone.counters.joins_refused), (1, 1, 0, 5));
    bench.enter(1, "ada", false);
    bench.tick(&mut zone);
    assert_eq!((bench.sessions()[&1].attachment, bench.told().resumed), (2, 0), "it was never dropped");
    bench.check();
}

#[test]
fn a_locked_match_takes_spectators_and_those_who_are_in_but_no_new_players() {
    let mut bench = club(1, 0);
    let mut zone = bench.start();
    bench.enter(1, "ada", false);
    bench.tick(&mut zone);
    let ada = bench.sessions()[&1];
    bench.order(ada.id, 1, &Ask::Lock);
    bench.enter(2, "bob", false);
    bench.tick(&mut zone);
    assert_eq!(bench.refusal(2), Some((Code::MatchStarted, "".into())), "in the very tick of the lock");
    assert_eq!(bench.mirror().0.head().unwrap().flags, RootFlags::LOCKED);
    zone = bench.restart(zone);
    bench.enter(3, "sam", true);
    bench.enter(1, "ada", false);
    bench.tick(&mut zone);
    assert_eq!(ids(&bench), [1, 3]);
    assert_eq!((bench.sessions()[&1].attachment, bench.told().joined), (2, 1), "who comes back is no new player");
    bench.push_attached(RecordKind::Command, ada.id, 2, 2, &{
        let mut bytes = Vec::new();
        ringfort_protocol::Message::to_wire(&Ask::Unlock, &mut bytes);
        bytes
    });
    bench.enter(4, "bob", false);
    bench.tick(&mut zone);
    assert_eq!((ids(&bench), bench.mirror().0.head().unwrap().flags), (vec![1, 3, 4], 0));
    bench.check();
}

#[test]
fn a_label_is_cut_between_characters_and_survives_a_restart() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    assert_eq!(unpadded(&bench.life().label), "empty");
    bench.enter(1, "ada", false);
    bench.tick(&mut zone);
    bench.order(bench.sessions()[&1].id, 1, &Ask::Label);
    bench.tick(&mut zone);
    zone = bench.restart(zone);
    bench.tick(&mut zone);
    assert_eq!(unpadded(&bench.life().label), "ä".repeat(32));
}

#[test]
fn who_was_kicked_leaves_as_kicked_and_does_not_come_back_by_the_same_nonce() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    bench.enter(1, "ada", false);
    bench.enter(2, "bob", false);
    bench.tick(&mut zone);
    let ada: SessionRow = bench.sessions()[&1];
    bench.kick(ada.id);
    // Known to have left already, or never seen.
    bench.kick(ada.id);
    bench.kick(12345);
    bench.tick(&mut zone);
    assert_eq!((ids(&bench), bench.told().left, bench.told().kicked, bench.told().dropped), (vec![2], 1, 1, 0));
    assert_eq!(zone.counters.sessions_kicked, 1);
    zone = bench.restart(zone);
    bench.enter(1, "ada", false);
    bench.enter(3, "ada", false);
    bench.tick(&mut zone);
    assert_eq!(bench.refusal(1), Some((Code::Kicked, "".into())));
    assert_eq!(ids(&bench), [2, 3], "another nonce is another client");
    bench.check();
}

#[test]
fn a_lost_connection_is_told_before_the_leave_and_a_left_one_is_not() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    bench.enter(1, "ada", false);
    bench.enter(2, "bob", false);
    bench.tick(&mut zone);
    let rows = bench.sessions();
    bench.push(RecordKind::Leave, rows[&1].id, 0, &3u64.to_ne_bytes());
    bench.push(RecordKind::Leave, rows[&2].id, 0, &1u64.to_ne_bytes());
    bench.tick(&mut zone);
    let told = bench.told();
    assert_eq!((told.dropped, told.left, told.kicked), (1, 2, 0));
}

#[test]
fn an_empty_match_ends_after_its_minutes_whoever_steps_it() {
    let mut bench = club(0, 1);
    let mut zone = bench.start();
    bench.enter(1, "ada", false);
    (0..700).for_each(|_| bench.tick(&mut zone));
    assert_eq!(bench.life().empty_since, 0, "somebody is in it");
    bench.push(RecordKind::Leave, bench.sessions()[&1].id, 0, &1u64.to_ne_bytes());
    bench.tick(&mut zone);
    let since = bench.mirror().0.head().unwrap().tick;
    assert_eq!(bench.life().empty_since, since);
    // 600 ticks are a minute; the sim's process is replaced in the middle of them.
    (0..300).for_each(|_| bench.tick(&mut zone));
    zone = bench.restart(zone);
    (0..299).for_each(|_| bench.tick(&mut zone));
    assert_eq!(bench.mirror().0.head().unwrap().flags, 0);
    bench.tick(&mut zone);
    assert_eq!(bench.mirror().0.head().unwrap().flags, RootFlags::CLOSING);
    assert_eq!(zone.counters.idle_ends, 1);
}

#[test]
fn without_idle_minutes_an_empty_match_stays() {
    let mut bench = club(0, 0);
    let mut zone = bench.start();
    (0..2000).for_each(|_| bench.tick(&mut zone));
    assert_eq!(bench.mirror().0.head().unwrap().flags, 0);
}
