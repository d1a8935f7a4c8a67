//! A whole game: everybody is a dot that moves, and whoever touches the coin gets a point.

use ringfort::prelude::*;

#[derive(Component, Clone, Copy)]
struct Dot {
    #[q(range = -50.0..=50.0, step = 0.05)] // 2 x 11 bits on the wire, and quantised so in the world
    pos: Vec2,
}

#[derive(Component, Clone, Copy)]
struct Points {
    points: u16,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    dot: Entity,
}

#[derive(State)] // its fields are the columns of the world: nothing else is registered
struct Dots {
    ents: Entities,
    #[sync(near = 30.0)] // sent to players within 30 metres
    dots: Column<Dot>,
    #[sync(all)]
    points: Column<Points>,
    #[sync(all)]
    coin: Global<Dot>,
    seats: Seats<Seat>, // no #[sync]: never leaves the server
}

#[derive(Input, Clone, Copy, Default)]
struct Stick {
    #[q(range = -1.0..=1.0, step = 0.0625)]
    to: Vec2,
}

#[derive(Message, Clone, Copy)]
enum News {
    #[reliable] // kept until every player has acknowledged it, over restarts of the sim too
    Scored { by: Entity },
}

impl Game for Dots {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 64;
    type Input = Stick;
    type Command = ();
    type Event = News;
    type Timer = ();

    fn open(&mut self, t: &Tick<Self>) {
        self.coin.pos = t.rng(Entity::NONE).point(40.0);
    }

    fn join(&mut self, _t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let dot = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { dot });
        self.dots.insert(dot, Dot { pos: Vec2::ZERO });
        self.points.insert(dot, Points { points: 0 });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.dot);
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players() {
            let me = self.seats[p.session].dot;
            let dot = &mut self.dots[me];
            dot.pos = (dot.pos + p.input.to.clamp_len(1.0) * (5.0 * t.dt())).clamp_box(50.0);
            if (dot.pos - self.coin.pos).length() < 1.0 {
                self.coin.pos = t.rng(me).point(40.0);
                self.points[me].points += 1;
                t.send(To::All, News::Scored { by: me });
            }
        }
    }
}

fn main() -> std::process::ExitCode {
    ringfort::main::<Dots>()
}
