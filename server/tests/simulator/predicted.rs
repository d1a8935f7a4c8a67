//! Prediction: how far what players predict of themselves is from what the server then says, and whether the input clock brings
//! their inputs in time.

use std::cell::RefCell;

use ringfort::client::{Correction, Delay, Fix, Playing, Settings};
use ringfort::game::Played;
use ringfort::prelude::*;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Committed, Failed, Newly, Plan, Random, Script, Simulation, Weather};
use ringfort::skirmish::{Ask, Body, Cmd, Ev, Skirmish, drive};
use ringfort_client::Session;

/// Upper ends of the histogram's classes, in units of the game.
const CLASSES: [f32; 7] = [0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];

/// Percent of inputs that may be corrected although the server had one for the tick: the snapshot that told of a repeated input was
/// lost, and the next one shows what came of it.
const UNEXPLAINED_MAX: u64 = 1;
/// Percent of inputs that may be corrected because the server had none for a tick.
const LATE_MAX: u64 = 7;
/// Percent of inputs at which the player must have a body: those who are shot wait to be born again.
const ALIVE_MIN: u64 = 80;
/// Percent of these at which the own entity must be drawn ahead of the newest snapshot.
const PREDICTED_MIN: u64 = 95;
/// Percent of the looks at a newly acknowledged input that must tell how early it came.
const STEERED_MIN: u64 = 90;
/// How early inputs come in the mean, in ticks: what the client aims at on a way so uneven, and a little more.
const EARLY: std::ops::RangeInclusive<f64> = 0.3..=1.3;

/// Corrections by their length, and beyond the last class; then those for which the server had no input and repeated the last.
#[derive(Clone, Copy, Default)]
struct Corrections {
    classes: [u64; CLASSES.len() + 1],
    repeated: u64,
    longest: f32,
}

thread_local! {
    static CORRECTIONS: RefCell<Corrections> = RefCell::default();
}

/// What a rule of correction may do is to look: it is a plain function.
fn note(correction: &Correction<Body>) -> Fix {
    let length = (correction.server.pos - correction.predicted.pos).length();
    CORRECTIONS.with_borrow_mut(|all| {
        let class = CLASSES.iter().position(|end| length <= *end).unwrap_or(CLASSES.len());
        all.classes[class] += 1;
        all.repeated += u64::from(correction.repeated > 0);
        all.longest = all.longest.max(length);
    });
    Fix::Snap
}

/// Players that run about, turn now and then, and shoot each other.
#[derive(Default)]
struct Runners {
    wishes: Vec<Vec2>,
    inputs: u64,
    /// Of these, given while the player was alive, and while its own entity was drawn otherwise than in the newest snapshot.
    alive: u64,
    predicted: u64,
    /// The newest acknowledged input of each player.
    acknowledged: Vec<u32>,
    /// Looks at a newly acknowledged input, those of them that told how early it came, and the sum of that, in ticks.
    looks: u64,
    told: u64,
    early: f64,
}

impl Runners {
    /// Every input brings a new direction to aim at: a body that is not predicted aims elsewhere.
    fn look(&mut self, who: usize, playing: &Playing<Skirmish>, session: &Session<Played<Skirmish>>) {
        let view = playing.view();
        let drawn = view.owned(playing.me()).and_then(|me| Some((view.get(me, |s| &s.body)?, *view.latest().body.get(me)?)));
        self.alive += u64::from(drawn.is_some());
        self.predicted += u64::from(drawn.is_some_and(|(drawn, latest)| drawn != latest));
        let Some(header) = session.world().and_then(|world| world.header()) else { return };
        if header.inputs.highest > self.acknowledged[who] {
            self.acknowledged[who] = header.inputs.highest;
            self.looks += 1;
            if let Some(early) = header.early.duration() {
                self.told += 1;
                self.early += early.as_secs_f64() * f64::from(session.tick_hz());
            }
        }
    }

