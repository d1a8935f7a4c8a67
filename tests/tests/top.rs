//! `top` in a real terminal: a pseudo-terminal whose screen is kept as a terminal would show it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Stdio};
use std::time::Instant;

use ringfort::skirmish::Cmd;
use ringfort_client::JoinTarget;
use ringfort_protocol::Vec2;
use ringfort_tests::{Crowd, Instance, LOOK_AGAIN, PATIENCE, send_signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// `top`, and the terminal that it runs in.
pub(crate) struct Terminal {
    top: Child,
    master: File,
    slave: File,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts `top` in a terminal of 80 x 24.
    pub(crate) fn start(instance: &Instance, arguments: &[&str]) -> Terminal {
        Terminal::start_as(instance, arguments, "xterm-256color")
    }

    /// The same in a terminal of this kind.
    fn start_as(instance: &Instance, arguments: &[&str], kind: &str) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a pseudo-terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
        let path = ptsname(&master, Vec::new()).expect("its other end has a name");
        let path = path.to_str().expect("a path of plain letters");
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), OFlags::NOCTTY.bits() as i32);
        let slave = options.open(path).expect("its other end opens");
        tcsetwinsize(&slave, size(80, 24)).expect("it has a size");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut top = instance.command(&[&["top", "--delay", "0.1"], arguments].concat());
        top.env("TERM", kind).env_remove("NO_COLOR").stdin(end()).stdout(end()).stderr(end());
        let top = top.spawn().expect("top starts");
        Terminal { top, master: File::from(master), slave, screen: vt100::Parser::new(cells(24), cells(80), 0) }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.top)
    }

    /// Takes what it has drawn meanwhile.
    fn take(&mut self) {
        let mut bytes = [0; 65_536];
        let moment = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&moment)).is_ok_and(|ready| ready > 0) {
            let read = self.master.read(&mut bytes).unwrap_or(0);
            self.screen.process(&bytes[..read]);
        }
    }

    /// Waits until the screen is as wanted; returns it.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            self.take();
            let shown = self.screen.screen().contents();
            if wanted(&shown) {
                return shown;
            }
            assert!(Instant::now() < until, "waited in vain until {what}:\n{shown}");
        }
    }

    pub(crate) fn until_shown(&mut self, words: &[&str]) -> String {
        self.until(&format!("it shows {words:?}"), |shown| words.iter().all(|word| shown.contains(word)))
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives the terminal another size, and says so.
    fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.slave, size(columns, rows)).expect("it takes another size");
        self.screen.screen_mut().set_size(cells(rows), cells(columns));
        // It has no session of its own, so the kernel tells nobody.
        send_signal(self.pid(), Signal::WINCH);
    }

    /// Whether the terminal is as a shell wants it.
    fn is_given_back(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("it is a terminal").local_modes;
        let screen = self.screen.screen();
        modes.contains(LocalModes::ICANON | LocalModes::ECHO) && !screen.alternate_screen() && !screen.hide_cursor()
    }

    fn until_given_back(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_given_back() {
            assert!(Instant::now() < until, "the terminal is not given back");
            self.take();
        }
    }

    /// Waits until it has ended and has given the terminal back; its exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        let status = loop {
            self.take();
            if let Some(status) = self.top.try_wait().expect("a child can be waited for") {
                break status;
            }
            assert!(Instant::now() < until, "top does not end:\n{}", self.screen.screen().contents());
        };
        self.until_given_back();
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.top.kill();
        let _ = self.top.wait();
    }
}

/// Rows or columns of a screen.
fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a screen has some")
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

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
        assert!(terminal.screen.screen().alternate_screen());
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
    terminal.until_shown(&["! supervisor 0 is stopped by a signal", "stopped"]);
    terminal.press("\r");
    terminal.until_shown(&["entities (3)", "ada", "body.pos"]);
    terminal.press("\r");
    terminal.until_shown(&["entity ", "hp.hp", "100"]);
    // It kills all that it finds, `top` too; a second one looks at what is left.
    instance.kill();
    drop(terminal);
    let mut terminal = Terminal::start(&instance, &[]);
    terminal.until_shown(&["not running", "! no process of it lives", "match-1"]);
    terminal.press("\r");
    terminal.until_shown(&["entities (3)", "bob", "body.pos"]);
    instance.done(&["save", "dead.rf"]);
    terminal.press("q");
    assert_eq!(terminal.ended(), Some(0));
    let mut terminal = Terminal::start(&instance, &["--from", "dead.rf"]);
    terminal.until_shown(&["(saved)", "! no process of it lives", "match-1"]);
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
