//! Test worlds of a small game that uses what the bundled one does not.

use super::TestWorld;
use crate::prelude::*;

#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Mark {
    /// Inputs applied.
    count: u32,
    /// Their sum.
    sum: u32,
    /// Answers that came.
    answers: u32,
    /// Answers that did not.
    failures: u32,
}

#[derive(Component, Clone, Copy)]
struct Place {
    #[q(range = -64.0..=64.0, step = 0.25)]
    pos: Vec2,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    avatar: Entity,
}

#[derive(State)]
struct Small {
    ents: Entities,
    #[sync(owner)]
    mark: Column<Mark>,
    #[sync(near = 10.0)]
    #[interp(lerp)]
    place: Column<Place>,
    seats: Seats<Seat>,
}

#[derive(Input, Clone, Copy, Default)]
struct Push {
    #[q(max = 1000)]
    value: u32,
    button: Press,
}

#[derive(Message, Clone, Copy, Debug, PartialEq)]
enum Tell {
    Pressed {
        by: Entity,
    },
    #[reliable]
    Near {
        n: u32,
    },
    #[reliable]
    Only {
        n: u32,
    },
    Seen {
        x: u32,
    },
}

#[derive(Message, Clone, Copy)]
enum Order {
    Ask,
    Close,
    Lock,
    Walk {
        #[q(range = -64.0..=64.0, step = 0.25)]
        to: Vec2,
    },
    Tell {
        n: u32,
    },
}

impl Game for Small {
    const HZ: u32 = 10;
    const CAPACITY: u32 = 3;
    const OPTIONS: &'static [OptionDoc] = &[OptionDoc::whole("start", "what counts begin with", 0, 10)];
    type Input = Push;
    type Command = Order;
    type Event = Tell;
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn admit(&self, _t: &Tick<Self>, hello: &Hello<'_>) -> Result<(), Refusal> {
        if hello.name == "eve" { Err("nobody likes eve".into()) } else { Ok(()) }
    }

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        let avatar = self.ents.spawn_for(who);
        self.seats.insert(who, Seat { avatar });
        self.mark.insert(avatar, Mark { count: t.option_or("start", 0), ..Mark::default() });
        self.place.insert(avatar, Place { pos: Vec2::ZERO });
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.avatar);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, order: &Order) {
        let me = self.seats[who].avatar;
        match order {
            Order::Ask => assert!(t.ask("profile", Some(who), "who is it?").is_ok()),
            Order::Lock => {
                t.lock();
                t.set_label("round 2");
            }
            Order::Close => assert!(t.close_with("done").is_ok()),
            Order::Walk { to } => self.place[me].pos = *to,
            Order::Tell { n } => {
                t.send(To::Near(self.place[me].pos, 10.0), Tell::Near { n: *n });
                t.send(To::One(who), Tell::Only { n: *n });
            }
        }
    }

    fn answer(&mut self, _t: &Tick<Self>, answer: &Answer<'_>) {
        let me = answer.about.map(|who| self.seats[who].avatar).expect("asked about somebody");
        match answer.body {
            Ok("ada") => self.mark[me].answers += 1,
            _ => self.mark[me].failures += 1,
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players().filter(|p| p.arrival == Arrival::OnTime) {
            let me = self.seats[p.session].avatar;
            let mark = &mut self.mark[me];
            mark.count += 1;
            mark.sum += p.input.value;
            if p.input.button.pressed() {
                t.send(To::Seeing(me), Tell::Pressed { by: me });
                let x = t.rewind(p.view).get(me, |w| &w.place).map_or(0.0, |place| place.pos.x);
                t.send(To::One(p.session), Tell::Seen { x: (x * 100.0) as u32 });
            }
        }
    }
}

fn mark(world: &TestWorld<Small>, who: SessionId) -> Mark {
    let state = world.state();
    state.mark[state.seats[who].avatar]
}

