//! A whole client of the bundled game: joins a running server, walks in circles and shoots, and says once a second what it
//! sees. `cargo run -p ringfort-loadtest --example play -- quic://127.0.0.1:7777 ada`

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use ringfort::skirmish::{Cmd, Ev, Skirmish};
use ringfort_client::{Client, Error, Join, Status, Trust};
use ringfort_protocol::{Press, Vec2};

type Game = ringfort::game::Played<Skirmish>;

/// What has happened since the last line.
#[derive(Default)]
struct Seen {
    shots: u32,
    hits: u32,
    kills: u32,
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "quic://127.0.0.1:7777".to_owned());
    let name = args.next().unwrap_or_else(|| "ada".to_owned());

    let mut client = Client::<Game>::builder().name(&name).trust(Trust::Any).connect(&url)?;
    client.join(Join::Any);

    let mut heading: f32 = 0.0;
    let mut seen = Seen::default();
    let mut report = Instant::now() + Duration::from_secs(1);
    loop {
        let now = Instant::now();
        client.pump(now)?;
        let statuses: Vec<Status> = client.status().collect();
        for status in statuses {
            match status {
                Status::Connecting => println!("connecting to {url}"),
                Status::Joined { session, match_name, tick_hz } => println!("{session} in {match_name} at {tick_hz} Hz"),
                Status::Live => println!("live"),
                Status::Refused { code, reason } => return Err(Error::Refused { code, reason }),
                Status::MatchOver => client.join(Join::Any),
                Status::Ended(ended) => {
                    println!("{ended}");
                    return Ok(());
                }
            }
        }
        for _ in 0..client.due(now) {
            heading = (heading + 0.02) % std::f32::consts::TAU;
            // A press counts when the button goes down, so it has to come up in between.
            let fire = Press::down(((heading * 50.0) as u32).is_multiple_of(5));
            client.send(Cmd { wish: Vec2::from_angle(heading), aim: heading, fire });
        }
        for event in client.events() {
            match event.what {
                Ev::Shot { .. } => seen.shots += 1,
                Ev::Hurt { .. } => seen.hits += 1,
                Ev::Kill { .. } => seen.kills += 1,
                Ev::Over { winner } => println!("the match is over: {winner} has won"),
            }
        }
        if now >= report {
            report += Duration::from_secs(1);
            print_view(&client, &std::mem::take(&mut seen));
        }
        client.wait(Some(report))?;
    }
}

fn print_view(client: &Client<Game>, seen: &Seen) {
    let view = client.view();
    let players = view.each(Skirmish::BODY).count();
    print!("tick {:6}  {players} players", view.tick());
    if let Some(me) = view.mine() {
        match view.get(me, Skirmish::BODY) {
            Some(body) => print!("  me at {:6.1} {:6.1}", body.pos.x, body.pos.y),
            None => print!("  dead"),
        }
        if let Some(health) = view.get(me, Skirmish::HP) {
            print!("  {} hp", health.hp);
        }
        if let Some(score) = view.get(me, Skirmish::SCORE) {
            print!("  {} kills {} deaths", score.kills, score.deaths);
        }
    }
    print!("  {} shots {} hits {} kills", seen.shots, seen.hits, seen.kills);
    match client.net().rtt {
        Some(rtt) => println!("  rtt {:.1} ms", rtt.as_secs_f64() * 1e3),
        None => println!(),
    }
}
