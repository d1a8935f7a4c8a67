//! An instance of the bundled game as a child process, in a run directory of its own, cleaned up whatever happens.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take here, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A name for instances and the directories that they run in.
pub struct Place {
    pub name: String,
    directory: tempfile::TempDir,
}

/// A running `ringfort up`.
pub struct Instance {
    pub place: Place,
    pub up: Child,
    pub address: String,
}

impl Place {
    pub fn new(test: &str) -> Place {
        Place { name: format!("t{}-{test}", std::process::id()), directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The command line, against this instance.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringfort"));
        command.args(arguments).args(["--instance", &self.name]);
        // The current directory, so that no ringfort.toml of a developer is read.
        command.env("XDG_RUNTIME_DIR", self.directory.path()).current_dir(self.directory.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs a command that must be refused with exit code 1 and one sentence that has all of `words`.
    pub fn check_refused(&self, arguments: &[&str], words: &[&str]) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let sentences: Vec<&str> = stderr.lines().filter(|line| line.starts_with("ringfort: ")).collect();
        assert_eq!(sentences.len(), 1, "{stderr}");
        for word in words {
            assert!(sentences[0].contains(word), "{word:?} is missing from {:?}", sentences[0]);
        }
    }

    /// The instance's segments.
    pub fn segments(&self) -> Vec<String> {
        self.shared_files().into_iter().filter(|name| !name.ends_with(".lock")).collect()
    }

    /// The instance's files in shared memory: segments, and the lock, which lies there while a supervisor lives or after it was killed.
    pub fn shared_files(&self) -> Vec<String> {
        let prefix = format!("ringfort.{}.", self.name);
        let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Kills whoever runs in our directory, and waits until nobody does.
    pub fn kill_all(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let pids = self.pids();
            if pids.is_empty() || Instant::now() >= until {
                return;
            }
            for pid in pids {
                // An error says that it has ended since.
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Processes with our directory in their environment; a dead one has none.
    fn pids(&self) -> Vec<Pid> {
        let ours = format!("XDG_RUNTIME_DIR={}", self.directory.path().display());
        let is_ours = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes())
        };
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(is_ours).filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Workers outlive their supervisor.
        self.kill_all();
        for file in self.shared_files() {
            let _ = std::fs::remove_file(PathBuf::from("/dev/shm").join(file));
        }
    }
}

impl Instance {
    /// Starts with a small arena and a port of the kernel's choice, and waits until it listens.
    pub fn up(place: Place, flags: &[&str]) -> Instance {
        let (up, address) = launch(&place, flags);
        Instance { place, up, address }
    }

    /// Starts it again in its place after it has ended.
    pub fn up_again(&mut self, flags: &[&str]) {
        (self.up, self.address) = launch(&self.place, flags);
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        let output = self.place.run(&["status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Waits until the state is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "waited in vain until {what}: {status:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A command that must succeed; its stdout.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.place.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Kills its supervisor, and then all others of it.
    pub fn kill(&mut self) {
        let _ = self.up.kill();
        assert_eq!(self.exit_code(), None);
        self.place.kill_all();
    }

    /// Waits until `up` has ended; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.up.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("`up` does not end");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Its workers and the segments go with the place.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

fn launch(place: &Place, flags: &[&str]) -> (Child, String) {
    let mut command = place.command(&["up", "--listen", "127.0.0.1:0", "--arena-mib", "32"]);
    let log = std::fs::File::create(place.path("stderr")).unwrap();
    let mut up = command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(up.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let stderr = std::fs::read_to_string(place.path("stderr")).unwrap();
    let expected = format!("ringfort: instance {} listening on ", place.name);
    let address = line.trim().strip_prefix(&expected).unwrap_or_else(|| panic!("{line}{stderr}")).to_owned();
    (up, address)
}

/// The processes of a role.
pub fn processes<'s>(status: &'s Value, role: &str) -> Vec<&'s Value> {
    status["processes"].as_array().unwrap().iter().filter(|process| process["role"] == role).collect()
}

/// A match by name; null when there is none.
pub fn match_of<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["matches"].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null)
}

/// Sends a signal to a process that `status` names.
pub fn send(process: &Value, signal: Signal) {
    let pid = Pid::from_raw(process["pid"].as_i64().unwrap() as i32).unwrap();
    kill_process(pid, signal).unwrap();
}
