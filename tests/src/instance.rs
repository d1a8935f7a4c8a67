//! An instance of the bundled game as real processes, with a run directory and a name of its own, cleared away whatever
//! becomes of the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{LOOK_AGAIN, PATIENCE, programs};

/// What every instance of the tests has unless a flag says otherwise: little memory, because many run side by side.
const CONFIGURATION: &str = r#"
listen = "127.0.0.1:0"
arena_mib = 32
inbox_mib = 8
max_matches = 64
hang_ms = 600000

[game]
capacity = 16
"#;

/// How long an instance may take to stop in order before its processes are killed.
const STOP_PATIENCE: Duration = Duration::from_secs(8);

/// A running `ringfort up`.
pub struct Instance {
    program: PathBuf,
    name: String,
    directory: tempfile::TempDir,
    up: Child,
    address: SocketAddr,
}

/// A command that goes on; it is killed when this is dropped.
pub struct Follower {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Follower {
    /// The next line, once it is there.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it prints text");
        line
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Instance {
    /// Starts one with these flags of `up` and waits until it says where it listens.
    pub fn start(flags: &[&str]) -> Instance {
        Instance::configured("", |_| (), flags)
    }

    /// [`Instance::start`] with more in its configuration, after its directory was prepared.
    pub fn configured(configuration: &str, prepare: impl FnOnce(&Path), flags: &[&str]) -> Instance {
        Instance::of(programs::server(), configuration, prepare, flags)
    }

    /// [`Instance::configured`] of another game.
    pub fn of(program: PathBuf, configuration: &str, prepare: impl FnOnce(&Path), flags: &[&str]) -> Instance {
        Instance::with(program, configuration, prepare, flags, "")
    }

    /// One whose processes die at these kill points, of a program that has them.
    pub fn armed(program: PathBuf, points: &str, flags: &[&str]) -> Instance {
        Instance::with(program, "", |_| (), flags, points)
    }

    fn with(program: PathBuf, configuration: &str, prepare: impl FnOnce(&Path), flags: &[&str], points: &str) -> Instance {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("w{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let configuration = [CONFIGURATION, configuration].concat();
        fs::write(directory.path().join("ringfort.toml"), configuration).expect("a configuration file");
        prepare(directory.path());
        let (up, address) = listening(spawn_armed(&program, &name, directory.path(), flags, points), directory.path());
        Instance { program, name, directory, up, address }
    }

    /// Kills its supervisor and all its workers, and waits until all of them are dead.
    pub fn kill(&mut self) {
        self.kill_processes();
        self.reap();
    }

    /// Kills its supervisor and all its workers. The supervisor's exit code is yet to be taken: [`Instance::reap`].
    pub fn kill_processes(&self) {
        // It first, so that it starts nobody again. An error says that it has ended since.
        let _ = kill_process(self.supervisor(), Signal::KILL);
        let until = Instant::now() + PATIENCE;
        loop {
            let pids = self.pids();
            if pids.is_empty() {
                return;
            }
            assert!(Instant::now() < until, "{pids:?} do not die");
            for pid in pids {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Kills its supervisor alone: the workers go on.
    pub fn kill_supervisor(&mut self) {
        let _ = self.up.kill();
        let _ = self.up.wait();
    }

    /// Takes the exit of a supervisor that was killed.
    pub fn reap(&mut self) {
        let _ = self.up.wait();
    }

    /// Starts it again, in its place, and waits until it says where it listens.
    pub fn start_again(&mut self, flags: &[&str]) {
        (self.up, self.address) =
            listening(spawn_up(&self.program, &self.name, self.directory.path(), flags), self.directory.path());
    }

    /// Starts it again and kills it after a time with all its workers, wherever it is by then.
    pub fn start_and_kill(&mut self, flags: &[&str], after: Duration) {
        self.start_and_kill_supervisor(flags, after);
        self.kill_processes();
    }

    /// Whether the supervisor has ended.
    pub fn has_ended(&mut self) -> bool {
        self.up.try_wait().expect("a child can be waited for").is_some()
    }

    /// Starts it again with these kill points armed, and waits for nothing: it may die before it says anything.
    pub fn start_again_armed(&mut self, points: Option<&str>) {
        self.up = spawn_armed(&self.program, &self.name, self.directory.path(), &[], points.unwrap_or_default());
    }

    /// Starts it again with a kill point armed, and waits until its supervisor has died there. Of a program that has kill points.
    pub fn start_and_die_at(&mut self, point: &str, flags: &[&str]) {
        let log = fs::File::create(self.directory.path().join("stderr")).expect("a log file");
        let mut up = command(&self.program, &self.name, self.directory.path(), &["up"]);
        up.args(flags).env(ringfort_shm_state::kill_point::VARIABLE, point).stdout(Stdio::null()).stderr(log);
        self.up = up.spawn().expect("the server can be started");
        assert_eq!(self.exit_code(), None, "it dies at {point}");
    }

    /// Starts it again and kills the supervisor alone after a time, wherever it is by then.
    pub fn start_and_kill_supervisor(&mut self, flags: &[&str], after: Duration) {
        self.up = spawn_up(&self.program, &self.name, self.directory.path(), flags);
        std::thread::sleep(after);
        self.kill_supervisor();
    }

    /// Checks that it does not start with these flags; its sentence has all of these words.
    pub fn check_refused(&self, flags: &[&str], words: &[&str]) {
        let mut up = spawn_up(&self.program, &self.name, self.directory.path(), flags);
        let code = ended(&mut up, PATIENCE);
        let _ = up.kill();
        let _ = up.wait();
        let stderr = self.log();
        assert_eq!(code, Some(Some(1)), "{stderr}");
        let sentence = stderr.lines().find(|line| line.starts_with("ringfort: ")).unwrap_or_default();
        let missing: Vec<&&str> = words.iter().filter(|word| !sentence.contains(**word)).collect();
        assert!(missing.is_empty(), "{missing:?} is not in {stderr:?}");
    }

    /// What the last start has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// The folder that its commands run in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has written so far for results that no hook takes, line by line.
    pub fn results(&self) -> Vec<Value> {
        json_lines(&self.directory.path().join("ringfort").join(&self.name).join("results.jsonl"))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate that it made for itself.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("ringfort").join(&self.name).join("dev-cert.pem")
    }

    /// A command of the command line against it, which was not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(&self.program, &self.name, self.directory.path(), arguments)
    }

    /// Runs a command of the command line against it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command line can be started")
    }

    /// Starts a command that goes on until it is killed; what it prints is read line by line.
    pub fn follow(&self, arguments: &[&str]) -> Follower {
        let mut command = command(&self.program, &self.name, self.directory.path(), arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the command line can be started");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Follower { child, lines }
    }

    /// Runs a command that must succeed; returns what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// Runs a command with `--json` that must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.done(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?} printed no JSON ({error}): {text}"))
    }

    /// What `status` tells.
    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// A counter of `status`.
    pub fn counter(&self, name: &str) -> u64 {
        counter(&self.status(), name)
    }

    /// Waits until the status is as wanted.
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < until, "waited in vain until {what}: {status:#}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Checks that nothing in its shared memory is damaged, leaked or owned twice.
    pub fn check_memory(&self) {
        let output = self.run(&["fsck"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// Waits until `up` has ended by itself; its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        ended(&mut self.up, PATIENCE).unwrap_or_else(|| panic!("`up` of {} does not end", self.name))
    }

    /// The process of `up`.
    pub fn supervisor(&self) -> Pid {
        Pid::from_child(&self.up)
    }

    /// Names of its segments.
    pub fn segments(&self) -> Vec<String> {
        self.shared_files().into_iter().filter(|name| !name.ends_with(".lock")).collect()
    }

    /// Names of its files in shared memory: segments, and the lock, which lies there while a supervisor lives or after it was killed.
    pub fn shared_files(&self) -> Vec<String> {
        let prefix = format!("ringfort.{}.", self.name);
        let files = fs::read_dir("/dev/shm").expect("there is shared memory").flatten();
        files.filter_map(|file| file.file_name().into_string().ok()).filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Processes that run in our directory, whatever `status` knows of them.
    pub fn pids(&self) -> Vec<Pid> {
        let ours = format!("XDG_RUNTIME_DIR={}", self.directory.path().display());
        let is_ours = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == ours.as_bytes())
        };
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(is_ours).filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default());
        }
        if let Ok(None) = self.up.try_wait() {
            // Refused or not: what is still there is killed below.
            let mut down = command(&self.program, &self.name, self.directory.path(), &["down"]);
            if let Ok(mut down) = down.stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
                ended(&mut self.up, STOP_PATIENCE);
                let _ = down.kill();
                let _ = down.wait();
            }
        }
        let _ = self.up.kill();
        let _ = self.up.wait();
        for pid in self.pids() {
            // An error says that it has ended by itself since.
            let _ = kill_process(pid, Signal::KILL);
        }
        for file in self.shared_files() {
            let _ = fs::remove_file(Path::new("/dev/shm").join(file));
        }
    }
}

/// Starts `up`.
fn spawn_up(program: &Path, instance: &str, directory: &Path, flags: &[&str]) -> Child {
    spawn_armed(program, instance, directory, flags, "")
}

/// Starts `up`, whose processes die at these kill points if the program has them.
fn spawn_armed(program: &Path, instance: &str, directory: &Path, flags: &[&str], points: &str) -> Child {
    let log = fs::File::create(directory.join("stderr")).expect("a log file");
    let mut command = command(program, instance, directory, &["up"]);
    command.env(ringfort_shm_state::kill_point::VARIABLE, points);
    command.args(flags).stdout(Stdio::piped()).stderr(log).spawn().expect("the server can be started")
}

/// Waits until `up` says where it listens.
fn listening(mut up: Child, directory: &Path) -> (Child, SocketAddr) {
    let mut line = String::new();
    let output = up.stdout.as_mut().expect("its output is piped");
    BufReader::new(output).read_line(&mut line).expect("its output can be read");
    let address = line.trim().rsplit(' ').next().and_then(|address| address.parse().ok());
    let address = address
        .unwrap_or_else(|| panic!("`up` said {line:?} and {}", fs::read_to_string(directory.join("stderr")).unwrap_or_default()));
    (up, address)
}

/// The command line, in the instance's directory, so that no other configuration is read.
fn command(program: &Path, instance: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).args(["--instance", instance]).stdin(Stdio::null());
    command.env("XDG_RUNTIME_DIR", directory).env("XDG_STATE_HOME", directory).current_dir(directory);
    command
}

/// The exit code of a process that ends within the time; it has none when a signal ended it.
fn ended(process: &mut Child, patience: Duration) -> Option<Option<i32>> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status.code());
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The lines of a file of JSON; none when it is not there. What is not ended by a line's end is not yet a line.
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))).collect()
}

/// A counter of a status.
pub fn counter(status: &Value, name: &str) -> u64 {
    status["counters"][name].as_u64().unwrap_or_else(|| panic!("there is no counter {name}"))
}

/// The processes of a role, by slot.
pub fn processes<'s>(status: &'s Value, role: &str) -> Vec<&'s Value> {
    let all = status["processes"].as_array().expect("a list of processes");
    all.iter().filter(|process| process["role"] == role).collect()
}

/// A match by name; null when there is none.
pub fn match_named<'s>(status: &'s Value, name: &str) -> &'s Value {
    let all = status["matches"].as_array().expect("a list of matches");
    all.iter().find(|entry| entry["name"] == name).unwrap_or(&Value::Null)
}

/// The process id of a process that `status` names.
pub fn pid_of(process: &Value) -> Pid {
    let pid = process["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    pid.expect("a process has an id")
}

/// Sends a signal to a process that lives.
pub fn send_signal(pid: Pid, signal: Signal) {
    kill_process(pid, signal).unwrap_or_else(|error| panic!("process {pid:?} gets no signal: {error}"));
}
