//! Runs a command in this process and hears all that comes of it: its exit code, what it prints, its panic, and whether it comes back.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringfort::skirmish::Skirmish;
use ringfort_tests::terminal::pair;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SeekFrom, ftruncate, memfd_create, seek};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use rustix::termios::{QueueSelector, tcflush};
use rustix::time::{ClockId, clock_gettime};

/// Processor time after which a command hangs; the slowest takes some hundredths of a second.
const HANG_CPU_S: i64 = 20;
/// Time after which a command hangs that waits for something.
const HANG: Duration = Duration::from_secs(300);
/// How often that is looked at.
const WATCH: Duration = Duration::from_millis(500);
/// How long the terminal is still before the next key is typed.
const STILL: Timespec = Timespec { tv_sec: 0, tv_nsec: 3_000_000 };
/// What `top` sends when it takes the terminal, and when it gives it back.
const TAKES: &[u8] = b"\x1b[?1049h";
const GIVES_BACK: &[u8] = b"\x1b[?1049l";
/// Ends `top` wherever it is.
const CTRL_C: u8 = 3;

/// What came of a command.
pub struct Said {
    /// Where it panicked, and how.
    pub panic: Option<String>,
    pub failed: bool,
    pub stdout: String,
    pub stderr: String,
}

/// What the command is that runs, and since when.
type Running = Arc<Mutex<Option<(Instant, i64)>>>;
/// Keys to be typed when `top` has the terminal.
type Keys = Arc<Mutex<Vec<u8>>>;

/// Where commands are run.
pub struct Listener {
    stdout: File,
    stderr: File,
    /// The end of a terminal that a command has.
    terminal: File,
    keys: Keys,
    running: Running,
}

/// Where the last panic was, and what it said.
static PANIC: Mutex<String> = Mutex::new(String::new());

impl Listener {
    /// One that writes to `report` what hangs.
    pub fn new(report: PathBuf) -> Self {
        let in_memory = |name| File::from(memfd_create(name, MemfdFlags::CLOEXEC).expect("a file in memory"));
        let (stdout, stderr) = (in_memory("stdout"), in_memory("stderr"));
        dup2_stderr(&stderr).expect("a descriptor");
        let (master, terminal) = pair(80, 24);
        dup2_stdin(&terminal).expect("a descriptor");
        let (keys, running) = (Keys::default(), Running::default());
        let (typed, watched) = (keys.clone(), running.clone());
        thread::spawn(move || type_and_take(master, &typed));
        thread::spawn(move || watch(&watched, &report));
        Self { stdout, stderr, terminal, keys, running }
    }

    /// Runs a command line.
    pub fn run(&self, line: &str, source: &[&str]) -> Said {
        empty(&self.stdout);
        dup2_stdout(&self.stdout).expect("a descriptor");
        self.run_on(line, source)
    }

    /// Runs `top` in a terminal and types these keys.
    pub fn type_to_top(&self, keys: &str, source: &[&str]) -> Said {
        empty(&self.stdout);
        tcflush(&self.terminal, QueueSelector::IOFlush).expect("it is a terminal");
        *self.keys.lock().expect("held for a line") = keys.bytes().rev().collect();
        dup2_stdout(&self.terminal).expect("a descriptor");
        self.run_on("top", source)
    }

    fn run_on(&self, line: &str, source: &[&str]) -> Said {
        empty(&self.stderr);
        let arguments = ["ringfort"].into_iter().chain(line.split_whitespace()).chain(source.iter().copied());
        let arguments: Vec<std::ffi::OsString> = arguments.map(Into::into).collect();
        // Anew each time, as `top` puts its own before it.
        std::panic::set_hook(Box::new(|info| *PANIC.lock().expect("held for a line") = info.to_string()));
        *self.running.lock().expect("held for a line") = Some((Instant::now(), cpu_s()));
        let run = catch_unwind(AssertUnwindSafe(|| ringfort::main_with::<Skirmish>(arguments)));
        *self.running.lock().expect("held for a line") = None;
        std::io::stdout().flush().expect("it is a file in memory or a terminal");
        Said {
            panic: run.as_ref().err().map(|_| PANIC.lock().expect("held for a line").clone()),
            failed: run.is_ok_and(|code| code != ExitCode::SUCCESS),
            stdout: content(&self.stdout),
            stderr: content(&self.stderr),
        }
    }
}

fn empty(file: &File) {
    ftruncate(file, 0).and_then(|()| seek(file, SeekFrom::Start(0)).map(drop)).expect("a file in memory");
}

fn content(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().expect("a file in memory").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("a file in memory");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Takes what is drawn, and while `top` has the terminal types a key whenever it is still; when there are no more, it ends `top`.
fn type_and_take(mut master: File, keys: &Keys) {
    let (mut bytes, mut tail, mut is_taken) = (vec![0; 65_536], Vec::new(), false);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(master.as_fd(), PollFlags::IN)];
        let still = poll(&mut fds, is_taken.then_some(&STILL)) == Ok(0);
        if still {
            let key = keys.lock().expect("held for a line").pop().unwrap_or(CTRL_C);
            master.write_all(&[key]).expect("the terminal takes keys");
            continue;
        }
        let read = master.read(&mut bytes).expect("the other end is open");
        // What says that it is taken may come in two pieces.
        tail.extend_from_slice(&bytes[..read]);
        let last = |what: &[u8]| tail.windows(what.len()).rposition(|window| window == what);
        let (taken, given_back) = (last(TAKES), last(GIVES_BACK));
        if taken != given_back {
            is_taken = taken > given_back;
        }
        tail.drain(..tail.len().saturating_sub(TAKES.len() - 1));
    }
}

/// Ends the process when a command does not come back.
fn watch(running: &Running, report: &Path) {
    loop {
        thread::sleep(WATCH);
        let Some((since, cpu)) = *running.lock().unwrap_or_else(PoisonError::into_inner) else { continue };
        if cpu_s() - cpu > HANG_CPU_S || since.elapsed() > HANG {
            let said = format!("a command hangs: {} s of processor time, {:?} in all\n", cpu_s() - cpu, since.elapsed());
            std::fs::write(report, said).expect("a file of ours");
            std::process::abort();
        }
    }
}

/// Seconds of processor time that this process has taken.
fn cpu_s() -> i64 {
    clock_gettime(ClockId::ProcessCPUTime).tv_sec
}
