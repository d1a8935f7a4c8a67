//! Worlds by the dozen: each from its seed, each checked tick by tick, on all cores.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ringfort::config::Interest;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::{Carrier, Chaos, Failed, Plan, Random, Simulation, Summary, Weather};

use crate::game::Menagerie;
use crate::options::Options;
use crate::script::Keeper;

/// What kind of worlds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Plain,
    Quic,
    Damaged,
}

/// A test of its own, by a seed.
type Check = fn(u64) -> Result<(), Failed>;

/// Failures after which no more worlds are begun.
const FAILURES_MAX: usize = 5;

/// The plan that follows from a seed: every size and every chance is drawn from it.
pub fn plan(kind: Kind, seed: u64, options: &Options) -> Plan {
    let mut random = Random::new(seed ^ 0x706c_616e);
    let clients = 2 + random.below(if kind == Kind::Quic { 4 } else { 11 }) as usize;
    let tick_hz = random.pick(&[20, 30, 60]);
    let small = random.chance(0.25);
    let loss = if random.chance(0.1) { 0.0 } else { options.loss / 100.0 };
    let weather = Weather {
        loss,
        doubled: 0.05,
        delay_us: 2_000 + random.below(120_000),
        jitter_us: random.below(60_000),
        damaged: match kind {
            Kind::Plain => 0.0,
            Kind::Quic => 0.02,
            Kind::Damaged => 0.05,
        },
    };
    let calm = random.chance(0.3);
    let chance = |p: f64| if calm { 0.0 } else { p };
    let chaos = Chaos {
        sim_dies: chance(0.01),
        game_fails: chance(0.01),
        frontend_dies: chance(0.004),
        overloads: 0.0,
        leaves: chance(0.002),
        call_lost: chance(0.02),
        stalls: chance(0.02),
        damaged_players: if kind == Kind::Damaged { 0.5 } else { 0.0 },
    };
    let mut plan = Plan {
        seed,
        ticks: options.ticks,
        clients,
        frontends: 1 + random.below(2) as u32,
        tick_hz,
        // Sessions whose connection was lost keep their places for a while.
        capacity: clients as u32 + 8,
        budget: if small { 150 + random.below(150) as usize } else { MAX_SNAPSHOT_BYTES },
        rewind_ms: 400,
        interest: Default::default(),
        options: Default::default(),
        carrier: if kind == Kind::Quic { Carrier::Quic } else { Carrier::Plain },
        weather,
        chaos,
    };
    if random.chance(0.5) {
        let (radius, entities) = (10 + random.below(80) as u32, 1 + random.below(25) as u32);
        plan.interest = Interest { radius: Some(radius), entities: Some(entities) };
    }
    if random.chance(0.25) {
        plan.chaos.overloads = 0.02;
    }
    // The game moves for as long as the network heals, and rests after that.
    plan.options.insert("rest_at".to_owned(), (plan.ticks + plan.healing_ticks()).to_string());
    plan
}

fn run(kind: Kind, seed: u64, options: &Options) -> Result<Summary, Failed> {
    let plan = plan(kind, seed, options);
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| Simulation::<Menagerie, _>::new(plan, Keeper::default())?.run()));
    let result = result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failed(format!("a panic: {}", text.unwrap_or("of another kind"))))
    });
    // Where nothing is damaged every single snapshot is compared.
    result.and_then(|sum| match kind {
        Kind::Plain | Kind::Quic if sum.compared < sum.snapshots => {
            Err(Failed(format!("{} snapshots of {} were not compared", sum.snapshots - sum.compared, sum.snapshots)))
        }
        _ => Ok(sum),
    })
}

/// What all worlds of a kind came to.
#[derive(Default)]
struct Total {
    worlds: u64,
    failures: Vec<(u64, Failed)>,
    sum: Summary,
}

