//! What a commit and a mirror's refresh cost for each page that a tick touched, beside a bare copy of as many pages.
//!
//! The owner writes one row in each page and commits; a reader with a read-only mapping of its own then refreshes its mirror. Both are
//! this process, on one core: what is measured is work, not waiting.

mod bare;

use std::rc::Rc;

use ringfort_bench::child::pin;
use ringfort_bench::progress::Progress;
use ringfort_bench::report::{Target, head, machine, row, verdict};
use ringfort_bench::rows::{Layout, SLOT, Zone};
use ringfort_bench::shared::{Unnamed, now_ns, populate};
use ringfort_bench::stats::Series;
use ringfort_shm_state::limits::{EXTENT_PAGES, WINDOW};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::{Access, SegmentSpec};
use ringfort_shm_state::world::World;

use bare::{Bare, MANY};

/// Entities of the small and of the large world.
const SIZES: [u32; 2] = [1_000, 1_000_000];
/// Pages that a tick touches in both.
const FEW: u32 = 16;
/// Rounds, in each of which every case has a turn.
const ROUNDS: usize = 15;
/// Ticks of a turn that touches few pages.
const TICKS_OF_FEW: u32 = 2_000;
/// Ticks of a turn that touches many.
const TICKS_OF_MANY: u32 = 3;

/// A world with a filled zone, its owner and a reader.
struct Place {
    zone: Zone,
    layout: Layout,
    reader: World,
    mirror: Mirror,
}

/// Nanoseconds of a page in a turn.
#[derive(Default)]
struct Times {
    touch: Series,
    commit: Series,
    both: Series,
    refresh: Series,
}

impl Place {
    fn new(entities: u32, most_touched: u32) -> Self {
        let layout = Layout::new(entities);
        let pages =
            layout.pages + (most_touched + most_touched.div_ceil(256) + 4) * (WINDOW as u32 + 4) + layout.pages.div_ceil(256);
        let unnamed = Unnamed::create(SegmentSpec::world(u64::from(pages).div_ceil(EXTENT_PAGES as u64) + 64));
        let [owner, reader] = [Access::ReadWrite, Access::ReadOnly].map(|access| {
            let segment = unnamed.attach(access);
            populate(segment.memory());
            World::new(segment)
        });
        let zone = Zone::fill(&Rc::new(owner), &layout);
        let mut mirror = Mirror::new(SLOT);
        mirror.refresh(&reader).expect("the zone is readable");
        Self { zone, layout, reader, mirror }
    }

    /// Ticks that touch so many pages, every so-many-eth one.
    fn turn(&mut self, ticks: u32, pages: u32, stride: u32, times: &mut Times) {
        let (rows, last) = (self.layout.wide.per_page * stride, self.layout.wide.per_page - 1);
        assert!((pages - 1) * rows < self.layout.wide.rows, "the table has so many pages");
        let (mut touch, mut commit, mut refresh) = (0, 0, 0);
        for _ in 0..ticks {
            let began = now_ns();
            for page in 0..pages {
                self.zone.wide.get_mut((page * rows + last).min(self.layout.wide.rows - 1)).expect("every row is there").0[0] +=
                    1;
            }
            let touched = now_ns();
            self.zone.commit().expect("the arena has room");
            let committed = now_ns();
            self.mirror.refresh(&self.reader).expect("the zone is readable");
            refresh += now_ns() - committed;
            (touch, commit) = (touch + touched - began, commit + committed - touched);
            assert_eq!(self.mirror.changes().len(), pages as usize, "the mirror has taken each changed page");
        }
        let each = |ns: u64| ns as f64 / f64::from(ticks * pages);
        times.touch.push(each(touch));
        times.commit.push(each(commit));
        times.both.push(each(touch + commit));
        times.refresh.push(each(refresh));
    }
}

