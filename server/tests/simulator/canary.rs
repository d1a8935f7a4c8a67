//! Hidden state never leaves: all bytes that a client is sent are searched, at every bit, for patterns that it may not have.

use std::collections::{BTreeMap, BTreeSet};

use ringfort::game::Played;
use ringfort::prelude::*;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Committed, Failed, Newly, Plan, Random, Recorded, Script, Simulation, Weather};
use ringfort_client::Session;

/// Where a pattern lies, and so who may have it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// A column for all: the client must have it, or the search finds nothing at all.
    Known,
    /// A column for the owner: its own must be found, others' never.
    Purse,
    /// A field of a visible component that is not synced.
    Lining,
    /// A column that is not synced.
    Vault,
    /// A column seen from near, of something that is always far.
    Far,
    /// What the game keeps for a session.
    Seat,
    /// A pending timer.
    Timer,
    /// A reliable event for one session.
    Letter,
    /// An unreliable event for one session.
    Whisper,
    /// An event for those who see what nobody sees.
    Rumour,
    /// The match's seed.
    Seed,
}

/// The pattern of a place: 64 bits that nothing else is.
fn pattern(place: Place, of: u64) -> u64 {
    let mut random = Random::new(of);
    (0..=place as u32).map(|_| random.next_u64()).last().unwrap_or_default()
}

#[derive(Component, Clone, Copy)]
struct Body {
    #[q(range = -256.0..=256.0, step = 0.01)]
    pos: Vec2,
}

#[derive(Component, Clone, Copy)]
struct Known {
    value: u64,
    #[sync(none)]
    lining: u64,
}

#[derive(Component, Clone, Copy)]
struct Value {
    value: u64,
    turn: u8,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    avatar: Entity,
    secret: u64,
}

#[derive(State)]
struct Vaults {
    ents: Entities,
    #[sync(near = 60.0)]
    body: Column<Body>,
    #[sync(all)]
    known: Column<Known>,
    #[sync(owner)]
    purse: Column<Value>,
    #[sync(near = 60.0)]
    far: Column<Value>,
    vault: Column<Value>,
    seats: Seats<Seat>,
    timers: Timers<Later>,
}

#[derive(Input, Clone, Copy, Default)]
struct Cmd {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    wish: Vec2,
}

#[derive(Message, Clone, Copy)]
enum Ev {
    Whisper {
        secret: u64,
    },
    #[reliable]
    Letter {
        secret: u64,
    },
    #[reliable]
    Rumour {
        secret: u64,
    },
}

#[derive(Timer, Clone, Copy)]
enum Later {
    Never { secret: u64 },
}

impl Game for Vaults {
    const HZ: u32 = 30;
    type Input = Cmd;
    type Command = ();
    type Event = Ev;
    type Timer = Later;

    fn open(&mut self, t: &Tick<Self>) {
        for n in 0..4 {
            let e = self.ents.spawn();
            self.body.insert(e, Body { pos: Vec2::new(200.0, 10.0 * n as f32) });
            self.far.insert(e, Value { value: pattern(Place::Far, u64::from(e.index)), turn: 0 });
        }
        self.timers.at(t.now() + 1_000_000, Later::Never { secret: pattern(Place::Timer, 0) });
    }

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        let of = |place| pattern(place, who.0);
        self.body.insert(avatar, Body { pos: t.rng(avatar).point(40.0) });
        self.known.insert(avatar, Known { value: of(Place::Known), lining: of(Place::Lining) });
        self.purse.insert(avatar, Value { value: of(Place::Purse), turn: 0 });
        self.vault.insert(avatar, Value { value: of(Place::Vault), turn: 0 });
        self.seats.insert(who, Seat { avatar, secret: of(Place::Seat) });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.avatar);
        }
    }

    fn timer(&mut self, t: &Tick<Self>, what: Later) {
        let Later::Never { secret } = what;
        t.send(To::All, Ev::Letter { secret });
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players() {
            let Seat { avatar, secret } = self.seats[p.session];
            let body = &mut self.body[avatar];
            body.pos = (body.pos + p.input.wish * 0.4).clamp_box(45.0);
            // Values that are never sent are used all the same, and change, so that their rows are touched.
            self.vault[avatar].turn ^= secret as u8;
            self.purse[avatar].turn = self.purse[avatar].turn.wrapping_add(1);
            if t.now().0.is_multiple_of(20) {
                t.send(To::One(p.session), Ev::Letter { secret: pattern(Place::Letter, p.session.0) });
                t.send(To::One(p.session), Ev::Whisper { secret: pattern(Place::Whisper, p.session.0) });
            }
        }
        let far: Vec<Entity> = self.far.iter().map(|(e, _)| e).collect();
        for e in far {
            self.far[e].turn = t.now().0 as u8;
            t.send(To::Seeing(e), Ev::Rumour { secret: pattern(Place::Rumour, 0) });
            t.send(To::Near(Vec2::new(200.0, 0.0), 90.0), Ev::Whisper { secret: pattern(Place::Rumour, 1) });
        }
    }
}

struct Wander;

