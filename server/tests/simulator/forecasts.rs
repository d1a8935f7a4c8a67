//! Predicted events: each that a player saw ahead of the server is taken back if the server did not send it, and only then; none is
//! seen twice.

use std::collections::BTreeMap;

use ringfort::client::{Delay, Event, Playing, Settings, Sure};
use ringfort::game::{Arrival, Played};
use ringfort::prelude::*;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Committed, Failed, Newly, Oracle, Plan, Random, Script, Simulation, Weather};
use ringfort_client::Session;

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Drum {
    beats: u16,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    drum: Entity,
}

#[derive(State)]
struct Band {
    ents: Entities,
    #[sync(all)]
    drum: Column<Drum>,
    seats: Seats<Seat>,
    timers: Timers<Never>,
}

#[derive(Input, Clone, Copy, Default)]
struct Cmd {
    serial: u16,
    /// Bit 0 asks for a beat, bit 1 for a bell.
    asks: u8,
}

#[derive(Message, Clone, Copy, PartialEq, Debug)]
enum Ev {
    Applause,
    #[predicted]
    Beat {
        by: Entity,
        serial: u16,
    },
    #[predicted]
    Bell {
        by: Entity,
        serial: u16,
    },
}

#[derive(Timer, Clone, Copy)]
enum Never {
    Comes,
}

/// What the server allows; no player knows it before.
fn is_granted(serial: u16, kind: usize) -> bool {
    Random::new(u64::from(serial) << 2 | kind as u64).next_u64() >> 60 < 9
}

impl Game for Band {
    const HZ: u32 = 60;
    type Input = Cmd;
    type Command = ();
    type Event = Ev;
    type Timer = Never;

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let drum = self.ents.spawn_for(who);
        self.drum.insert(drum, Drum { beats: 0 });
        self.seats.insert(who, Seat { drum });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.drum);
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        if t.now().0.is_multiple_of(16) {
            t.send(To::All, Ev::Applause);
        }
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let (by, Cmd { serial, asks }) = (self.seats[p.session].drum, *p.input);
            if asks & 1 != 0 && is_granted(serial, 0) {
                self.drum[by].beats = self.drum[by].beats.wrapping_add(1);
                t.send(To::All, Ev::Beat { by, serial });
            }
            if asks & 2 != 0 && is_granted(serial, 1) {
                t.send(To::All, Ev::Bell { by, serial });
            }
        }
    }
}

/// What became of one event that a player asked for.
#[derive(Debug, Default)]
struct Asked {
    who: usize,
    predicted: bool,
    /// Whether the server sent one of its kind in the tick that applied the input; nothing until it was applied.
    sent: Option<bool>,
    /// Whether that tick applied other inputs of the player, too: the verdict is of them all, and does not tell whose event it is.
    shared: bool,
    /// How often its player saw it as predicted, was told that it was sent, and that it was not.
    seen: u32,
    confirmed: u32,
    cancelled: u32,
}

#[derive(Default)]
struct Drummers {
    serials: u16,
    given: Vec<Cmd>,
    /// By session and sequence.
    inputs: BTreeMap<(u64, u32), Cmd>,
    /// By serial and kind.
    asked: BTreeMap<(u16, usize), Asked>,
}

impl Script<Band> for Drummers {
    fn input(&mut self, _: usize, _: &Session<Played<Band>>, _: u32, _: &mut Random) -> Cmd {
        Cmd::default()
    }

    fn settings(&self) -> Option<Settings<Band>> {
        let mut settings = Settings::<Band>::new();
        settings.interpolate(Delay::Auto);
        Some(settings)
    }

    fn act(&mut self, who: usize, playing: &Playing<Band>, _: &Session<Played<Band>>, random: &mut Random) -> (Cmd, Vec<Ev>) {
        self.given.resize(self.given.len().max(who + 1), Cmd::default());
        self.given[who] = Cmd::default();
        let view = playing.view();
        let Some(by) = view.owned(playing.me()) else { return (Cmd::default(), Vec::new()) };
        self.serials += 1;
        let asks = u8::from(random.chance(0.15)) | u8::from(random.chance(0.15)) << 1;
        let (cmd, mut predicted) = (Cmd { serial: self.serials, asks }, Vec::new());
        for kind in (0..2).filter(|kind| asks >> kind & 1 == 1) {
            let asked = self.asked.entry((cmd.serial, kind)).or_default();
            (asked.who, asked.predicted) = (who, random.chance(0.8));
            if asked.predicted {
                predicted.push(if kind == 0 { Ev::Beat { by, serial: cmd.serial } } else { Ev::Bell { by, serial: cmd.serial } });
            }
        }
        self.given[who] = cmd;
        (cmd, predicted)
    }