fn run_all(kind: Kind, sessions: u64, options: &Options) -> Total {
    let (next, begun) = (AtomicU64::new(options.seed), AtomicU64::new(0));
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while begun.load(Ordering::Relaxed) < sessions {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    begun.fetch_add(plan(kind, seed, options).clients as u64, Ordering::Relaxed);
                    let result = run(kind, seed, options);
                    let mut total = total.lock().expect("no thread panics with it");
                    total.worlds += 1;
                    match result {
                        Ok(summary) => total.add(&summary),
                        Err(failed) => {
                            total.failures.push((seed, failed));
                            if total.failures.len() >= FAILURES_MAX {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    total.into_inner().expect("no thread panicked with it")
}

impl Total {
    fn add(&mut self, one: &Summary) {
        let sum = &mut self.sum;
        sum.sessions += one.sessions;
        sum.ticks += one.ticks;
        sum.snapshots += one.snapshots;
        sum.compared += one.compared;
        sum.inputs += one.inputs;
        sum.failures += one.failures;
        sum.rejected += one.rejected;
        sum.client_seconds += one.client_seconds;
        sum.up.bytes += one.up.bytes;
        sum.up.packets += one.up.packets;
        sum.down.bytes += one.down.bytes;
        sum.down.packets += one.down.packets;
    }

    fn report(&self, kind: Kind, seconds: f64) {
        let Summary { sessions, ticks, snapshots, compared, inputs, failures, rejected, client_seconds, up, down, .. } =
            &self.sum;
        println!("{kind:?}: {sessions} sessions in {} worlds, {:.0} sessions/s", self.worlds, *sessions as f64 / seconds);
        println!("  {ticks} ticks, {snapshots} snapshots applied, {compared} worlds compared, {inputs} inputs applied once");
        println!(
            "  the game failed {failures} times, and players were told of {rejected} inputs and commands that were given up"
        );
        println!(
            "  a client's second takes {:.0} bytes up and {:.0} down, in {:.1} and {:.1} packets",
            up.bytes as f64 / client_seconds,
            down.bytes as f64 / client_seconds,
            up.packets as f64 / client_seconds,
            down.packets as f64 / client_seconds
        );
    }
}

/// Two runs of one seed must be the same to the last bit.
fn repeats(kind: Kind, seed: u64, options: &Options) -> Result<(), Failed> {
    let (first, second) = (run(kind, seed, options)?, run(kind, seed, options)?);
    let other = run(kind, seed + 1, options)?;
    if first.trace != second.trace {
        return Err(Failed(format!("seed {seed} gave the traces {:x} and {:x}", first.trace, second.trace)));
    }
    if first.trace == other.trace {
        return Err(Failed(format!("seeds {seed} and {} gave the same trace", seed + 1)));
    }
    Ok(())
}

/// Runs what was asked for.
pub fn main(options: &Options) -> ExitCode {
    let mut failed = 0;
    for (kind, sessions) in [(Kind::Plain, options.sessions), (Kind::Damaged, options.damaged), (Kind::Quic, options.quic)] {
        if sessions == 0 {
            continue;
        }
        let began = Instant::now();
        let total = run_all(kind, sessions, options);
        total.report(kind, began.elapsed().as_secs_f64());
        for (seed, why) in &total.failures {
            failed += 1;
            let Options { loss, ticks, .. } = options;
            let how = match kind {
                Kind::Plain => "--sessions 1",
                Kind::Quic => "--sessions 0 --quic 1",
                Kind::Damaged => "--sessions 0 --damaged 1",
            };
            println!("  FAILED seed {seed}: {why}");
            println!("    again: cargo test -p ringfort --test simulator -- {how} --seed {seed} --loss {loss} --ticks {ticks}");
        }
    }
    if options.sessions > 1 {
        for kind in [Kind::Plain, Kind::Damaged] {
            match repeats(kind, options.seed, options) {
                Ok(()) => println!("{kind:?}: two runs of seed {} are the same", options.seed),
                Err(why) => {
                    failed += 1;
                    println!("FAILED {kind:?}: {why}");
                }
            }
        }
    }
    let checks: [(&str, Check); 6] = [
        ("canaries", crate::canary::check),
        ("prediction", crate::predicted::check),
        ("forecasts", crate::forecasts::check),
        ("views", crate::views::check),
        ("hits", crate::hits::check),
        ("overload", crate::overload::check),
    ];
    let wanted = |what: &str| options.only.as_ref().map_or(options.sessions > 1, |only| only == what);
    for (what, check) in checks.into_iter().filter(|(what, _)| wanted(what)) {
        if let Err(why) = check(options.seed) {
            failed += 1;
            println!("FAILED {what}: {why}");
        }
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