    /// What must hold of the prediction and of the input clock.
    fn judge(&self, corrections: &Corrections) -> Result<(), Failed> {
        let Self { inputs, alive, predicted, looks, told, .. } = *self;
        let all: u64 = corrections.classes.iter().sum();
        let (late, unexplained, beyond) = (corrections.repeated, all - corrections.repeated, corrections.classes[CLASSES.len()]);
        let early = self.early / told as f64;
        let demands = [
            (inputs >= 10_000, format!("only {inputs} inputs were given")),
            (beyond == 0, format!("{beyond} corrections over 4 units, the longest {}", corrections.longest)),
            (alive * 100 >= inputs * ALIVE_MIN, format!("at {alive} of {inputs} inputs the player had a body")),
            (predicted * 100 >= alive * PREDICTED_MIN, format!("{predicted} of {alive} inputs saw a prediction")),
            (unexplained * 100 <= inputs * UNEXPLAINED_MAX, format!("{unexplained} corrections of no late input")),
            (late * 100 <= inputs * LATE_MAX, format!("{late} corrections as an input came late")),
            (told * 100 >= looks * STEERED_MIN, format!("{told} of {looks} snapshots said how early an input came")),
            (EARLY.contains(&early), format!("inputs come {early:.2} ticks early in the mean, not {EARLY:?}")),
        ];
        demands.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(Failed(what)))
    }
}

impl Script<Skirmish> for Runners {
    fn input(&mut self, _: usize, _: &Session<Played<Skirmish>>, _: u32, _: &mut Random) -> Cmd {
        Cmd::default()
    }

    fn settings(&self) -> Option<Settings<Skirmish>> {
        let mut settings = Settings::<Skirmish>::new();
        settings.interpolate(Delay::Auto);
        settings.predict(|s| &s.body, drive);
        settings.on_correction(|s| &s.body, note);
        Some(settings)
    }

    fn act(
        &mut self,
        who: usize,
        playing: &Playing<Skirmish>,
        session: &Session<Played<Skirmish>>,
        random: &mut Random,
    ) -> (Cmd, Vec<Ev>) {
        if self.wishes.len() <= who {
            self.wishes.resize(who + 1, Vec2::ZERO);
            self.acknowledged.resize(who + 1, 0);
        }
        self.look(who, playing, session);
        if random.chance(0.05) {
            self.wishes[who] = Vec2::new(random.unit() * 2.0 - 1.0, random.unit() * 2.0 - 1.0);
        }
        self.inputs += 1;
        let aim = random.unit() * 6.0 - 3.0;
        (Cmd { wish: self.wishes[who], aim, fire: Press::down(random.chance(0.1)) }, Vec::new())
    }

    fn command(&mut self, _: usize, _: u32, random: &mut Random) -> Option<Ask> {
        random.chance(0.0005).then_some(Ask::Suicide)
    }

    fn committed(&mut self, _: &Committed, _: &Newly, _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        Ok(())
    }

    fn settled(&mut self, _: &Committed, _: u64, _: u32) -> Result<(), Failed> {
        Ok(())
    }
}

/// Plays skirmish for a minute with this delay each way.
fn play(seed: u64, delay_ms: u64) -> Result<(), Failed> {
    CORRECTIONS.set(Corrections::default());
    let plan = Plan {
        seed,
        ticks: 3_600,
        clients: 8,
        frontends: 2,
        tick_hz: 60,
        capacity: 8,
        budget: MAX_SNAPSHOT_BYTES,
        rewind_ms: 400,
        interest: Default::default(),
        options: Default::default(),
        carrier: Carrier::Plain,
        weather: Weather { loss: 0.02, doubled: 0.01, delay_us: delay_ms * 1_000, jitter_us: 8_000, damaged: 0.0 },
        chaos: Chaos::default(),
    };
    let mut simulation = Simulation::<Skirmish, _>::new(plan, Runners::default())?;
    simulation.run()?;
    let corrections = CORRECTIONS.take();
    let Corrections { classes, repeated, longest } = corrections;
    let Runners { inputs, alive, predicted, told, early, .. } = simulation.script;
    println!(
        "Prediction, {delay_ms} ms each way, 2 % lost: {} corrections of {inputs} inputs, {repeated} as an input came late; the longest {longest:.2}",
        classes.iter().sum::<u64>()
    );
    let named: Vec<String> = CLASSES.iter().zip(classes).map(|(end, n)| format!("up to {end}: {n}")).collect();
    println!("  {}, over 4: {}", named.join(", "), classes[CLASSES.len()]);
    println!("  predicted at {predicted} of {alive} inputs of the living; inputs come {:.2} ticks early", early / told as f64);
    simulation.script.judge(&corrections).map_err(|e| Failed(format!("{delay_ms} ms each way: {e}")))
}

/// Plays with 100 ms there and back, and with 100 ms each way.
pub fn check(seed: u64) -> Result<(), Failed> {
    play(seed, 50)?;
    play(seed, 100)
}