fn main() {
    println!("# commit: nanoseconds for each page that a tick touches\n\n{}", machine());
    pin(0);
    println!(
        "{ROUNDS} rounds, median (least .. greatest). Touching a page copies it; a commit hashes the copy, tells by that whether it differs\n\
         from its predecessor, and publishes it; a refresh copies it into a reader's memory. Columns of skirmish, the entity table, and\n\
         rows of 64 bytes, the last of which is written in each page. Turns touch the same pages again: few stay in the cache but for the\n\
         copies, which go round the window of {WINDOW} roots; {MANY} pages are 39 MiB a tick and 1.3 GiB a window, cold wherever they\n\
         were written a window ago. Every page of the mappings is populated.\n"
    );
    let mut progress = Progress::new(2 + ROUNDS * 5);
    let mut places = [(SIZES[0], FEW), (SIZES[1], MANY)].map(|(entities, most)| {
        progress.next(&format!("a world of {entities} entities"));
        Place::new(entities, most)
    });
    let mut bare = Bare::new();
    let apart = places[1].layout.wide.pages() / FEW;
    let mut few = [Times::default(), Times::default(), Times::default()];
    let (mut many, mut copy) = (Times::default(), Series::default());
    bare.turn(WINDOW as u32 + 4);
    places[1].turn(WINDOW as u32 + 4, MANY, 1, &mut Times::default());
    for _ in 0..ROUNDS {
        for ((place, stride), times) in [(0, 1), (1, 1), (1, apart)].into_iter().zip(&mut few) {
            progress.next(&format!("{FEW} pages in {} entities", SIZES[place]));
            places[place].turn(WINDOW as u32 + 4, FEW, stride, &mut Times::default());
            places[place].turn(TICKS_OF_FEW, FEW, stride, times);
        }
        progress.next(&format!("{MANY} pages"));
        places[1].turn(TICKS_OF_MANY, MANY, 1, &mut many);
        progress.next("a bare copy");
        copy.push(bare.turn(TICKS_OF_MANY));
    }
    drop(progress);
    tell(&few, &many, &copy);
}

fn tell(few: &[Times; 3], many: &Times, copy: &Series) {
    head(&["pages a tick", "touch", "commit", "touch and commit", "refresh"]);
    let names = [
        format!("{FEW}, all of {} entities' rows", SIZES[0]),
        format!("{FEW} in a row, of {} entities", SIZES[1]),
        format!("{FEW} apart, each under a table page of its own, of {} entities", SIZES[1]),
        format!("{MANY}, of {} entities", SIZES[1]),
    ];
    for (name, t) in names.into_iter().zip(few.iter().chain([many])) {
        row(&[&[name][..], &[&t.touch, &t.commit, &t.both, &t.refresh].map(|s| s.show(1.0, 0))].concat());
    }
    row(&[format!("bare copy of {MANY}"), copy.show(1.0, 0), String::new(), String::new(), String::new()]);
    println!();
    let [small, large, apart] = few;
    verdict("a large world's page over a small one's, commit", &large.both.over(&small.both), "x", Target::AtMost(1.2));
    verdict("the same, refresh", &large.refresh.over(&small.refresh), "x", Target::AtMost(1.2));
    let more = |large: &Series, small: &Series| {
        let ns = large.0.iter().zip(&small.0).map(|(l, s)| (l - s) * f64::from(FEW));
        Series(ns.collect()).show(1e-3, 2)
    };
    let (commit, refresh) = (more(&large.both, &small.both), more(&large.refresh, &small.refresh));
    println!("that is, of a whole tick: {commit} us more for the commit, {refresh} us more for the refresh");
    println!("the same with pages far apart, commit: {}x", apart.both.over(&small.both).show(1.0, 2));
    println!("the same with pages far apart, refresh: {}x", apart.refresh.over(&small.refresh).show(1.0, 2));
    verdict(&format!("{MANY} pages touched and committed, over a bare copy"), &many.both.over(copy), "x", Target::AtMost(2.5));
    println!("{MANY} pages refreshed, over a bare copy: {}x", many.refresh.over(copy).show(1.0, 2));
}
