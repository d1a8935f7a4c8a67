//! Whether the processes of an instance take memory from the allocator while they serve a battle that they have warmed up to.
//!
//! An instance of `skirmish` runs as it does for an operator, but its program counts allocations. Its players are in this process and do not
//! count. Each process writes its count to a file ten times a second.

mod counting;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ringfort::game::Played;
use ringfort::skirmish::{Cmd, Skirmish};
use ringfort_bench::report::{head, machine, row};
use ringfort_client::{Hub, JoinTarget, SessionKey, Trust};
use ringfort_protocol::{Press, Vec2};
use serde_json::Value;

/// Where the processes of the instance leave their counts.
const DIRECTORY: &str = "RINGFORT_BENCH_ALLOCATIONS";
const INSTANCE: &str = "bench-allocations";
const ADDRESS: &str = "127.0.0.1:7991";
const CLIENTS: usize = 500;
const HZ: u32 = 10;
/// Until buffers have grown to their size.
const WARM_UP: Duration = Duration::from_secs(15);
const MEASURED: Duration = Duration::from_secs(20);
/// How long the instance may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() -> ExitCode {
    match std::env::var_os(DIRECTORY) {
        Some(directory) => {
            counting::leave_in(&PathBuf::from(directory).join(std::process::id().to_string()));
            ringfort::main::<Skirmish>()
        }
        None => measure(),
    }
}

fn measure() -> ExitCode {
    println!("# allocations: memory taken while a battle is served\n\n{}\n", machine());
    let directory = std::env::temp_dir().join(format!("{INSTANCE}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the counts");
    let mut instance = Instance(start(&directory));
    let mut crowd = Crowd::join();
    crowd.play(WARM_UP);
    let (counts, before) = (instance.counts(&directory), instance.counters());
    crowd.play(MEASURED);
    let (counts_after, after) = (instance.counts(&directory), instance.counters());
    let rose = |name: &str| after[name].as_f64().unwrap_or(0.0) - before[name].as_f64().unwrap_or(0.0);
    println!("{CLIENTS} clients x {HZ} Hz for {} s, after {} s to warm up:\n", MEASURED.as_secs(), WARM_UP.as_secs());
    head(&["process", "allocations", "a snapshot or tick", "bytes of one on average"]);
    let mut served = 0.0;
    for ((role, pid, before), (_, _, after)) in counts.iter().zip(&counts_after) {
        let (allocations, bytes) = (after.0 - before.0, after.1 - before.1);
        let times = match role.as_str() {
            "frontend" => rose("fe_snapshots") / 2.0,
            _ => MEASURED.as_secs_f64() * f64::from(HZ),
        };
        served += times;
        let each = bytes.checked_div(allocations).unwrap_or(0);
        row(&[format!("{role} {pid}"), allocations.to_string(), format!("{:.4}", allocations as f64 / times), each.to_string()]);
    }
    instance.stop();
    let _ = std::fs::remove_dir_all(&directory);
    // Figures of an instance that served nobody say nothing.
    if served > 0.0 && rose("fe_snapshots") > 0.0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start(directory: &Path) -> Child {
    let capacity = format!("capacity={CLIENTS}");
    let child = ourselves()
        .env(DIRECTORY, directory)
        .args(["--instance", INSTANCE, "up", "--fresh", "--listen", ADDRESS, "--tick-hz", &HZ.to_string(), "--game-option", &capacity])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    child.expect("the instance can be started")
}

fn ourselves() -> Command {
    Command::new(std::env::current_exe().expect("this program"))
}

/// The instance, ended with this.
struct Instance(Child);

/// Role, process, and how many allocations of how many bytes together.
type Count = (String, u64, (u64, u64));

impl Instance {
    fn status(&self) -> Value {
        let output = ourselves().env(DIRECTORY, std::env::temp_dir()).args(["--instance", INSTANCE, "status", "--json"]).output();
        serde_json::from_slice(&output.expect("status can be asked for").stdout).unwrap_or(Value::Null)
    }

    fn counters(&self) -> Value {
        self.status()["counters"].clone()
    }

    fn counts(&self, directory: &Path) -> Vec<Count> {
        let status = self.status();
        let processes = status["processes"].as_array().expect("the instance runs");
        let hot = processes.iter().filter(|process| process["role"] == "frontend" || process["role"] == "sim");
        hot.filter_map(|process| {
            let pid = process["pid"].as_u64()?;
            let text = std::fs::read_to_string(directory.join(pid.to_string())).ok()?;
            let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
            Some((process["role"].as_str()?.to_owned(), pid, (numbers.next()?, numbers.next()?)))
        })
        .collect()
    }

    fn stop(&mut self) {
        let _ = ourselves().env(DIRECTORY, std::env::temp_dir()).args(["--instance", INSTANCE, "down"]).output();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !matches!(self.0.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Players that walk about and shoot now and then.
struct Crowd {
    hub: Hub<Played<Skirmish>>,
    keys: Vec<SessionKey>,
    turn: u64,
}

impl Crowd {
    fn join() -> Crowd {
        let mut hub = Hub::bind("127.0.0.1:0".parse().expect("an address"), Trust::Any).expect("a socket");
        let server = ADDRESS.parse().expect("an address");
        std::thread::sleep(Duration::from_secs(2));
        let mut keys = Vec::new();
        for client in 0..CLIENTS {
            let now = Instant::now();
            let key = hub.connect(now, server, "localhost", &format!("bench-{client}")).expect("a client");
            hub.join(key, JoinTarget::Any);
            keys.push(key);
            hub.pump(now, &mut ()).expect("the socket works");
        }
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !keys.iter().all(|key| hub.session(*key).is_live()) {
            hub.wait(Some(Instant::now() + Duration::from_millis(5))).expect("the socket works");
            hub.pump(Instant::now(), &mut ()).expect("the socket works");
        }
        assert!(keys.iter().all(|key| hub.session(*key).is_live()), "all are in before anything is measured");
        Crowd { hub, keys, turn: 0 }
    }

    fn play(&mut self, time: Duration) {
        let (start, period) = (Instant::now(), Duration::from_secs(1) / (HZ * CLIENTS as u32));
        let mut given = 0;
        while start.elapsed() < time {
            let now = Instant::now();
            while period * given < now - start {
                let client = self.turn as usize % CLIENTS;
                let round = self.turn / CLIENTS as u64;
                let aim = (client as f32 + round as f32 / 20.0) % 3.0;
                let fire = Press::down((round + client as u64).is_multiple_of(7));
                let _ = self.hub.send(now, self.keys[client], Cmd { wish: Vec2::from_angle(aim), aim, fire });
                // What is heard is taken, as a program does.
                self.hub.session_mut(self.keys[client]).events().for_each(drop);
                (self.turn, given) = (self.turn + 1, given + 1);
            }
            self.hub.wait(Some(now + Duration::from_millis(1))).expect("the socket works");
            self.hub.pump(Instant::now(), &mut ()).expect("the socket works");
        }
    }
}
