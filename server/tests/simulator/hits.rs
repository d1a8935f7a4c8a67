//! Hits: what was on target on the shooter's screen is hit, and what was not is missed, as far back as the match allows.

use std::collections::BTreeMap;

use ringfort::client::{Delay, Event, Playing, Settings};
use ringfort::game::{Arrival, Played};
use ringfort::prelude::*;
use ringfort::protocol::Input as _;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Committed, Failed, Newly, Oracle, Plan, Random, Script, Simulation, Weather};
use ringfort_client::Session;

/// What a shot goes past without meeting it.
const RADIUS: f32 = 0.5;
/// Shots that pass the edge of a target within this are left out: positions are rounded to 0.01, and sums of floats differ a little.
const QUANTUM: f32 = 0.015;
const REACH: f32 = 60.0;

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Body {
    #[q(range = -256.0..=256.0, step = 0.01)]
    pos: Vec2,
}

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Duck {
    #[sync(none)]
    vel: Vec2,
    alive: bool,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    stand: Entity,
}

#[derive(State)]
struct Range {
    ents: Entities,
    #[sync(all)]
    #[interp(lerp, snap_over = 3.0)]
    #[keep(500)]
    body: Column<Body>,
    #[sync(all)]
    duck: Column<Duck>,
    #[index(body.pos, cell = 8.0)]
    #[keep(500)]
    grid: Grid,
    seats: Seats<Seat>,
    timers: Timers<Never>,
}

#[derive(Input, Clone, Copy, Default)]
struct Cmd {
    #[q(angle, bits = 16)]
    aim: f32,
    serial: u16,
    fire: Press,
}

#[derive(Message, Clone, Copy, PartialEq, Debug)]
enum Ev {
    #[reliable]
    Report { serial: u16, hit: Entity },
}

#[derive(Timer, Clone, Copy)]
enum Never {
    Comes,
}

impl Game for Range {
    const HZ: u32 = 60;
    type Input = Cmd;
    type Command = ();
    type Event = Ev;
    type Timer = Never;

    fn open(&mut self, t: &Tick<Self>) {
        for _ in 0..16 {
            let e = self.ents.spawn();
            let mut r = t.rng(e);
            self.body.insert(e, Body { pos: r.point(30.0) });
            self.duck.insert(e, Duck { vel: Vec2::from_angle(r.range(-3.0..3.0)) * r.range(3.0..14.0), alive: true });
        }
    }

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let stand = self.ents.spawn_for(who);
        self.body.insert(stand, Body { pos: t.rng(stand).point(20.0) });
        self.seats.insert(who, Seat { stand });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.stand);
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        for (e, mut duck, mut body) in (&mut self.duck, &mut self.body).join() {
            body.pos += duck.vel * t.dt();
            if body.pos.length() > 40.0 {
                duck.vel = body.pos * -0.25;
            }
            let mut r = t.rng(e);
            match r.below(200) {
                // Some leap so far that nobody draws them in between.
                0 => body.pos = r.point(30.0),
                1 | 2 => duck.vel = Vec2::from_angle(r.range(-3.0..3.0)) * r.range(3.0..14.0),
                _ => {}
            }
        }
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime && p.input.fire.pressed()) {
            let stand = self.seats[p.session].stand;
            let ray = Ray { from: self.body[stand].pos, dir: Vec2::from_angle(p.input.aim), len: REACH, radius: RADIUS };
            let hit = t.rewind(p.view).grid(|w| &w.grid).ray(ray, |e| self.duck.get(e).is_some());
            let hit = hit.map_or(Entity::NONE, |(e, _)| e);
            t.send(To::One(p.session), Ev::Report { serial: p.input.serial, hit });
        }
    }
}

/// What a shot should come to.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    Hits(Entity),
    Misses,
    /// Too close to an edge to be told.
    Open,
}

/// The nearest of the targets that a shot meets.
fn judge(from: Vec2, aim: f32, targets: impl Iterator<Item = (Entity, Vec2)>) -> Verdict {
    let dir = Vec2::from_angle(aim);
    let mut met: Vec<(f32, Entity, bool)> = Vec::new();
    for (e, at) in targets {
        let to = at - from;
        let (along, aside) = (to.x * dir.x + to.y * dir.y, (to.y * dir.x - to.x * dir.y).abs());
        if !(-QUANTUM..=REACH + QUANTUM).contains(&along) || aside > RADIUS + QUANTUM {
            continue;
        }
        let sure = along > QUANTUM && along < REACH - QUANTUM && aside < RADIUS - QUANTUM;
        met.push((along, e, sure));
    }
    met.sort_by(|a, b| a.0.total_cmp(&b.0));
    match met.first() {
        None => Verdict::Misses,
        Some((along, e, true)) if met.get(1).is_none_or(|next| next.0 > along + 2.0 * QUANTUM) => Verdict::Hits(*e),
        _ => Verdict::Open,
    }
}

struct Shot {
    from: Vec2,
    aim: f32,
    on_screen: Verdict,
}

/// Players who aim at what they see, a little beside it more often than not.
struct Shooters {
    /// Ticks that the match looks back, when the shots are to be judged by that and not by the screen.
    clamped: Option<u32>,
    shots: BTreeMap<(usize, u16), Shot>,
    serials: u16,
    hits: u64,
    misses: u64,
    open: u64,
    /// Shots of which the screen had told something else.
    otherwise: u64,
}

impl Shooters {
    fn new(clamped: Option<u32>) -> Self {
        Self { clamped, shots: BTreeMap::new(), serials: 0, hits: 0, misses: 0, open: 0, otherwise: 0 }
    }
}

impl Script<Range> for Shooters {
    fn input(&mut self, _: usize, _: &Session<Played<Range>>, _: u32, _: &mut Random) -> Cmd {
        Cmd::default()
    }

