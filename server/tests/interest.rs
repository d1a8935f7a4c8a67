//! What `docs/interest.md` shows, as a game: teams, fog of war and spectators.

use ringfort::prelude::*;
use ringfort::test::TestWorld;

#[derive(Component, Clone, Copy, PartialEq, Debug)]
struct Body {
    #[q(range = -500.0..=500.0, step = 0.1)]
    pos: Vec2,
}

#[derive(Component, Clone, Copy)]
struct Team {
    number: u32,
}

#[derive(Component, Clone, Copy)]
struct Seat {
    unit: Entity,
}

#[derive(State)]
struct Skirmishers {
    ents: Entities,
    #[sync(all)]
    body: Column<Body>,
    #[sync(all)]
    team: Column<Team>,
    #[index(body.pos, cell = 16.0)]
    grid: Grid,
    seats: Seats<Seat>,
}

#[derive(Input, Clone, Copy, Default)]
struct Go {
    #[q(range = -500.0..=500.0, step = 0.1)]
    to: Vec2,
}

#[derive(Message, Clone, Copy)]
enum Ask {
    Ping,
    Zoom,
}

impl Game for Skirmishers {
    const HZ: u32 = 20;
    const CAPACITY: u32 = 8;
    const INTEREST: Interest = Interest::within(100.0).at_most(16);
    type Input = Go;
    type Command = Ask;
    type Event = ();
    type Timer = ();

    fn open(&mut self, _t: &Tick<Self>) {}

    fn join(&mut self, t: &Tick<Self>, who: SessionId, hello: &Hello<'_>) {
        let number = u32::from(hello.name.starts_with("red"));
        let unit = self.ents.spawn_for(who);
        self.body.insert(unit, Body { pos: Vec2::ZERO });
        self.team.insert(unit, Team { number });
        self.seats.insert(who, Seat { unit });
        t.sees(who, Groups::only(number));
    }

    fn spectate(&mut self, t: &Tick<Self>, who: SessionId, _hello: &Hello<'_>) {
        if let Some((star, _)) = self.body.iter().next() {
            t.follow(who, star);
        }
        t.reach(who, 300.0);
    }

    fn leave(&mut self, _t: &Tick<Self>, who: SessionId, _why: Why) {
        if let Some(seat) = self.seats.remove(who) {
            self.ents.despawn(seat.unit);
        }
    }

    fn command(&mut self, t: &Tick<Self>, who: SessionId, ask: &Ask) {
        let unit = self.seats[who].unit;
        match ask {
            // A mark on the map that only its own team is told of.
            Ask::Ping => {
                let mark = self.ents.spawn();
                self.body.insert(mark, self.body[unit]);
                t.show(mark, Groups::only(self.team[unit].number));
            }
            Ask::Zoom => t.reach(who, 250.0),
        }
    }

    fn step(&mut self, t: &Tick<Self>) {
        for p in t.players() {
            let unit = self.seats[p.session].unit;
            self.body[unit].pos = p.input.to;
        }
        // Fog of war: a unit is told to its own team, and to the other one while one of them is near.
        for (e, team) in self.team.iter() {
            let enemy = 1 - team.number;
            let mut near = self.grid.near(self.body[e].pos, 30.0);
            let is_seen = near.any(|other| self.team.get(other).is_some_and(|of| of.number == enemy));
            let groups = Groups::only(team.number);
            t.show(e, if is_seen { groups | Groups::only(enemy) } else { groups });
        }
    }
}

fn world() -> TestWorld<Skirmishers> {
    TestWorld::<Skirmishers>::new().spectators(2)
}

fn unit(world: &TestWorld<Skirmishers>, who: SessionId) -> Entity {
    world.state().seats[who].unit
}

fn go(world: &mut TestWorld<Skirmishers>, who: SessionId, x: f32) {
    world.input(who, Go { to: Vec2::new(x, 0.0) });
}

#[test]
fn what_is_shown_to_a_team_reaches_no_other() {
    let mut world = world();
    let (ada, bob, eve) = (world.join("red ada"), world.join("red bob"), world.join("blue eve"));
    world.command(ada, Ask::Ping);
    world.step();
    let mark = world.state().body.iter().map(|(e, _)| e).find(|e| world.state().team.get(*e).is_none()).unwrap();
    assert_eq!([ada, bob, eve].map(|who| world.sees(who, mark)), [true, true, false]);
    assert!(world.sees(ada, unit(&world, bob)) && world.sees(eve, unit(&world, eve)));
    world.restart();
    world.step();
    assert!(!world.sees(eve, mark), "it is part of the committed world");
}

#[test]
fn an_enemy_is_seen_while_one_of_the_team_is_near() {
    let mut world = world();
    let (scout, tower, enemy) = (world.join("red scout"), world.join("red tower"), world.join("blue"));
    let [of_scout, of_enemy] = [scout, enemy].map(|who| unit(&world, who));
    let at = |scout_x: f32, world: &mut TestWorld<Skirmishers>| {
        go(world, scout, scout_x);
        go(world, tower, -60.0);
        go(world, enemy, 30.0);
        world.steps(3);
        [world.sees(scout, of_enemy), world.sees(tower, of_enemy), world.sees(enemy, of_scout)]
    };
    assert_eq!(at(-50.0, &mut world), [false, false, false]);
    assert_eq!(at(10.0, &mut world), [true, true, true], "the tower sees by the scout");
    assert_eq!(at(-50.0, &mut world), [false, false, false]);
}

#[test]
fn a_spectator_sees_as_far_as_it_may_and_a_player_with_a_scope_too() {
    let mut world = world();
    let (star, far) = (world.join("red star"), world.join("red far"));
    go(&mut world, star, 0.0);
    go(&mut world, far, 200.0);
    world.steps(2);
    let of_far = unit(&world, far);
    let watcher = world.spectate("watcher");
    assert!(world.sees(watcher, of_far) && world.sees(watcher, unit(&world, star)));
    assert!(!world.sees(star, of_far), "200 m are beyond the game's distance");
    world.command(star, Ask::Zoom);
    world.step();
    assert!(world.sees(star, of_far));
}
