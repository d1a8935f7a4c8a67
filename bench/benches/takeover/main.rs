//! How long a zone stands still when the process that steps it is killed.
//!
//! Three processes, as in an instance: an owner that steps the zone tick after tick until it is killed, a successor that waits with
//! the segments mapped, and this one in the supervisor's place, which kills, sees the death by pidfd, and grants. The ticks are those
//! of the sim (`Zone::start`, `Zone::step`).

mod crowd;
mod zone;

use std::sync::atomic::{AtomicU64, Ordering};

use ringfort_bench::child::{fork, join, pin};
use ringfort_bench::progress::Progress;
use ringfort_bench::report::{Target, head, machine, row, verdict};
use ringfort_bench::shared::{Atomics, Shared, now_ns};
use ringfort_bench::stats::Series;
use ringfort_shm_state::limits::WINDOW;

use zone::Instance;

/// Entities, and how often the owner is killed with so many.
const SIZES: [(u32, usize); 3] = [(1_000, 21), (100_000, 21), (1_000_000, 7)];
/// The size that the target is for.
const TARGET_ENTITIES: u32 = 100_000;
/// What a takeover of that size should take, in milliseconds.
const TARGET_MS: f64 = 5.0;
/// Ticks before the owner is killed: the window is full of retired pages, and pages are used again.
const TICKS_BEFORE: u64 = WINDOW + 8;
/// Ticks of the successor after its first, to compare that one with.
const TICKS_AFTER: u64 = 16;
/// Entities of the zone on which a successor practises, as a standby does that is warm.
const PRACTICE_ENTITIES: u32 = 1_000;

/// What the processes tell each other.
#[derive(Default)]
struct Board {
    owner_ticks: AtomicU64,
    owner_tick_ns: AtomicU64,
    successor_ready: AtomicU64,
    woken_ns: AtomicU64,
    taken_ns: AtomicU64,
    committed_ns: AtomicU64,
    later_tick_ns: AtomicU64,
}

// SAFETY: made of atomics alone.
unsafe impl Atomics for Board {}

/// Whether the successor has looked at every page of the world before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mapping {
    Populated,
    Untouched,
}

/// Milliseconds of one kind of run.
#[derive(Default)]
struct Times {
    dying: Series,
    waking: Series,
    taking: Series,
    first_tick: Series,
    total: Series,
    later_tick: Series,
    in_mid_tick: usize,
}

fn main() {
    println!("# takeover: from the death of a zone's owner to the successor's first commit\n\n{}", machine());
    println!(
        "Columns of skirmish (Body {}, Health {}, Gun {}, Score {} bytes) and the entity table; every entity moves in every tick, so each\n\
         of the window's {WINDOW} roots has bodies of its own. The owner is killed after {TICKS_BEFORE} ticks at a random moment.\n\
         Every entity's place is checked after the successor's last tick. Milliseconds, median (least .. greatest).\n",
        size_of::<ringfort::skirmish::Body>(),
        size_of::<ringfort::skirmish::Health>(),
        size_of::<ringfort::skirmish::Gun>(),
        size_of::<ringfort::skirmish::Score>(),
    );
    let mut progress = Progress::new(SIZES.iter().map(|(_, runs)| runs * 2).sum());
    let mut results = Vec::new();
    for (entities, runs) in SIZES {
        let mut times = [Times::default(), Times::default()];
        let mut megabytes = 0;
        for n in 0..runs {
            for (mapping, times) in [Mapping::Populated, Mapping::Untouched].into_iter().zip(&mut times) {
                progress.next(&format!("{entities} entities, kill {} of {runs}", n + 1));
                megabytes = run(entities, mapping, n as u64, times) >> 20;
            }
        }
        results.push((entities, runs, megabytes, times));
    }
    drop(progress);
    tell(&results);
}

