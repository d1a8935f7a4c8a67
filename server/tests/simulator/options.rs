//! What the simulator is told on its command line.

/// Flags, with what they are without being given.
#[derive(Clone, Debug)]
pub struct Options {
    /// Sessions over a plain carrier; worlds are made until there are so many.
    pub sessions: u64,
    /// Sessions over QUIC.
    pub quic: u64,
    /// Sessions in worlds where some packets are damaged.
    pub damaged: u64,
    /// Seed of the first world; the next has the next.
    pub seed: u64,
    /// Percent of packets lost.
    pub loss: f64,
    /// Ticks of each world before it heals.
    pub ticks: u32,
    /// Threads.
    pub threads: usize,
    /// Runs nothing but the test of this name.
    pub only: Option<String>,
}

const HELP: &str = "flags: --sessions N --quic N --damaged N --seed S --loss PERCENT --ticks T --threads N \
    --only canaries|prediction|forecasts|views|hits|overload";

impl Options {
    /// What is run when nothing is asked for.
    pub fn usual() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { sessions: 1_000, quic: 40, damaged: 200, seed: 1, loss: 20.0, ticks: 240, threads, only: None }
    }

    /// Reads the flags of this process. Those of the usual test harness are passed over.
    pub fn from_args() -> Self {
        let mut options = Self::usual();
        let mut args = std::env::args().skip(1);
        while let Some(flag) = args.next() {
            if flag == "--only" {
                options.only = args.next();
                (options.sessions, options.quic, options.damaged) = (0, 0, 0);
                continue;
            }
            let mut number = || {
                let given = args.next().and_then(|n| n.parse::<f64>().ok());
                given.unwrap_or_else(|| exit(&format!("{flag} wants a number; {HELP}")))
            };
            match flag.as_str() {
                "--sessions" => {
                    options.sessions = number() as u64;
                    (options.quic, options.damaged) = (0, 0);
                }
                "--quic" => options.quic = number() as u64,
                "--damaged" => options.damaged = number() as u64,
                "--seed" => options.seed = number() as u64,
                "--loss" => options.loss = number(),
                "--ticks" => options.ticks = number() as u32,
                "--threads" => options.threads = (number() as usize).max(1),
                "--help" | "-h" => exit(HELP),
                "--list" => exit(""),
                _ => {}
            }
        }
        options
    }
}

fn exit(text: &str) -> ! {
    println!("{text}");
    std::process::exit(0)
}
