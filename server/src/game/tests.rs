//! What a game can rely on between its functions, and what is refused before it runs.

use super::{Blobs, Description, DescriptionError, ZoneLimits};
use crate::prelude::*;
use crate::test_world::TestWorld;

#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
struct Seen {
    players: u32,
    steps: u32,
}

#[derive(Component, Clone, Copy)]
struct Wide(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64);

#[derive(Input, Clone, Copy, Default)]
struct Nothing {
    press: Press,
}

#[derive(Message, Clone, Copy, Debug)]
enum Do {
    Count,
    Swap,
    SeatOf { session: SessionId },
}

#[derive(Message, Clone, Copy, Debug)]
enum Go {
    To { x: f32 },
}

#[derive(Timer, Clone, Copy)]
enum Later {
    Ring,
}

#[derive(State)]
struct Rules {
    one: Seats<Seen>,
    other: Seats<Seen>,
    seen: Global<Seen>,
}

impl Game for Rules {
    const HZ: u32 = 20;
    type Input = Nothing;
    type Command = Do;
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        self.seen.players += t.players().count() as u32;
        assert!(self.one.insert(who, Seen::default()));
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        self.one.remove(who);
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, command: &Do) {
        match command {
            Do::Count => self.seen.players += t.players().count() as u32,
            Do::Swap => std::mem::swap(&mut self.one, &mut self.other),
            Do::SeatOf { session } => {
                assert!(!self.one.insert(*session, Seen { players: 9, steps: 9 }), "its place is another's");
                assert_eq!(self.one[who], Seen::default());
            }
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        self.seen.steps += t.players().count() as u32;
    }
}

#[test]
fn commands_and_joins_see_no_players_of_another_tick() {
    for restarts in [false, true] {
        let mut world = TestWorld::<Rules>::new();
        let ada = world.join("ada");
        for _ in 0..5 {
            world.command(ada, Do::Count);
            world.join("bob");
            world.step();
            if restarts {
                world.restart();
            }
        }
        assert_eq!(world.state().seen.players, 0, "restarts: {restarts}");
        assert!(world.state().seen.steps > 0);
    }
}

#[test]
fn a_session_that_has_gone_takes_no_seat_of_another() {
    let mut world = TestWorld::<Rules>::new();
    let ada = world.join("ada");
    world.leave(ada);
    world.steps(3);
    let bob = world.join("bob");
    assert_eq!(bob.slot(), ada.slot(), "he has her place");
    world.command(bob, Do::SeatOf { session: ada });
    world.steps(2);
}

#[test]
#[should_panic(expected = "two seats of the state were swapped")]
fn swapped_seats_are_noticed() {
    let mut world = TestWorld::<Rules>::new();
    let ada = world.join("ada");
    world.command(ada, Do::Swap);
    world.step();
}

macro_rules! refused {
    ($state:ident, $command:ty, $timer:ty, { $($field:tt)* }) => {{
        #[derive(State)]
        struct $state {
            $($field)*
        }
        impl Game for $state {
            const HZ: u32 = 20;
            type Input = Nothing;
            type Command = $command;
            type Event = ();
            type Timer = $timer;
            fn open(&mut self, _t: &Tick<Self>) {}
            fn join(&mut self, _t: &Tick<Self>, _who: SessionId, _hello: &Hello<'_>) {}
            fn leave(&mut self, _t: &Tick<Self>, _who: SessionId, _why: Why) {}
            fn step(&mut self, _t: &Tick<Self>) {}
        }
        Description::of::<$state>(ZoneLimits::of::<$state>(8)).err()
    }};
}

#[test]
fn a_game_that_cannot_be_right_is_refused_in_one_sentence() {
    let timers = refused!(Timed, (), (), { rings: Timers<Later>, });
    assert!(matches!(timers, Some(DescriptionError::Timers { field: "rings" })), "{timers:?}");
    let command = refused!(Floating, Go, (), { seen: Global<Seen>, });
    assert!(matches!(&command, Some(DescriptionError::Nan { command }) if command == "To"), "{command:?}");
    let wide = refused!(Blobby, (), (), {
        ents: Entities,
        #[sync(all)] #[max(250)] a: Blobs<[u8]>,
        #[sync(all)] #[max(250)] b: Blobs<[u8]>,
        #[sync(all)] #[max(250)] c: Blobs<[u8]>,
        #[sync(all)] #[max(250)] d: Blobs<[u8]>,
        #[sync(all)] #[max(250)] e: Blobs<[u8]>,
    });
    assert!(matches!(wide, Some(DescriptionError::TooWide { what: "columns of an entity", bytes: 1257 })), "{wide:?}");
    let globals = refused!(Worldly, (), (), {
        #[sync(all)] a: Global<Wide>,
        #[sync(all)] b: Global<Wide>,
        #[sync(all)] c: Global<Wide>,
        #[sync(all)] d: Global<Wide>,
        #[sync(all)] e: Global<Wide>,
        #[sync(all)] f: Global<Wide>,
        #[sync(all)] g: Global<Wide>,
        #[sync(all)] h: Global<Wide>,
        #[sync(all)] i: Global<Wide>,
    });
    assert!(matches!(globals, Some(DescriptionError::TooWide { what: "globals", .. })), "{globals:?}");
    let hidden = refused!(Hidden, (), Later, {
        ents: Entities,
        rings: Timers<Later>,
        #[max(4000)] a: Blobs<[u8]>,
        #[sync(all)] #[max(250)] b: Blobs<[u8]>,
    });
    assert!(hidden.is_none(), "what is not sent may be as large as a page: {hidden:?}");
}

#[test]
fn a_turn_on_the_spot_is_no_jump() {
    use ringfort_protocol::Component as _;
    let body = |x, vel| crate::skirmish::Body { pos: Vec2::new(x, 0.0), vel: Vec2::new(vel, 0.0), aim: 0.0 };
    assert_eq!(body(0.0, 8.0).distance(&body(0.5, -8.0)), 0.5);
}
