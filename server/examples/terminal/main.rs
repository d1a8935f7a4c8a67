//! A terminal client of the bundled game.
//!
//! `cargo run -p ringfort --example terminal -- --name ada quic://127.0.0.1:7777`; `--bot` plays by itself, `--frames N` ends by itself. Without a
//! terminal nothing is drawn but the last frame, so that a script can look at it.

#![forbid(unsafe_code)]

mod arena;
mod player;
mod screen;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ringfort::client::{Client, Delay, Error, Fix, Join, Status, Sure, Trust};
use ringfort::skirmish::{Ask, Ev, Skirmish, drive};

use arena::Scene;
use player::Player;
use screen::Screen;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(33);

/// Plays the bundled game in a terminal of 80 by 24 characters.
#[derive(Parser)]
struct Arguments {
    /// The server.
    #[arg(default_value = "quic://127.0.0.1:7777")]
    url: String,
    /// The player's name, for a server that believes any.
    #[arg(long, default_value = "ada")]
    name: String,
    /// The token that says who the player is, for a server that demands one.
    #[arg(long)]
    token: Option<String>,
    /// The match; any unless this is said.
    #[arg(long, value_name = "NAME")]
    r#match: Option<String>,
    /// Plays by itself.
    #[arg(long)]
    bot: bool,
    /// Ends after so many frames.
    #[arg(long)]
    frames: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = stdout().is_terminal();
    let ended = with_terminal(terminal, || play(&arguments, terminal));
    match ended {
        Ok(last) if terminal => println!("{}", last.0),
        Ok(last) => print!("{}", last.1),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Gives the terminal back as it was, whatever happens.
fn with_terminal<T>(terminal: bool, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    if terminal {
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All))?;
    }
    let result = run();
    if terminal {
        execute!(stdout(), Show, LeaveAlternateScreen)?;
        disable_raw_mode()?;
    }
    result
}

/// Plays until the player quits, the frames are drawn, or the session ends. Returns the last words and the last frame.
fn play(arguments: &Arguments, terminal: bool) -> Result<(String, Screen), Error> {
    let builder = Client::<Skirmish>::builder()
        .name(&arguments.name)
        .trust(Trust::Any)
        .interpolate(Delay::Auto)
        .predict(|s| &s.body, drive)
        .on_correction(
            |s| &s.body,
            |k| {
                let far = (k.server.pos - k.predicted.pos).length() > 4.0;
                if far { Fix::Snap } else { Fix::Blend(Duration::from_millis(80)) }
            },
        );
    let builder = match &arguments.token {
        Some(token) => builder.token(token),
        None => builder,
    };
    let mut client = builder.connect(&arguments.url)?;
    let target = || arguments.r#match.as_deref().map_or(Join::Any, Join::Named);
    client.join(target());
    let (mut scene, mut player, mut shown) = (Scene::new(), Player::new(arguments.bot), Screen::blank());
    let (mut frames, mut next_frame) = (0, Instant::now());
    loop {
        client.pump(Instant::now());
        for status in client.status() {
            scene.step(&status);
            match status {
                Status::MatchOver => client.join(target()),
                Status::Refused { .. } | Status::Ended(_) => return Ok((scene.banner.clone(), shown)),
                _ => {}
            }
        }
        if terminal {
            player.keys()?;
        }
        give_inputs(&mut client, &mut player);
        hear(&mut client, &mut scene);
        if Instant::now() >= next_frame {
            next_frame = (next_frame + FRAME).max(Instant::now());
            let screen = scene.draw(client.view(), client.me(), &client.net());
            if terminal {
                screen.show(&shown, &mut stdout())?;
            }
            shown = screen;
            frames += 1;
        }
        if player.quit || arguments.frames.is_some_and(|most| frames >= most) {
            client.leave()?;
            return Ok(("you have left".to_owned(), shown));
        }
        client.wait(Some(next_frame))?;
    }
}

/// One input for each slot that is due, and the shot at once that the server is expected to see.
fn give_inputs(client: &mut Client<Skirmish>, player: &mut Player) {
    let view = client.view();
    let own = view.owned(client.me()).and_then(|me| Some((me, view.get(me, |s| &s.body)?)));
    let loaded = own.and_then(|(me, _)| view.get(me, |s| &s.gun)).is_some_and(|gun| gun.ammo > 0);
    let way = player::look(view, own);
    for slot in client.due() {
        let cmd = player.input(way);
        if let (true, true, Some((by, body))) = (cmd.fire.pressed(), loaded, own) {
            slot.predict(Ev::Shot { by, at: body.pos, aim: cmd.aim });
        }
        slot.send(cmd);
    }
    if std::mem::take(&mut player.die) {
        // A command too many is refused; the player will press the key again.
        let _ = client.command(&Ask::Suicide);
    }
}

fn hear(client: &mut Client<Skirmish>, scene: &mut Scene) {
    for event in client.events() {
        let view = client.view();
        let name = |entity| view.latest().name.get(entity).unwrap_or("somebody").to_owned();
        match (event.what, event.sure) {
            (Ev::Shot { at, aim, .. }, Sure::Predicted | Sure::Confirmed) => scene.shot(at, aim),
            (Ev::Shot { .. }, Sure::Cancelled) => {}
            (Ev::Hurt { victim, dmg }, _) => scene.news = format!("you hit {} for {dmg}", name(victim)),
            (Ev::Kill { by, victim }, _) => scene.news = format!("{} killed {}", name(by), name(victim)),
            (Ev::Over { winner }, _) => scene.news = format!("{} has won", name(winner)),
        }
    }
}
