//! A terminal without a window: a pseudo-terminal, `top` in it, and its screen as a terminal would show it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::{Instance, LOOK_AGAIN, PATIENCE, send_signal};

/// `top`, and the terminal that it runs in.
pub struct Terminal {
    top: Child,
    master: File,
    slave: File,
    screen: vt100::Parser,
}

impl Terminal {
    /// Starts `top` in a terminal of 80 x 24.
    pub fn start(instance: &Instance, arguments: &[&str]) -> Terminal {
        Terminal::start_as(instance, arguments, "xterm-256color")
    }

    /// The same in a terminal of this kind.
    pub fn start_as(instance: &Instance, arguments: &[&str], kind: &str) -> Terminal {
        let (master, slave) = pair(80, 24);
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut top = instance.command(&[&["top", "--delay", "0.1"], arguments].concat());
        top.env("TERM", kind).env_remove("NO_COLOR").stdin(end()).stdout(end()).stderr(end());
        let top = top.spawn().expect("top starts");
        Terminal { top, master, slave, screen: vt100::Parser::new(cells(24), cells(80), 0) }
    }

    /// The process of `top`.
    pub fn pid(&self) -> Pid {
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
    pub fn until(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
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

    /// Waits until all of these words are shown.
    pub fn until_shown(&mut self, words: &[&str]) -> String {
        self.until(&format!("it shows {words:?}"), |shown| words.iter().all(|word| shown.contains(word)))
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Gives the terminal another size, and says so.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.slave, size(columns, rows)).expect("it takes another size");
        self.screen.screen_mut().set_size(cells(rows), cells(columns));
        // It has no session of its own, so the kernel tells nobody.
        send_signal(self.pid(), Signal::WINCH);
    }

    /// Whether `top` has the whole screen.
    pub fn is_taken(&self) -> bool {
        self.screen.screen().alternate_screen()
    }

    /// Whether the terminal is as a shell wants it.
    pub fn is_given_back(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("it is a terminal").local_modes;
        let screen = self.screen.screen();
        modes.contains(LocalModes::ICANON | LocalModes::ECHO) && !screen.alternate_screen() && !screen.hide_cursor()
    }

    /// Waits until the terminal is as a shell wants it.
    pub fn until_given_back(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.is_given_back() {
            assert!(Instant::now() < until, "the terminal is not given back");
            self.take();
        }
    }

    /// Waits until it has ended and has given the terminal back; its exit code.
    pub fn ended(&mut self) -> Option<i32> {
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

/// Both ends of a new terminal of so many columns and rows: that of who types, and that of a program.
pub fn pair(columns: u16, rows: u16) -> (File, File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a pseudo-terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("its other end");
    let path = ptsname(&master, Vec::new()).expect("its other end has a name");
    let path = path.to_str().expect("a path of plain letters");
    let slave = OpenOptions::new().read(true).write(true).custom_flags(OFlags::NOCTTY.bits() as i32).open(path);
    let slave = slave.expect("its other end opens");
    tcsetwinsize(&slave, size(columns, rows)).expect("it has a size");
    (File::from(master), slave)
}

/// Rows or columns of a screen.
fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).expect("a screen has some")
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
