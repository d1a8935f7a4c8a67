//! `top` in a real terminal: a pseudo-terminal whose screen is kept as a terminal would show it.

use ringfort::skirmish::Cmd;
use ringfort_client::JoinTarget;
use ringfort_protocol::Vec2;
use ringfort_tests::terminal::Terminal;
use ringfort_tests::{Crowd, Instance, send_signal};
use rustix::process::Signal;

/// An instance in whose first match three play.
fn played() -> (Instance, Crowd) {
    let instance = Instance::start(&["--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    for name in ["ada", "bob", "cyd"] {
        let who = crowd.enter(name, JoinTarget::Named("match-1".to_owned()));
        crowd.player_mut(who).does = Cmd { wish: Vec2 { x: 0.5, y: 0.25 }, ..Cmd::default() };
    }
    (instance, crowd)
}

#[test]
fn top_shows_an_instance_and_drills_into_its_matches() {
    let (instance, mut crowd) = played();
    crowd.during(|| {
        let mut terminal = Terminal::start(&instance, &[]);
        terminal.until_shown(&["frontend 0", "sim 0", "match-1", "match-2", "3 sessions", "q:quit"]);
        terminal.press("/match-1\r");
        terminal.until("the other match is left out", |shown| shown.contains("1 of 2") && !shown.contains("match-2"));
        terminal.press("\r");
        terminal.until_shown(&["3/16 play", "entities (3)", "ada", "bob", "cyd", "body.pos", "us, log"]);
        terminal.press("/hp.hp > 0 and owner = bob\r");
        terminal.until("only bob's is left", |shown| shown.contains("entities (1 of 3)") && !shown.contains("ada"));
        terminal.press("\r");
        terminal.until_shown(&["entity ", "owner bob", "hp.hp", "body.aim", "score.kills"]);
        terminal.until("its position has changed", |shown| shown.lines().any(|line| line.starts_with("* body.pos")));
        terminal.press("m");
        terminal.until_shown(&["1 of 3 meet \"hp.hp > 0", "o: meets the filter", "of bob at"]);
        terminal.press("++\x1b[C");
        terminal.press("\x1b");
        terminal.until_shown(&["owner bob", "body.pos"]);
        // One at a time: what follows an escape at once would make another key of it.
        terminal.press("\x1b");
        terminal.until_shown(&["entities (1 of 3)"]);
        terminal.press("\t");
        terminal.until_shown(&["sessions (3)", "ada", "LAG"]);
        terminal.press("\r");
        terminal.until_shown(&["of match match-1", "attachment", "input wish", "0.5,0.25"]);
        terminal.resize(200, 60);
        terminal.press("\x1b");
        let wide = terminal.until_shown(&["sessions (3)", "events (", "globals (", "game.phase"]);
        assert!(wide.lines().any(|line| line.contains("ENTITY OWNER") && line.contains("PLAYER")), "side by side:\n{wide}");
        terminal.press("?");
        terminal.until_shown(&["any key goes back"]);
        terminal.press("q");
        terminal.until_shown(&["sessions (3)"]);
        assert!(terminal.is_taken());
        terminal.press("q");
        assert_eq!(terminal.ended(), Some(0));
    });
}

#[test]
fn top_shows_what_is_stopped_and_what_is_dead_and_what_was_saved() {
    let (mut instance, mut crowd) = played();
    let mut terminal = crowd.during(|| {
        let mut terminal = Terminal::start(&instance, &[]);
        terminal.until_shown(&["match-1", "3 sessions"]);
        terminal
    });
    for pid in instance.pids() {
        // `top` runs in the instance's directory, too.
        if pid != terminal.pid() {
            send_signal(pid, Signal::STOP);
        }
    }
    terminal.until_shown(&["! supervisor 0 (pid ", ") is stopped by a signal"]);
    terminal.press("\r");
    terminal.until_shown(&["entities (3)", "ada", "body.pos"]);
    terminal.press("\r");
    terminal.until_shown(&["entity ", "hp.hp", "100"]);
    // It kills all that it finds, `top` too; a second one looks at what is left.
    instance.kill();
    drop(terminal);
    let mut terminal = Terminal::start(&instance, &[]);
    terminal.until_shown(&["not running", "! no process of instance ", "match-1"]);
    terminal.press("\r");
    terminal.until_shown(&["entities (3)", "bob", "body.pos"]);
    instance.done(&["save", "dead.rf"]);
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
    let mut terminal = Terminal::start(&instance, &["--from", "dead.rf"]);
    terminal.until_shown(&["(saved)", "! no process of instance ", "match-1"]);
    terminal.press("\rm");
    terminal.until_shown(&["dots: 3 entities", "@"]);
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
}

#[test]
fn top_gives_the_terminal_back_when_it_is_stopped_or_ended() {
    let instance = Instance::start(&[]);
    let mut terminal = Terminal::start(&instance, &[]);
    terminal.until_shown(&["all is well"]);
    assert!(!terminal.is_given_back());
    send_signal(terminal.pid(), Signal::TSTP);
    terminal.until_given_back();
    send_signal(terminal.pid(), Signal::CONT);
    terminal.until_shown(&["all is well", "q:quit"]);
    assert!(!terminal.is_given_back());
    // As a terminal's own key.
    terminal.press("\x1a");
    terminal.until_given_back();
    send_signal(terminal.pid(), Signal::CONT);
    terminal.until_shown(&["all is well", "q:quit"]);
    send_signal(terminal.pid(), Signal::TERM);
    assert_eq!(terminal.ended(), Some(0));
}

#[test]
fn top_says_in_a_sentence_why_it_draws_nothing() {
    let instance = Instance::start(&[]);
    let refused = instance.run(&["top"]);
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty() && stderr.contains("`ringfort status --watch`"), "{stderr}");
    // A terminal that cannot move its cursor is told so, and nothing is drawn on it.
    let mut dumb = Terminal::start_as(&instance, &[], "dumb");
    assert_eq!(dumb.ended(), Some(1));
    dumb.until_shown(&["TERM=dumb", "`ringfort status --watch`"]);
    // Whom nobody has started is said before the screen is taken.
    let mut none = Terminal::start(&instance, &["--from", "there-is-no-such-file"]);
    assert_eq!(none.ended(), Some(1));
    none.until_shown(&["there-is-no-such-file"]);
}
