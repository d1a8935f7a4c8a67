//! Who lives, and what a worker says of itself.

use std::process::{Command, Stdio};

use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::limits::{MAX_COUNTERS, MAX_ZONES};
use ringfort_shm_state::process::{ProcessId, state};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use ringfort_shm_state::worker::{Quantiles, TickHistogram, WorkerPage};

use super::Instance;

#[test]
fn a_zombie_and_a_later_process_of_the_same_id_are_dead() {
    let me = ProcessId::current();
    assert!(me.is_alive() && me.start_time > 0);
    assert!(!ProcessId { start_time: me.start_time + 1, ..me }.is_alive());
    assert!(!ProcessId { pid: 0, start_time: 0 }.is_alive());
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    assert!(state(child.id()).is_some());
    child.kill().expect("a child of ours");
    // Its output closes when it has died; until it is waited for it is a zombie.
    let _ = std::io::Read::read(child.stdout.as_mut().expect("piped"), &mut [0]);
    while state(child.id()) != Some('Z') {
        std::thread::yield_now();
    }
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("a zombie's");
    let start_time = stat.rsplit_once(')').and_then(|(_, f)| f.split_whitespace().nth(19)?.parse().ok()).expect("field 22");
    assert!(!ProcessId { pid: child.id(), start_time }.is_alive());
    child.wait().expect("a child of ours");
    assert_eq!(state(child.id()), None);
}

#[test]
fn a_worker_page_tells_others_what_the_worker_wrote() {
    let instance = Instance::new();
    let spec = SegmentSpec::worker(SegmentKind::Sim, 2);
    let own = Segment::create(&instance.0, spec).expect("a segment");
    let other = Segment::open(&instance.0, spec, Access::ReadOnly).expect("the same");
    let (own, other) = (WorkerPage::new(&own), WorkerPage::new(&other));
    own.claim();
    assert_eq!(other.claimed_by(), ProcessId::current());
    own.beat(123);
    own.saw_generation(4);
    own.add(MAX_COUNTERS - 1, 5);
    own.add(MAX_COUNTERS - 1, 6);
    assert_eq!((other.heartbeat(), other.seen_generation(), other.counter(MAX_COUNTERS - 1)), (123, 4, 11));

    let zone = MAX_ZONES - 1;
    assert_eq!(other.quantiles(zone, 9, TickHistogram::Took), None);
    own.reset_histograms(zone, 9);
    assert_eq!(other.quantiles(zone, 9, TickHistogram::Took), Some(Quantiles::default()));
    (0..100).for_each(|us| own.record(zone, TickHistogram::Took, us));
    own.record(zone, TickHistogram::Took, u64::MAX);
    let took = other.quantiles(zone, 9, TickHistogram::Took).expect("this match's");
    assert_eq!((took.count, took.max), (101, u64::MAX));
    assert!((50..=56).contains(&took.p50) && (99..=112).contains(&took.p99), "{took:?}");
    assert_eq!(other.quantiles(zone, 9, TickHistogram::Late).map(|q| q.count), Some(0));
    own.reset_histograms(zone, 10);
    assert_eq!(other.quantiles(zone, 9, TickHistogram::Took), None);
    assert_eq!(other.quantiles(zone, 10, TickHistogram::Took).map(|q| q.count), Some(0));
}
