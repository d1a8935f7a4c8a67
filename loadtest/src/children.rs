//! Processes that this program starts: this very program in another role, or the server. None outlives us.
//!
//! A child of our own kind reads its standard input to the end and exits then, so it goes even when we are killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use std::{io, process, thread};

/// A running child whose standard output is read line by line.
pub(crate) struct Child {
    process: process::Child,
    lines: Receiver<String>,
    /// Held open: its end is the child's sign that we are gone.
    input: Option<ChildStdin>,
}

/// What a child waits for that is to begin together with others.
const GO: &str = "go";
/// Whether we, a child, have been told so.
static TOLD_TO_GO: AtomicBool = AtomicBool::new(false);

impl Child {
    /// Starts `command`; its errors go where ours go.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Child> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take();
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let Some(output) = output else { return };
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Child { process, lines, input })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Tells it to begin what it waits with.
    pub(crate) fn go(&mut self) -> io::Result<()> {
        match &mut self.input {
            Some(input) => writeln!(input, "{GO}"),
            None => Ok(()),
        }
    }

    /// Its next line, or `None` when it has ended or says nothing in time.
    pub(crate) fn line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// Waits for its end, at most `patience`; returns whether it ended.
    pub(crate) fn wait(&mut self, patience: Duration) -> bool {
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while waited < patience {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return true;
            }
            thread::sleep(step);
            waited += step;
        }
        false
    }
}

impl Child {
    /// Kills it, and waits for its end.
    pub(crate) fn kill(&mut self) {
        // An error means that it is gone already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Called by a child of our own kind: hears what the parent tells it, and ends the process when the parent's pipe closes.
pub(crate) fn exit_with_parent() {
    thread::spawn(|| {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if line == GO {
                TOLD_TO_GO.store(true, Ordering::Relaxed);
            }
        }
        process::exit(1);
    });
}

/// Whether the parent has told this process to begin.
pub(crate) fn told_to_go() -> bool {
    TOLD_TO_GO.load(Ordering::Relaxed)
}
