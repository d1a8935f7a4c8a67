//! The inbox beside other ways to hand 64-byte messages from one process to another.
//!
//! Two processes on two cores. The clock runs from the making of the first message to the arrival of the last; every message is
//! checked to arrive once and in order.

mod alone;
mod iceoryx;
mod message;
mod pace;
mod raw_sync;
mod ringfort;
mod socket;

use ringfort_bench::child::{fork, join, pin};
use ringfort_bench::progress::Progress;
use ringfort_bench::report::{Target, head, machine, row, verdict};
use ringfort_bench::shared::Shared;
use ringfort_bench::stats::Series;

use iceoryx::PublishSubscribe;
use pace::Pace;

/// Bytes of our ring and of raw_sync's.
const RING_BYTES: u64 = 256 * 1024;
/// Messages that are handed over at once.
const BATCHES: [u64; 3] = [1, 16, 64];
/// Rounds, in each of which every contender has a turn.
const ROUNDS: usize = 15;
/// How long a turn should take, in seconds.
const TURN_SECONDS: f64 = 0.1;
/// Messages of the first turn, which only finds out how fast a contender is.
const FIRST_MESSAGES: u64 = 64 * 512;
/// What a consumer waits that found nothing.
const PAUSE_NS: u64 = 10_000;
/// Appends of a turn without a consumer.
const APPENDS_ALONE: u64 = 2_000_000;
/// Messages of a turn in which one process is both sides.
const MESSAGES_ALONE: u64 = 1_000_000;

/// Who hands messages over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Ringfort,
    RawSync,
    Socketpair,
    Iceoryx2,
    Iceoryx2Blocking,
}

impl Contender {
    const ALL: [Self; 5] = [Self::Ringfort, Self::RawSync, Self::Socketpair, Self::Iceoryx2, Self::Iceoryx2Blocking];

    fn name(self) -> &'static str {
        match self {
            Self::Ringfort => "Ringfort inbox",
            Self::RawSync => "same ring, raw_sync mutex",
            Self::Socketpair => "SOCK_SEQPACKET socketpair",
            Self::Iceoryx2 => "iceoryx2",
            Self::Iceoryx2Blocking => "iceoryx2, its own blocking",
        }
    }

    /// Messages a second of one turn.
    fn turn(self, per_batch: u64, messages: u64) -> f64 {
        let count = messages.next_multiple_of(per_batch);
        let pace = Shared::<Pace>::zeroed();
        match self {
            Self::Ringfort => {
                let ring = ringfort::Ring::new();
                run(|| ring.produce(&pace, count, per_batch), || ring.consume(&pace, count));
            }
            Self::RawSync => {
                let ring = raw_sync::Ring::new();
                run(|| ring.produce(&pace, count, per_batch), || ring.consume(&pace, count));
            }
            Self::Socketpair => {
                let pair = socket::Pair::new();
                run(|| pair.produce(&pace, count, per_batch), || pair.consume(&pace, count, per_batch));
            }
            Self::Iceoryx2 | Self::Iceoryx2Blocking => {
                let service = PublishSubscribe::new(per_batch, self == Self::Iceoryx2Blocking);
                run(|| service.produce(&pace, count), || service.consume(&pace, count));
            }
        }
        count as f64 / pace.took_ns() * 1e9
    }
}

/// Runs producer and consumer as processes on cores of their own.
fn run(produce: impl FnOnce(), consume: impl FnOnce()) {
    let producer = fork("producer", || {
        pin(0);
        produce();
    });
    let consumer = fork("consumer", || {
        pin(1);
        consume();
    });
    join(vec![producer, consumer]);
}

/// Removes what iceoryx2's processes leave when they are killed.
struct CleanUp;

impl Drop for CleanUp {
    fn drop(&mut self) {
        iceoryx::clean_up();
    }
}

fn main() {
    iceoryx::clean_up();
    let _clean_up = CleanUp;
    println!("# ring: 64-byte messages between two processes\n\n{}", machine());
    println!(
        "{ROUNDS} rounds, turns of {TURN_SECONDS} s, median (least .. greatest); producer and consumer on cores 0 and 1. A consumer\n\
         that found nothing looks again after {} us.\n\
         64 bytes of payload; Ringfort's record adds a header of 24. Our ring holds {} KiB, iceoryx2's subscriber {} messages.\n",
        PAUSE_NS / 1000,
        RING_BYTES / 1024,
        iceoryx::BUFFER_MESSAGES
    );
    let cells: Vec<(Contender, u64)> = BATCHES.iter().flat_map(|b| Contender::ALL.map(|c| (c, *b))).collect();
    let mut progress = Progress::new(cells.len() * (ROUNDS + 1) + ROUNDS);
    let mut label = |c: Contender, b: u64| progress.next(&format!("{} by {b}", c.name()));
    let first = |(c, b): &(Contender, u64)| {
        label(*c, *b);
        (c.turn(*b, FIRST_MESSAGES) * TURN_SECONDS) as u64
    };
    let messages: Vec<u64> = cells.iter().map(first).collect();
    let mut rates = vec![Series::default(); cells.len()];
    for _ in 0..ROUNDS {
        for (((contender, batch), messages), rate) in cells.iter().zip(&messages).zip(&mut rates) {
            label(*contender, *batch);
            rate.push(contender.turn(*batch, *messages));
        }
    }
    let of = |c: Contender, b: u64| &rates[cells.iter().position(|cell| *cell == (c, b)).expect("a cell")];
    table(&of);
    let alone = appends_alone(&mut progress);
    drop(progress);
    tell_alone(&alone);
    tell_targets(&of, &alone);
}