#[test]
fn each_input_counts_once_and_a_held_button_is_pressed_once() {
    let mut world = TestWorld::<Small>::new().option("start", 5);
    let ada = world.join("ada");
    for value in 1..=4 {
        world.input(ada, Push { value, button: Press::down(true) });
        world.step();
    }
    world.steps(3);
    assert_eq!((mark(&world, ada).count, mark(&world, ada).sum), (9, 10), "repeated inputs are told apart");
    let presses = world.events(ada).iter().filter(|event| matches!(event, Tell::Pressed { .. })).count();
    assert_eq!(presses, 1);
}

#[test]
fn a_player_whose_connection_was_lost_comes_back_to_what_it_was() {
    let mut world = TestWorld::<Small>::new().option("start", 5);
    let (ada, bob) = (world.join("ada"), world.join("bob"));
    world.input(ada, Push { value: 1, ..Push::default() });
    world.step();
    world.command(ada, Order::Tell { n: 7 });
    world.disconnect(ada);
    world.step();
    let lost = mark(&world, ada);
    world.steps(3);
    let (now, of) = (mark(&world, ada), world.events(ada));
    assert_eq!((now.sum, of), (lost.sum, vec![]), "nothing is repeated for it, and it hears nothing");
    world.resume(ada);
    world.restart();
    world.step();
    assert_eq!(world.events(ada), [Tell::Near { n: 7 }, Tell::Only { n: 7 }], "what is reliable was kept for it");
    world.input(ada, Push { value: 1, ..Push::default() });
    world.step();
    assert_eq!(mark(&world, ada).sum, lost.sum + 1);
    world.disconnect(ada);
    let grace = Small::GRACE_MS * Small::HZ / 1000;
    world.steps(grace + 1);
    assert_eq!(world.sessions(), [bob]);
}

#[test]
fn events_come_to_their_audience_and_once() {
    let mut world = TestWorld::<Small>::new();
    let (ada, bob, far) = (world.join("ada"), world.join("bob"), world.join("far"));
    world.command(far, Order::Walk { to: Vec2::new(50.0, 0.0) });
    world.step();
    world.command(ada, Order::Tell { n: 1 });
    world.input(bob, Push { value: 0, button: Press::down(true) });
    world.step();
    let by = world.state().seats[bob].avatar;
    assert_eq!(world.events(ada), [Tell::Pressed { by }, Tell::Near { n: 1 }, Tell::Only { n: 1 }]);
    assert_eq!(world.events(bob), [Tell::Pressed { by }, Tell::Seen { x: 0 }, Tell::Near { n: 1 }]);
    assert_eq!(world.events(far), []);
    world.steps(3);
    assert_eq!(world.events(ada), []);
}

#[test]
fn a_view_goes_back_to_what_was_seen() {
    let mut world = TestWorld::<Small>::new();
    let ada = world.join("ada");
    let before = world.tick();
    world.command(ada, Order::Walk { to: Vec2::new(8.0, 0.0) });
    world.step();
    let view = ViewTime { tick: before, next: world.tick(), alpha: 0.25 };
    world.input_seeing(ada, Push { value: 0, button: Press::down(true) }, view);
    world.step();
    assert!(world.events(ada).contains(&Tell::Seen { x: 200 }), "a quarter of the way from 0 to 8");
}

#[test]
fn more_than_the_capacity_is_refused_until_somebody_leaves() {
    let mut world = TestWorld::<Small>::new().capacity(1);
    let ada = world.join("ada");
    let refused = world.try_join("bob").unwrap_err();
    assert_eq!(refused.to_string(), "bob was not let in: the match is full, it has room for 1 players and 0 spectators");
    world.leave(ada);
    world.step();
    world.join("bob");
    assert_eq!(world.sessions().len(), 1);
}

#[test]
fn who_is_not_admitted_is_told_in_the_games_words() {
    let mut world = TestWorld::<Small>::new().spectators(1);
    assert_eq!(world.try_join("eve").unwrap_err().to_string(), "eve was not let in: nobody likes eve");
    let ada = world.join("ada");
    assert_eq!((world.locked(), world.label().as_str()), (false, ""));
    world.command(ada, Order::Lock);
    world.step();
    assert_eq!((world.locked(), world.label().as_str()), (true, "round 2"));
    assert_eq!(world.try_join("bob").unwrap_err().reason, "the match is locked");
    let watcher = world.spectate("bob");
    assert_eq!(world.sessions(), [ada, watcher]);
    assert!(world.state().seats.get(watcher).is_none(), "a spectator does not join");
}