    fn sent(&mut self, who: usize, session: u64, sequence: u32) {
        self.inputs.insert((session, sequence), self.given[who]);
    }

    fn heard(&mut self, who: usize, event: &Event<Ev>, _: &Oracle) -> Result<(), Failed> {
        let (serial, kind) = match event.what {
            Ev::Applause => return Ok(()),
            Ev::Beat { serial, .. } => (serial, 0),
            Ev::Bell { serial, .. } => (serial, 1),
        };
        let Some(asked) = self.asked.get_mut(&(serial, kind)) else {
            return Err(Failed(format!("nobody asked for {:?}", event.what)));
        };
        let own = asked.who == who;
        match event.sure {
            Sure::Predicted => asked.seen += 1,
            Sure::Cancelled => asked.cancelled += 1,
            Sure::Confirmed if own => asked.confirmed += 1,
            Sure::Confirmed => {}
        }
        if own || event.sure == Sure::Confirmed { Ok(()) } else { Err(Failed(format!("{event:?} of somebody else's"))) }
    }

    fn committed(&mut self, _: &Committed, newly: &Newly, _: &dyn Fn(u64) -> bool) -> Result<(), Failed> {
        let applied = &newly.applied;
        for (session, sequence) in applied {
            let Some(cmd) = self.inputs.get(&(*session, *sequence)) else { continue };
            // Two inputs of one tick share its verdict.
            let together = applied.iter().filter(|(other, _)| other == session).filter_map(|key| self.inputs.get(key));
            for kind in 0..2 {
                let sends = |cmd: &Cmd| cmd.asks >> kind & 1 == 1 && is_granted(cmd.serial, kind);
                let sent = together.clone().any(sends);
                if let Some(asked) = self.asked.get_mut(&(cmd.serial, kind)) {
                    (asked.sent, asked.shared) = (Some(sent), together.clone().count() > 1);
                }
            }
        }
        Ok(())
    }

    fn settled(&mut self, _: &Committed, _: u64, _: u32) -> Result<(), Failed> {
        Ok(())
    }
}

impl Drummers {
    /// Holds what players saw against what the server did; returns how many events were confirmed, and how many taken back.
    fn judge(&self) -> Result<(u64, u64), Failed> {
        let (mut confirmed, mut cancelled) = (0, 0);
        for ((serial, kind), asked) in &self.asked {
            let predicted = u32::from(asked.predicted);
            let refused = u32::from(asked.predicted && asked.sent != Some(true));
            // Its own copy of what was predicted does not come again, and of what was not it comes once, or is lost.
            let right =
                asked.seen == predicted && asked.cancelled == refused && (asked.shared || asked.confirmed <= 1 - predicted);
            if !right || asked.confirmed > 1 {
                return Err(Failed(format!("event {kind} of input {serial}: {asked:?}")));
            }
            confirmed += u64::from(predicted - refused);
            cancelled += u64::from(refused);
        }
        Ok((confirmed, cancelled))
    }
}

/// Plays with so much delay each way and packets lost.
pub fn check(seed: u64) -> Result<(), Failed> {
    for (delay_us, loss) in [(20_000, 0.0), (60_000, 0.02), (100_000, 0.1)] {
        let plan = Plan {
            seed,
            ticks: 1_200,
            clients: 6,
            frontends: 2,
            tick_hz: 60,
            capacity: 8,
            budget: MAX_SNAPSHOT_BYTES,
            rewind_ms: 400,
            interest: Default::default(),
            options: Default::default(),
            carrier: Carrier::Plain,
            weather: Weather { loss, doubled: 0.02, delay_us, jitter_us: 8_000, damaged: 0.0 },
            chaos: Chaos::default(),
        };
        let mut simulation = Simulation::<Band, _>::new(plan, Drummers::default())?;
        simulation.run()?;
        let (confirmed, cancelled) = simulation.script.judge()?;
        println!(
            "Predicted events, {} ms each way, {:.0} % lost: {confirmed} confirmed, {cancelled} taken back, none twice",
            delay_us / 1_000,
            loss * 100.0
        );
        if confirmed.min(cancelled) < 200 {
            return Err(Failed("too few predicted events to tell".to_owned()));
        }
    }
    Ok(())
}