impl Script<Vaults> for Wander {
    fn input(&mut self, _who: usize, _session: &Session<Played<Vaults>>, _sequence: u32, random: &mut Random) -> Cmd {
        Cmd { wish: Vec2::new(random.unit() * 2.0 - 1.0, random.unit() * 2.0 - 1.0) }
    }

    fn committed(&mut self, _: &Committed, _: &Newly, _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        Ok(())
    }

    fn settled(&mut self, _: &Committed, _: u64, _: u32) -> Result<(), Failed> {
        Ok(())
    }
}

/// Every 64 bits in a row of `bytes`, in either order of bits, that are one of the patterns.
fn find(bytes: &[u8], patterns: &BTreeMap<u64, (Place, u64)>, found: &mut BTreeSet<(Place, u64)>) {
    for reversed in [false, true] {
        let mut window = 0u64;
        for (n, bit) in
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> if reversed { 7 - bit } else { bit } & 1)).enumerate()
        {
            window = if reversed { window << 1 | u64::from(bit) } else { window >> 1 | u64::from(bit) << 63 };
            if n >= 63 {
                found.extend(patterns.get(&window).into_iter().chain(patterns.get(&window.swap_bytes())));
            }
        }
    }
}

/// One world; what was found of what was looked for, and how many bytes were searched.
fn search(seed: u64) -> Result<(usize, usize, usize), Failed> {
    let plan = Plan {
        seed: pattern(Place::Seed, seed),
        ticks: 200,
        clients: 5,
        frontends: 2,
        tick_hz: 30,
        capacity: 12,
        budget: if seed.is_multiple_of(2) { MAX_SNAPSHOT_BYTES } else { 200 },
        rewind_ms: 400,
        interest: Default::default(),
        options: Default::default(),
        carrier: Carrier::Plain,
        weather: Weather { loss: 0.1, doubled: 0.05, delay_us: 30_000, jitter_us: 30_000, damaged: 0.0 },
        chaos: Chaos {
            sim_dies: 0.01,
            game_fails: 0.0,
            frontend_dies: 0.002,
            overloads: 0.0,
            leaves: 0.003,
            call_lost: 0.01,
            stalls: 0.01,
            damaged_players: 0.0,
        },
    };
    let world_seed = plan.seed;
    let mut simulation = Simulation::<Vaults, _>::new(plan, Wander)?;
    simulation.record(0);
    simulation.run()?;
    let mine = simulation.sessions_of(0).to_vec();
    let everybody = (0..5).flat_map(|who| simulation.sessions_of(who).to_vec());
    let mut patterns: BTreeMap<u64, (Place, u64)> = BTreeMap::new();
    let of_players = [Place::Known, Place::Purse, Place::Lining, Place::Vault, Place::Seat, Place::Letter, Place::Whisper];
    for (session, place) in everybody.flat_map(|session| of_players.map(|place| (session, place))) {
        patterns.insert(pattern(place, session), (place, session));
    }
    let others = [
        (Place::Far, 0),
        (Place::Far, 1),
        (Place::Far, 2),
        (Place::Far, 3),
        (Place::Timer, 0),
        (Place::Rumour, 0),
        (Place::Rumour, 1),
    ];
    patterns.extend(others.map(|(place, of)| (pattern(place, of), (place, of))));
    patterns.insert(world_seed, (Place::Seed, 0));
    let Recorded { datagrams, stream } = simulation.recorded();
    let mut found = BTreeSet::new();
    datagrams.iter().chain([&stream]).for_each(|bytes| find(bytes, &patterns, &mut found));
    let may = |(place, of): &(Place, u64)| match place {
        Place::Known => true,
        Place::Purse | Place::Letter | Place::Whisper => mine.contains(of),
        _ => false,
    };
    if let Some((place, of)) = found.iter().find(|pattern| !may(pattern)) {
        return Err(Failed(format!("the client was sent {place:?} of {of:x}, which it may not have")));
    }
    // The control: what it may have is found, so the search would have found the rest.
    let last = *mine.last().ok_or_else(|| Failed("the client never joined".to_owned()))?;
    for place in [Place::Known, Place::Purse, Place::Letter, Place::Whisper] {
        if !found.contains(&(place, last)) {
            return Err(Failed(format!("the search does not find {place:?}, which was sent")));
        }
    }
    let bytes = datagrams.iter().map(Vec::len).sum::<usize>() + stream.len();
    Ok((bytes, found.len(), patterns.len()))
}

/// Worlds that are searched.
const WORLDS: u64 = 8;

/// Searches some worlds and says what came of it.
pub fn check(seed: u64) -> Result<(), Failed> {
    let (mut bytes, mut found, mut hidden) = (0, 0, 0);
    for world in seed..seed + WORLDS {
        let (searched, seen, all) = search(world).map_err(|e| Failed(format!("world {world}: {e}")))?;
        (bytes, found, hidden) = (bytes + searched, found + seen, hidden + all - seen);
    }
    println!(
        "Canaries: {bytes} bytes to a client searched at every bit: {found} patterns that it may have, and none of {hidden} others"
    );
    Ok(())
}