#[test]
fn what_is_asked_outside_is_answered_by_the_test() {
    let mut world = TestWorld::<Small>::new();
    let ada = world.join("ada");
    world.command(ada, Order::Ask);
    world.command(ada, Order::Ask);
    world.step();
    let asked = world.asked();
    let said: Vec<_> = asked.iter().map(|ask| (ask.topic.as_str(), ask.about, ask.body.as_str())).collect();
    assert_eq!(said, [("profile", Some(ada), "who is it?"); 2]);
    world.answer(asked[0].id, Ok("ada"));
    world.answer(asked[1].id, Err("nobody knows"));
    world.restart();
    world.step();
    assert_eq!((mark(&world, ada).answers, mark(&world, ada).failures, world.asked().len()), (1, 1, 0));
    let mut world = TestWorld::<Small>::new().without_hook();
    let ada = world.join("ada");
    world.command(ada, Order::Ask);
    world.steps(2);
    assert_eq!(mark(&world, ada).failures, 1);
}

#[test]
fn a_match_that_has_closed_stays_as_it_is() {
    let mut world = TestWorld::<Small>::new();
    let ada = world.join("ada");
    world.command(ada, Order::Close);
    world.step();
    let tick = world.tick();
    world.steps(100);
    assert_eq!((world.closed(), world.result(), world.tick()), (true, Some("done"), tick));
    assert!(world.try_join("bob").is_err());
    assert_eq!(mark(&world, ada), Mark::default());
}

#[test]
fn a_state_lent_out_shows_the_last_commit_also_when_the_tick_looked_back() {
    let mut world = TestWorld::<Small>::new().hz(100).rewind_ms(10_000);
    let ada = world.join("ada");
    for tick in 0..100 {
        let x = (tick % 60) as f32;
        world.command(ada, Order::Walk { to: Vec2::new(x, 0.0) });
        let view = ViewTime::at(TickNo(world.tick().0.saturating_sub(31)));
        world.input_seeing(ada, Push { value: 0, button: Press::down(tick % 2 == 0) }, view);
        world.step();
        let state = world.state();
        assert_eq!(state.place[state.seats[ada].avatar].pos.x, x, "tick {tick}");
    }
}

#[test]
#[should_panic(expected = "capacity is 0; it must be a whole number from 1 to 10000")]
fn what_cannot_be_is_told_in_a_sentence() {
    drop(TestWorld::<Small>::new().capacity(0));
}

#[test]
#[should_panic(expected = "the game has no option \"colour\"; it has capacity, start")]
fn an_unknown_option_is_told_with_those_there_are() {
    drop(TestWorld::<Small>::new().option("colour", "red"));
}

#[test]
#[should_panic(expected = "had not come after 5 ticks, at tick 6")]
fn waiting_ends() {
    TestWorld::<Small>::new().steps_until(5, |_| false);
}

mod too_long {
    use super::*;

    #[derive(State)]
    struct Long {
        ents: Entities,
    }

    #[derive(Message, Clone, Copy)]
    enum Story {
        Told { a: u64, b: u64, c: u64, d: u64 },
    }

    impl Game for Long {
        const HZ: u32 = 10;
        type Input = Push;
        type Command = ();
        type Event = Story;
        type Timer = ();

        fn open(&mut self, t: &Tick<Self>) {
            t.send(To::All, Story::Told { a: 0, b: 0, c: 0, d: u64::from(self.ents.alive(Entity::NONE)) });
        }

        fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}

        fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}

        fn step(&mut self, _t: &Tick<Self>) {}
    }

    #[test]
    #[should_panic(expected = "the game's event Told takes 33 bytes on the wire, at most 32 fit")]
    fn an_event_that_does_not_fit_is_told_when_the_match_opens() {
        TestWorld::<Long>::new();
    }
}
