//! What the snapshots of a commit cost a front-end: microseconds of processor time and bytes for each client, with as many clients as entities.

mod herd;

use ringfort::protocol::client_world::ClientWorld;
use ringfort::protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort::simulator::Watchers;
use ringfort_bench::child::pin;
use ringfort_bench::report::{Target, head, machine, row, verdict};
use ringfort_bench::stats::Series;

use rustix::time::{ClockId, clock_gettime};

use herd::{HZ, Place, SLOT, description};

/// Clients and entities, fewer and more of them.
const SIZES: [u32; 3] = [500, 2_000, 7_000];
/// Ticks before the measured ones: everybody has all that is around it by then.
const WARM: u32 = 20;
/// Ticks that are measured.
const TICKS: u32 = 40;
/// Ticks from a snapshot to its acknowledgement.
const ACK_TICKS: u32 = 2;
/// Side of the squares in whose order clients are served, in metres.
const SQUARE: f32 = 80.0;

#[derive(Default)]
struct Times {
    refresh: Series,
    build: Series,
    acknowledge: Series,
    records: Series,
    bytes: Series,
}

/// A match of so many entities, each looked at by a client of its own, in the order of their indices or of where they are.
fn run(count: u32, ordered: bool, times: &mut Times) -> usize {
    let mut place = Place::new(count);
    let mut watchers = Watchers::new(SLOT, description(count), HZ, count);
    let mut client = ClientWorld::new(description(count).wire.clone(), count);
    for tick in 0..WARM + TICKS {
        place.step();
        let began = cpu_ns();
        let at = watchers.refresh(&place.world);
        let refreshed = cpu_ns();
        if ordered && tick % 10 == 0 {
            watchers.order_by(|x, y| ((y / SQUARE).floor() as i32, (x / SQUARE).floor() as i32));
        }
        let (before, began_build) = (watchers.records(), cpu_ns());
        let bytes = watchers.build(MAX_SNAPSHOT_BYTES);
        let built = cpu_ns();
        watchers.acknowledge(at.saturating_sub(ACK_TICKS));
        let acknowledged = cpu_ns();
        if tick < WARM {
            continue;
        }
        let each = |ns: u64| ns as f64 * 1e-3 / f64::from(count);
        times.refresh.push(each(refreshed - began));
        times.build.push(each(built - began_build));
        times.acknowledge.push(each(acknowledged - built));
        times.records.push((watchers.records() - before) as f64 / f64::from(count));
        times.bytes.push(bytes as f64 / f64::from(count));
    }
    // A figure of a wrong snapshot is none: a client that comes now gets what is around it.
    let each = watchers.bytes_each();
    let mut late = Watchers::new(SLOT, description(count), HZ, 1);
    late.refresh(&place.world);
    let looked = late.look(0, &mut client, MAX_SNAPSHOT_BYTES);
    assert!(looked.entities > 0 && looked.entities == looked.records, "a newcomer gets what is around it: {looked:?}");
    each
}

/// Processor time of this thread, so that what else the machine does is not counted.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn main() {
    println!("# snapshot: microseconds for each client and tick\n\n{}", machine());
    pin(0);
    println!(
        "{TICKS} ticks at {HZ} Hz, median (least .. greatest). As many clients as entities, all of which walk; each sees those within 80 m,\n\
         about 60. Snapshots are acknowledged {ACK_TICKS} ticks later. Refresh: the mirror, the encoding of all rows and the grid, shared out\n\
         among the clients. Bytes of memory: what the front-end keeps for a client beside its connection.\n"
    );
    head(&["clients and entities", "served in the order of", "refresh", "build", "acknowledge", "records", "bytes", "memory"]);
    let mut last = Times::default();
    for count in SIZES {
        for ordered in [false, true] {
            let mut times = Times::default();
            let memory = run(count, ordered, &mut times);
            let order = if ordered { "place" } else { "index" };
            let figures = [&times.refresh, &times.build, &times.acknowledge].map(|series| series.show(1.0, 2));
            let [refresh, build, acknowledge] = figures;
            let (records, bytes) = (times.records.show(1.0, 1), times.bytes.show(1.0, 0));
            row(&[count.to_string(), order.to_owned(), refresh, build, acknowledge, records, bytes, memory.to_string()]);
            last = times;
        }
    }
    println!();
    verdict("a snapshot among 7,000, served by place", &last.build, " us", Target::AtMost(2.0));
}