fn tell(results: &[(u32, usize, usize, [Times; 2])]) {
    head(&[
        "entities",
        "world MiB",
        "successor's mapping",
        "killed in mid tick",
        "kill to death",
        "death to awake",
        "take over",
        "first tick",
        "**death to commit**",
        "a later tick",
    ]);
    for (entities, runs, megabytes, times) in results {
        for (name, t) in ["populated", "untouched"].into_iter().zip(times) {
            let series = [&t.dying, &t.waking, &t.taking, &t.first_tick, &t.total, &t.later_tick];
            let mut cells =
                vec![entities.to_string(), megabytes.to_string(), name.to_owned(), format!("{} of {runs}", t.in_mid_tick)];
            cells.extend(series.map(|s| s.show(1.0, 2)));
            row(&cells);
        }
    }
    println!();
    let (_, _, _, [populated, _]) = results.iter().find(|r| r.0 == TARGET_ENTITIES).expect("one of the sizes");
    let what = format!("death to first commit, {TARGET_ENTITIES} entities, successor populated");
    verdict(&what, &populated.total, " ms", Target::AtMost(TARGET_MS));
    let beyond = Series(populated.total.0.iter().zip(&populated.later_tick.0).map(|(total, tick)| total - tick).collect());
    println!("of it beyond a tick that the zone takes anyway: {} ms", beyond.show(1.0, 2));
}

/// One owner, one death, one successor. Returns the world's bytes.
fn run(entities: u32, mapping: Mapping, seed: u64, times: &mut Times) -> usize {
    let instance = Instance::new(entities);
    let board = Shared::<Board>::zeroed();
    let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).expect("an eventfd");
    let successor = fork("successor", || {
        pin(1);
        practise();
        let attached = instance.attach(mapping == Mapping::Populated);
        board.successor_ready.store(1, Ordering::Release);
        rustix::io::read(&wake, &mut [0u8; 8]).expect("the grant");
        board.woken_ns.store(now_ns(), Ordering::Relaxed);
        let mut zone = attached.start(2);
        board.taken_ns.store(now_ns(), Ordering::Relaxed);
        attached.step(&mut zone);
        board.committed_ns.store(now_ns(), Ordering::Relaxed);
        (0..TICKS_AFTER).for_each(|_| attached.step(&mut zone));
        let began = board.committed_ns.load(Ordering::Relaxed);
        board.later_tick_ns.store((now_ns() - began) / TICKS_AFTER, Ordering::Relaxed);
    });
    let owner = fork("owner", || {
        pin(0);
        let attached = instance.attach(true);
        let mut zone = attached.start(1);
        loop {
            let began = now_ns();
            attached.step(&mut zone);
            board.owner_tick_ns.store(now_ns() - began, Ordering::Relaxed);
            board.owner_ticks.fetch_add(1, Ordering::Release);
        }
    });
    let attached = instance.attach(false);
    while board.owner_ticks.load(Ordering::Acquire) < TICKS_BEFORE || board.successor_ready.load(Ordering::Acquire) == 0 {
        assert!(!owner.is_dead() && !successor.is_dead(), "owner and successor live");
        rest(1_000_000);
    }
    // Anywhere in the tick under way: a fraction of the last one's time.
    rest(board.owner_tick_ns.load(Ordering::Relaxed) * fraction_of_256(seed) / 256);
    let kill_ns = now_ns();
    owner.kill();
    owner.wait_dead();
    let dead_ns = now_ns();
    let in_mid_tick = attached.last_tick().1;
    rustix::io::write(&wake, &1u64.to_ne_bytes()).expect("the grant");
    join(vec![successor]);
    drop(owner);
    attached.check();
    let at = |word: &AtomicU64| word.load(Ordering::Acquire);
    let ms = |from: u64, to: u64| (to - from) as f64 * 1e-6;
    let (woken, taken, committed) = (at(&board.woken_ns), at(&board.taken_ns), at(&board.committed_ns));
    times.in_mid_tick += usize::from(in_mid_tick);
    times.dying.push(ms(kill_ns, dead_ns));
    times.waking.push(ms(dead_ns, woken));
    times.taking.push(ms(woken, taken));
    times.first_tick.push(ms(taken, committed));
    times.total.push(ms(dead_ns, committed));
    times.later_tick.push(at(&board.later_tick_ns) as f64 * 1e-6);
    instance.world_bytes()
}

/// Opens, steps and takes over a small zone, so that the successor's code and heap are warm.
fn practise() {
    let instance = Instance::new(PRACTICE_ENTITIES);
    let attached = instance.attach(true);
    for epoch in 1..3 {
        let mut zone = attached.start(epoch);
        (0..TICKS_BEFORE).for_each(|_| attached.step(&mut zone));
    }
}

/// A number below 256 that looks like none of its neighbours.
fn fraction_of_256(seed: u64) -> u64 {
    (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
}

fn rest(ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(ns));
}