fn table<'a>(of: &impl Fn(Contender, u64) -> &'a Series) {
    head(&["million messages a second", "one by one", "batches of 16", "batches of 64"]);
    for contender in Contender::ALL {
        let cells = BATCHES.map(|batch| of(contender, batch).show(1e-6, 2));
        row(&[&[contender.name().to_owned()][..], &cells[..]].concat());
    }
}

/// Nanoseconds of a process alone. An append: ours, raw_sync's, and without a lock.
#[derive(Default)]
struct Alone {
    ours: Series,
    raw_sync: Series,
    unlocked: Series,
    /// Making and appending, and draining, by each of [`BATCHES`].
    sides: [(Series, Series); BATCHES.len()],
}

fn appends_alone(progress: &mut Progress) -> Alone {
    pin(0);
    let (ours, theirs) = (ringfort::Ring::new(), raw_sync::Ring::new());
    let mut alone = Alone::default();
    for _ in 0..ROUNDS {
        progress.next("appends alone");
        alone.ours.push(ours.append_alone(APPENDS_ALONE));
        alone.raw_sync.push(theirs.append_alone(APPENDS_ALONE, true));
        alone.unlocked.push(theirs.append_alone(APPENDS_ALONE, false));
        for (batch, (producing, consuming)) in BATCHES.into_iter().zip(&mut alone.sides) {
            let (make, drain) = ours.sides_alone(MESSAGES_ALONE, batch);
            producing.push(make);
            consuming.push(drain);
        }
    }
    alone
}

fn tell_alone(alone: &Alone) {
    println!("\nAn append of one record by a process alone, {APPENDS_ALONE} a round:\n");
    head(&["lock", "nanoseconds"]);
    for (name, series) in
        [("Ringfort's robust lock", &alone.ours), ("raw_sync's mutex", &alone.raw_sync), ("none", &alone.unlocked)]
    {
        row(&[name.to_owned(), series.show(1.0, 1)]);
    }
    println!("\nEach side of Ringfort's inbox by a process alone, {MESSAGES_ALONE} messages a round, nanoseconds a message:\n");
    head(&["", "one by one", "batches of 16", "batches of 64"]);
    let sides = |name: &str, side: fn(&(Series, Series)) -> &Series| {
        let cells = alone.sides.each_ref().map(|s| side(s).show(1.0, 1));
        row(&[&[name.to_owned()][..], &cells[..]].concat());
    };
    sides("make and append", |s| &s.0);
    sides("drain and check", |s| &s.1);
}

fn tell_targets<'a>(of: &impl Fn(Contender, u64) -> &'a Series, alone: &Alone) {
    // Of iceoryx2's two ways the one that was faster.
    let best = |batch: u64| {
        let (a, b) = (of(Contender::Iceoryx2, batch), of(Contender::Iceoryx2Blocking, batch));
        if a.median() >= b.median() { a } else { b }
    };
    let ours = |batch: u64| of(Contender::Ringfort, batch);
    println!();
    verdict("one by one, Ringfort over iceoryx2", &ours(1).over(best(1)), "x", Target::AtLeast(5.0));
    verdict("Ringfort by 64 over iceoryx2 one by one", &ours(64).over(best(1)), "x", Target::AtLeast(15.0));
    verdict("Ringfort by 64 over iceoryx2 by 64 (slices)", &ours(64).over(best(64)), "x", Target::AtLeast(15.0));
    verdict("append alone, Ringfort's time over raw_sync's", &alone.ours.over(&alone.raw_sync), "x", Target::AtMost(1.3));
    for batch in BATCHES {
        let ratio = of(Contender::RawSync, batch).over(ours(batch));
        verdict(&format!("two processes by {batch}, Ringfort's time over raw_sync's"), &ratio, "x", Target::AtMost(1.3));
    }
    for batch in BATCHES {
        println!(
            "two processes by {batch}, Ringfort over the socketpair: {}x",
            ours(batch).over(of(Contender::Socketpair, batch)).show(1.0, 1)
        );
    }
}
