//! Tag: one player is it, and whom it touches is it next. After three minutes the one who was it for the shortest time wins.
#![cfg_attr(rustfmt, rustfmt_skip)] // laid out to be read on one page
use ringfort::prelude::*;

#[derive(Component, Clone, Copy)] struct Body { #[q(range = -32.0..=32.0, step = 0.01)] pos: Vec2 }
#[derive(Component, Clone, Copy, Default)] struct Score { ticks: u32 }
#[derive(Component, Clone, Copy)] struct Round { it: Entity, safe_until: TickNo }
#[derive(Component, Clone, Copy)] struct Seat { avatar: Entity }

#[derive(State)] // its fields are the world: nothing else is registered, and nothing else survives a restart
struct Tag {
    ents: Entities,
    #[sync(all)] #[predict(owner)] #[interp(lerp)] body: Column<Body>,
    #[sync(all, rate = 2)] score: Column<Score>,    // sent at most twice a second
    #[sync(all)] round: Global<Round>,
    #[index(body.pos, cell = 4.0)] places: Grid,    // kept by the engine, shows the last tick
    seats: Seats<Seat>,                             // no #[sync]: never leaves the server
    timers: Timers<Whistle>,
}
#[derive(Input, Clone, Copy, Default)] struct Run { #[q(range = -1.0..=1.0, step = 0.125)] to: Vec2 }
#[derive(Message, Clone, Copy, Debug, PartialEq)] enum News { Caught { who: Entity }, #[reliable] Won { by: Entity } }
#[derive(Timer, Clone, Copy)] enum Whistle { End }

impl Game for Tag {
    const HZ: u32 = 30; type Input = Run; type Command = (); type Event = News; type Timer = Whistle;

    fn open(&mut self, t: &Tick<Self>) { self.timers.at(t.now() + t.secs(180.0), Whistle::End); }
    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { avatar });
        self.body.insert(avatar, Body { pos: t.rng(avatar).point(30.0) });
        self.score.insert(avatar, Score::default());
        if !self.ents.alive(self.round.it) { self.round.it = avatar }
    }
    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        let Some(seat) = self.seats.remove(who) else { return };
        self.ents.despawn(seat.avatar);             // what is left of it is not found any more
        if self.round.it == seat.avatar { self.round.it = self.body.iter().next().map_or(Entity::NONE, |(e, _)| e) }
    }
    fn timer(&mut self, t: &Tick<Self>, _end: Whistle) {
        let best = self.score.iter().min_by_key(|(_, score)| score.ticks);
        if let Some((by, _)) = best { t.send(To::All, News::Won { by }) }
        t.close();                                  // its players are told, and the match ends
    }
    fn step(&mut self, t: &Tick<Self>) {
        let it = self.round.it;
        for p in t.players() {
            let me = self.seats[p.session].avatar;
            let (speed, body) = (if me == it { 6.0 } else { 5.0 }, &mut self.body[me]);
            body.pos = (body.pos + p.input.to.clamp_len(1.0) * (speed * t.dt())).clamp_box(32.0);
        }
        let Some(body) = self.body.get(it) else { return };     // nobody plays
        self.score[it].ticks += 1;
        if t.now() < self.round.safe_until { return }
        let Some(who) = self.places.near(body.pos, 1.0).find(|e| *e != it) else { return };
        *self.round = Round { it: who, safe_until: t.now() + t.secs(2.0) };
        t.send(To::All, News::Caught { who });
    }
}
fn main() -> std::process::ExitCode { ringfort::main::<Tag>() }

#[cfg(test)]
mod tests {
    use super::*;
    use ringfort::test::TestWorld;

    #[test]
    fn it_is_faster_and_whom_it_catches_is_it() {
        let mut world = TestWorld::<Tag>::new();
        let (ada, bob) = (world.join("ada"), world.join("bob"));
        let [hunter, prey] = [ada, bob].map(|who| world.state().seats[who].avatar);
        while world.state().round.it == hunter {
            let way = world.state().body[prey].pos - world.state().body[hunter].pos;
            world.input(ada, Run { to: way });
            world.input(bob, Run { to: Vec2::new(1.0, 0.0) });
            world.step();
        }
        assert_eq!(world.events(bob), [News::Caught { who: prey }]);
        world.leave(bob);
        world.step();
        assert_eq!(world.state().round.it, hunter, "somebody has to be it");
    }
    #[test]
    fn after_three_minutes_who_was_it_least_has_won() {
        let mut world = TestWorld::<Tag>::new();
        let (_ada, bob) = (world.join("ada"), world.join("bob"));
        world.steps(180 * 30);
        assert_eq!(world.events(bob), [News::Won { by: world.state().seats[bob].avatar }]);
        assert!(world.closed());
    }
}
