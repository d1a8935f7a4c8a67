//! A front-end that cannot keep up does without, in the stated order, and nobody who plays loses an input or is thrown out for it.

use ringfort::game::Played;
use ringfort::prelude::*;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Committed, Failed, Newly, Plan, Random, Script, Simulation, Weather};
use ringfort_client::Session;

/// Something that is another in every tick, and fills snapshots.
#[derive(Component, Clone, Copy)]
struct Beast {
    mood: u64,
}

#[derive(State)]
struct Herd {
    ents: Entities,
    #[sync(all)]
    beast: Column<Beast>,
}

#[derive(Input, Clone, Copy, Default)]
struct Nod {
    press: Press,
}

/// Beasts: in all about 650 bytes a tick.
const BEASTS: u32 = 70;

impl Game for Herd {
    const HZ: u32 = HZ;
    type Input = Nod;
    type Command = ();
    type Event = ();
    type Timer = ();

    fn max_entities(_capacity: u32) -> u32 {
        BEASTS
    }

    fn open(&mut self, _t: &Tick<Self>) {
        for n in 0..BEASTS {
            let beast = self.ents.spawn();
            self.beast.insert(beast, Beast { mood: u64::from(n) });
        }
    }

    fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

    fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

    fn step(&mut self, _t: &Tick<Self>) {
        let all: Vec<Entity> = self.beast.iter().map(|(beast, _)| beast).collect();
        for beast in all {
            if let Some(beast) = self.beast.get_mut(beast) {
                beast.mood = beast.mood.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            }
        }
    }
}

/// Nods once a tick, and counts what arrived of it.
#[derive(Default)]
struct Nods {
    given: u64,
    applied: u64,
}

impl Script<Herd> for Nods {
    fn input(&mut self, _who: usize, _session: &Session<Played<Herd>>, _sequence: u32, _random: &mut Random) -> Nod {
        self.given += 1;
        Nod::default()
    }

    fn committed(&mut self, _tick: &Committed, newly: &Newly, _sound: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        self.applied += newly.applied.len() as u64;
        Ok(())
    }

    fn settled(&mut self, _tick: &Committed, _session: u64, _commands: u32) -> Result<(), Failed> {
        Ok(())
    }
}

const HZ: u32 = 20;
const CLIENTS: usize = 8;
/// Inputs of all that are under way at one time: of a client the one of a tick, the one that waits, and one on its way.
const UNDER_WAY: u64 = 3 * CLIENTS as u64;
/// Nobody needs longer to come back: each level takes two seconds.
const RECOVERY_SECONDS: u32 = 30;

/// What one second was like.
#[derive(Debug)]
struct Second {
    level: u64,
    snapshots: [u64; CLIENTS],
    /// Bytes of the longest snapshot of the first player.
    longest: usize,
    /// Inputs that were given and not applied, since the beginning.
    waiting: u64,
}

type World = Simulation<Herd, Nods>;

fn second(world: &mut World) -> Result<Second, Failed> {
    let snapshots = |world: &World| std::array::from_fn(|who| world.snapshots_of(who));
    let (before, datagrams): ([u64; CLIENTS], _) = (snapshots(world), world.recorded().datagrams.len());
    world.storm()?;
    let after = snapshots(world);
    Ok(Second {
        level: world.shed_level(),
        snapshots: std::array::from_fn(|who| after[who] - before[who]),
        longest: world.recorded().datagrams[datagrams..].iter().map(Vec::len).max().unwrap_or(0),
        waiting: world.script.given - world.script.applied,
    })
}

fn must(holds: bool, what: &str, seen: &impl std::fmt::Debug) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed(format!("{what}: {seen:?}"))) }
}

/// One front-end, first with time enough, then without, then with.
pub fn check(seed: u64) -> Result<(), Failed> {
    let plan = Plan {
        seed,
        ticks: HZ,
        clients: CLIENTS,
        frontends: 1,
        tick_hz: HZ,
        capacity: CLIENTS as u32,
        budget: MAX_SNAPSHOT_BYTES,
        rewind_ms: 100,
        interest: Default::default(),
        options: Default::default(),
        carrier: Carrier::Plain,
        weather: Weather::FAIR,
        chaos: Default::default(),
    };
    let mut world = World::new(plan, Nods::default())?;
    world.record(0);
    second(&mut world)?;
    let everybody = |second: &Second, each: u64| second.snapshots.iter().all(|snapshots| snapshots.abs_diff(each) <= 1);
    let all_inputs = |second: &Second| second.waiting <= UNDER_WAY;

    let calm = second(&mut world)?;
    must(calm.level == 0 && everybody(&calm, HZ.into()), "whoever keeps up does without nothing", &calm)?;
    must(calm.longest > MAX_SNAPSHOT_BYTES / 2, "the snapshots are long enough to be cut", &calm)?;

    // A level each half second. Snapshots come first, then their bytes, and joins last.
    world.overload(2 * 1_000_000 / u64::from(HZ));
    let mut level = 0;
    while level < 6 {
        let rising = second(&mut world)?;
        must((1..=2).contains(&(rising.level - level)), "one level after the other", &rising)?;
        must(rising.level > 3 || rising.longest == calm.longest, "bytes come after snapshots", &rising)?;
        must(all_inputs(&rising), "inputs always go on", &rising)?;
        level = rising.level;
    }
    let worst = second(&mut world)?;
    must(worst.level == 6 && everybody(&worst, u64::from(HZ) / 4), "every 4th snapshot, in turns", &worst)?;
    must(worst.longest <= MAX_SNAPSHOT_BYTES / 4, "of a quarter of its bytes", &worst)?;
    must(all_inputs(&worst), "inputs always go on", &worst)?;

    world.leave(0);
    second(&mut world)?;
    let without = second(&mut world)?;
    must(!world.plays(0), "who comes new is put off", &without)?;
    must((1..CLIENTS).all(|who| world.plays(who)), "and nobody else notices", &without)?;
    must(all_inputs(&without), "inputs always go on", &without)?;

    world.overload(0);
    let mut seconds = 0;
    while world.shed_level() > 0 || !world.plays(0) {
        second(&mut world)?;
        seconds += 1;
        must(seconds <= RECOVERY_SECONDS, "it recovers by itself", &world.shed_level())?;
    }
    second(&mut world)?;
    let again = second(&mut world)?;
    must(everybody(&again, HZ.into()) && all_inputs(&again), "all is as it was", &again)?;
    must((1..CLIENTS).all(|who| world.sessions_of(who).len() == 1), "nobody had to come again", &again)?;
    world.run().map(drop)
}
