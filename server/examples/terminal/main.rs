//! A terminal client of the bundled game.
//!
//! `cargo run -p ringfort --example terminal -- --name ada quic://127.0.0.1:7777`; `--bot` plays by itself, `--frames N` ends by itself. Without a
//! terminal nothing is drawn but the last frame, so that a script can look at it.

#![forbid(unsafe_code)]

mod arena;
mod arguments;
mod kept;
mod player;
mod screen;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ringfort::client::{Client, Delay, Ended, Error, Fix, Status, Sure};
use ringfort::skirmish::{Ask, Ev, Skirmish, drive};

use arena::Scene;
use arguments::Arguments;
use kept::Kept;
use player::Player;
use screen::Screen;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(33);

/// Whatever ends it, in one sentence.
type Failure = Box<dyn std::error::Error>;

/// How it has ended.
struct Outcome {
    words: String,
    /// The last frame.
    shown: Screen,
    /// The player wanted it so; else the server did.
    wanted: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let terminal = stdout().is_terminal();
    match with_terminal(terminal, || play(&arguments, terminal)) {
        Ok(Outcome { words, shown, wanted: true }) => {
            if terminal {
                println!("{words}")
            } else {
                print!("{shown}")
            }
            ExitCode::SUCCESS
        }
        Ok(Outcome { words, .. }) => {
            eprintln!("{words}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the terminal back as it was, whatever happens: after a panic too, and before it is told.
fn with_terminal<T>(terminal: bool, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    if !terminal {
        return run();
    }
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // What cannot be given back is lost in any case.
        let _ = give_back();
        tell(panic);
    }));
    enable_raw_mode()?;
    let result =
        execute!(stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All)).map_err(Failure::from).and_then(|()| run());
    give_back()?;
    result
}

fn give_back() -> std::io::Result<()> {
    execute!(stdout(), Show, LeaveAlternateScreen)?;
    disable_raw_mode()
}

/// Plays until the player quits, the frames are drawn, or the session ends.
fn play(arguments: &Arguments, terminal: bool) -> Result<Outcome, Failure> {
    let builder = Client::<Skirmish>::builder()
        .name(&arguments.name)
        .trust(arguments.trust()?)
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
    let kept = Kept::new(arguments.resume.clone());
    let token = kept.token()?;
    let resumes = token.is_some();
    let builder = match token {
        Some(token) => builder.resume(token),
        None => builder,
    };
    let connected = builder.connect(&arguments.url);
    if let Err(Error::Connection(ringfort_client::Error::Ended(Ended::NotResumed { .. }))) = &connected {
        // The next start joins anew.
        kept.forget();
    }
    let mut client = connected?;
    let ask = |client: &mut Client<Skirmish>| {
        if arguments.watch { client.spectate(arguments.target()) } else { client.join(arguments.target()) }
    };
    if !resumes {
        ask(&mut client);
    }
    let (mut scene, mut player, mut shown) = (Scene::new(), Player::new(arguments.bot), Screen::blank());
    let (mut frames, mut next_frame) = (0, Instant::now());
    loop {
        client.pump(Instant::now());
        let statuses: Vec<_> = client.status().collect();
        for status in statuses {
            scene.step(&status);
            match status {
                Status::Joined { resume, .. } | Status::Resumed { resume, .. } => kept.keep(resume)?,
                Status::MatchOver => {
                    kept.forget();
                    ask(&mut client);
                }
                Status::Refused { .. } | Status::Ended(_) => {
                    kept.forget();
                    return Ok(Outcome { words: scene.banner.clone(), shown, wanted: false });
                }
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
            kept.forget();
            client.leave()?;
            return Ok(Outcome { words: "you have left".to_owned(), shown, wanted: true });
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
