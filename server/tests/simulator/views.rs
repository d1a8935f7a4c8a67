//! The typed world that a program is given ([`View::latest`](ringfort::client::View::latest)) is the one that its session holds, which
//! the oracle compares with the committed one at every snapshot.

use ringfort::client::{Delay, Playing, Settings};
use ringfort::game::{Component, Played};
use ringfort::prelude::*;
use ringfort::protocol::client_world::ClientWorld;
use ringfort::protocol::component::{ColumnId, GlobalId};
use ringfort::simulator::{Committed, Failed, Newly, Random, Script, Simulation};
use ringfort_client::Session;

use crate::game::{Ask, Cmd, Menagerie};
use crate::options::Options;
use crate::storm::{Kind, plan};

/// Looks at everything that it could draw, at each of its inputs.
#[derive(Default)]
struct Viewers {
    /// What was wrong first.
    failed: Option<Failed>,
    worlds: u64,
    rows: u64,
    globals: u64,
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, typed: T, held: T) -> Result<(), Failed> {
    if typed == held { Ok(()) } else { Err(Failed(format!("{what} is {typed:?} to the program, and {held:?} was sent"))) }
}

/// Compares a column; returns how many rows it has.
fn column<T: Component + PartialEq + std::fmt::Debug>(
    what: &str,
    typed: &Column<T>,
    world: &ClientWorld,
    id: ColumnId<T>,
) -> Result<u64, Failed> {
    let held: Vec<(Entity, T)> = world.iter(id).collect();
    same(what, typed.iter().map(|(e, row)| (e, *row)).collect(), held.clone())?;
    Ok(held.len() as u64)
}

/// Compares a global. One that was not sent yet is all zeros to the program.
fn global<T: Component + PartialEq + std::fmt::Debug>(
    what: &str,
    typed: &T,
    world: &ClientWorld,
    id: GlobalId<T>,
) -> Result<u64, Failed> {
    let Some(held) = world.global(id) else { return Ok(0) };
    same(what, *typed, held)?;
    Ok(1)
}

impl Viewers {
    fn look(&mut self, playing: &Playing<Menagerie>, session: &Session<Played<Menagerie>>) -> Result<(), Failed> {
        let Some(world) = session.world().filter(|_| session.is_live()) else { return Ok(()) };
        let view = playing.view();
        same("the tick", view.tick(), world.tick())?;
        same("who plays", playing.me(), session.id())?;
        same("its own", view.all_owned(playing.me()).collect::<Vec<_>>(), world.mine().collect())?;
        let has = view.latest();
        self.rows += column("body", &has.body, world, Menagerie::BODY)?;
        self.rows += column("tag", &has.tag, world, Menagerie::TAG)?;
        self.rows += column("tally", &has.tally, world, Menagerie::TALLY)?;
        self.rows += column("spark", &has.spark, world, Menagerie::SPARK)?;
        self.rows += column("age", &has.age, world, Menagerie::AGE)?;
        same("hidden", has.hidden.iter().count(), 0)?;
        for e in world.entities() {
            same("a living entity", has.ents.alive(e), true)?;
            // Texts and bytes have no constants; they stand after the age in the schema.
            let held = |after: u16| world.blob(e, Menagerie::AGE.index + after).map(<[u8]>::to_vec);
            same("label", has.label.get(e).map(|text| text.as_bytes().to_vec()), held(1))?;
            same("scent", has.scent.get(e).map(<[u8]>::to_vec), held(2))?;
        }
        self.globals += global("sky", &*has.sky, world, Menagerie::SKY)?;
        self.globals += global("clock", &*has.clock, world, Menagerie::CLOCK)?;
        self.worlds += 1;
        Ok(())
    }
}

impl Script<Menagerie> for Viewers {
    fn input(&mut self, _: usize, _: &Session<Played<Menagerie>>, _: u32, random: &mut Random) -> Cmd {
        let wish = Vec2::new(random.unit() * 2.0 - 1.0, random.unit() * 2.0 - 1.0);
        Cmd { wish, serial: 0, hop: Press::down(random.chance(0.05)) }
    }

    fn settings(&self) -> Option<Settings<Menagerie>> {
        let mut settings = Settings::<Menagerie>::new();
        settings.interpolate(Delay::Auto);
        Some(settings)
    }

    fn act(
        &mut self,
        who: usize,
        playing: &Playing<Menagerie>,
        session: &Session<Played<Menagerie>>,
        random: &mut Random,
    ) -> (Cmd, Vec<crate::game::Ev>) {
        if let Err(failed) = self.look(playing, session) {
            self.failed.get_or_insert(failed);
        }
        (self.input(who, session, 0, random), Vec::new())
    }

    fn command(&mut self, _: usize, number: u32, random: &mut Random) -> Option<Ask> {
        random.chance(0.02).then_some(Ask::Poke { number })
    }

    fn committed(&mut self, tick: &Committed, _: &Newly, _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        self.failed.take().map_or(Ok(()), |Failed(what)| Err(Failed(format!("tick {}: {what}", tick.tick))))
    }

    fn settled(&mut self, _: &Committed, _: u64, _: u32) -> Result<(), Failed> {
        Ok(())
    }
}

/// Worlds that are looked at.
const WORLDS: u64 = 6;

/// Plays in worlds of the storm, with whole clients.
pub fn check(seed: u64) -> Result<(), Failed> {
    let (mut worlds, mut rows, mut globals) = (0, 0, 0);
    for seed in seed..seed + WORLDS {
        let plan = plan(Kind::Plain, seed, &Options::usual());
        let mut simulation = Simulation::<Menagerie, _>::new(plan, Viewers::default())?;
        simulation.run().map_err(|e| Failed(format!("world {seed}: {e}")))?;
        let seen = simulation.script;
        (worlds, rows, globals) = (worlds + seen.worlds, rows + seen.rows, globals + seen.globals);
    }
    println!("Views: {worlds} worlds as programs have them, {rows} rows and {globals} globals in them, as they were sent");
    if worlds < 5_000 || rows < worlds || globals < worlds {
        return Err(Failed("too few views to tell".to_owned()));
    }
    Ok(())
}