    fn settings(&self) -> Option<Settings<Range>> {
        let mut settings = Settings::<Range>::new();
        settings.interpolate(Delay::Auto);
        Some(settings)
    }

    fn act(&mut self, who: usize, playing: &Playing<Range>, _: &Session<Played<Range>>, random: &mut Random) -> (Cmd, Vec<Ev>) {
        let view = playing.view();
        let me = view.owned(playing.me()).and_then(|e| view.get(e, |w| &w.body));
        // Buttons have edges: a shot is a press after a release.
        let (Some(Body { pos: from }), true) = (me, random.chance(0.2)) else { return (Cmd::default(), Vec::new()) };
        let ducks =
            || view.each(|w| &w.body).filter(|(e, _)| view.latest().duck.get(*e).is_some()).map(|(e, body)| (e, body.pos));
        let there: Vec<Vec2> = ducks().map(|(_, at)| at).collect();
        if there.is_empty() {
            return (Cmd::default(), Vec::new());
        }
        let to = random.pick(&there) - from;
        let beside = (random.unit() * 2.0 - 1.0) * 2.0 * RADIUS;
        self.serials = self.serials.wrapping_add(1);
        let mut cmd =
            Cmd { aim: to.y.atan2(to.x) + beside / to.length().max(1.0), serial: self.serials, fire: Press::down(true) };
        cmd.quantise();
        self.shots.insert((who, self.serials), Shot { from, aim: cmd.aim, on_screen: judge(from, cmd.aim, ducks()) });
        (cmd, Vec::new())
    }

    fn heard(&mut self, who: usize, event: &Event<Ev>, oracle: &Oracle) -> Result<(), Failed> {
        let Ev::Report { serial, hit } = event.what;
        let Some(Shot { from, aim, on_screen }) = self.shots.remove(&(who, serial)) else {
            return Err(Failed(format!("player {who} hears twice, or of no shot of its own: {serial}")));
        };
        let found = if hit == Entity::NONE { Verdict::Misses } else { Verdict::Hits(hit) };
        let expected = match self.clamped {
            None => on_screen,
            Some(ticks) => {
                // Counted from the newest commit, which is that of the tick before.
                let then = oracle.at(event.tick.0 - 1 - ticks).ok_or_else(|| Failed("the tick is forgotten".to_owned()))?;
                let all = then.entities().filter(|e| then.get(*e, Range::DUCK).is_some());
                judge(from, aim, all.filter_map(|e| Some((e, then.get(e, Range::BODY)?.pos))))
            }
        };
        self.otherwise += u64::from(on_screen != found && on_screen != Verdict::Open);
        match expected {
            Verdict::Open => self.open += 1,
            Verdict::Hits(_) => self.hits += 1,
            Verdict::Misses => self.misses += 1,
        }
        if expected != Verdict::Open && expected != found {
            return Err(Failed(format!(
                "shot {serial} of player {who} at tick {}: {found:?}, and {expected:?} was due",
                event.tick.0
            )));
        }
        Ok(())
    }

    fn committed(&mut self, _: &Committed, _: &Newly, _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        Ok(())
    }

    fn settled(&mut self, _: &Committed, _: u64, _: u32) -> Result<(), Failed> {
        Ok(())
    }
}

fn shoot(seed: u64, weather: Weather, rewind_ms: u32, clamped: bool) -> Result<Shooters, Failed> {
    let tick_hz = 60;
    let plan = Plan {
        seed,
        ticks: 900,
        clients: 6,
        frontends: 2,
        tick_hz,
        capacity: 8,
        budget: MAX_SNAPSHOT_BYTES,
        rewind_ms,
        interest: Default::default(),
        options: Default::default(),
        carrier: Carrier::Plain,
        weather,
        chaos: Chaos::default(),
    };
    // The network heals in the end, and views are not that old any more: only the storm is judged by the bound.
    let ticks = (rewind_ms * tick_hz).div_ceil(1000);
    let mut simulation = Simulation::<Range, _>::new(plan, Shooters::new(clamped.then_some(ticks)))?;
    if clamped {
        simulation.storm()?
    } else {
        simulation.run().map(drop)?
    }
    Ok(simulation.script)
}

/// Worlds that shots are fired in.
const WORLDS: u64 = 4;

/// Shots at 150 ms there and back, then shots from so far away that the match does not look back all the way.
pub fn check(seed: u64) -> Result<(), Failed> {
    let (mut hits, mut misses, mut open) = (0, 0, 0);
    for world in seed..seed + WORLDS {
        let weather = Weather { loss: 0.02, doubled: 0.01, delay_us: 75_000, jitter_us: 10_000, damaged: 0.0 };
        let shooters = shoot(world, weather, 400, false).map_err(|e| Failed(format!("world {world}: {e}")))?;
        (hits, misses, open) = (hits + shooters.hits, misses + shooters.misses, open + shooters.open);
    }
    println!(
        "Hits at 150 ms, as on the shooter's screen: {hits} hits, {misses} misses, and {open} within {QUANTUM} of an edge left out"
    );
    let far = Weather { loss: 0.0, doubled: 0.0, delay_us: 250_000, jitter_us: 5_000, damaged: 0.0 };
    let Shooters { hits: late_hits, misses: late_misses, otherwise, .. } = shoot(seed, far, 100, true)?;
    println!(
        "  at 500 ms with rewind_ms = 100: {late_hits} hits, {late_misses} misses, all as 100 ms ago; {otherwise} not as on the screen"
    );
    if hits.min(misses) < 500 || late_hits.min(late_misses).min(otherwise) < 50 {
        return Err(Failed("too few shots to tell".to_owned()));
    }
    Ok(())
}
