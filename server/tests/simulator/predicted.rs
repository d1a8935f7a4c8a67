//! Prediction: how far what players predict of themselves is from what the server then says.

use std::cell::RefCell;

use ringfort::client::{Correction, Delay, Fix, Playing, Settings};
use ringfort::game::Played;
use ringfort::prelude::*;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Committed, Failed, Plan, Random, Script, Simulation, Weather};
use ringfort::skirmish::{Ask, Body, Cmd, Ev, Skirmish, drive};
use ringfort_client::Session;

/// Upper ends of the histogram's classes, in units of the game.
const CLASSES: [f32; 7] = [0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0];

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

    fn act(&mut self, who: usize, _: &Playing<Skirmish>, _: &Session<Played<Skirmish>>, random: &mut Random) -> (Cmd, Vec<Ev>) {
        if self.wishes.len() <= who {
            self.wishes.resize(who + 1, Vec2::ZERO);
        }
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

    fn committed(&mut self, _: &Committed, _: &[(u64, u32)], _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
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
        options: Default::default(),
        carrier: Carrier::Plain,
        weather: Weather { loss: 0.02, doubled: 0.01, delay_us: delay_ms * 1_000, jitter_us: 8_000, damaged: 0.0 },
        chaos: Chaos::default(),
    };
    let mut simulation = Simulation::<Skirmish, _>::new(plan, Runners::default())?;
    simulation.run()?;
    let Corrections { classes, repeated, longest } = CORRECTIONS.take();
    let inputs = simulation.script.inputs;
    println!(
        "Prediction, {delay_ms} ms each way, 2 % lost: {} corrections of {inputs} inputs, {repeated} as an input came late; the longest {longest:.2}",
        classes.iter().sum::<u64>()
    );
    let named: Vec<String> = CLASSES.iter().zip(classes).map(|(end, n)| format!("up to {end}: {n}")).collect();
    println!("  {}, over 4: {}", named.join(", "), classes[CLASSES.len()]);
    if inputs < 10_000 {
        return Err(Failed(format!("only {inputs} inputs were given")));
    }
    if classes[CLASSES.len()] > 0 {
        return Err(Failed(format!("{} corrections over 4 units, the longest {longest}", classes[CLASSES.len()])));
    }
    Ok(())
}

/// Plays with 100 ms there and back, and with 100 ms each way.
pub fn check(seed: u64) -> Result<(), Failed> {
    play(seed, 50)?;
    play(seed, 100)
}
