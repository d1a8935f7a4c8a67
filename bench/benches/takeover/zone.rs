//! The segments of an instance with one zone, and that zone as each of its processes has it.

use std::rc::Rc;

use ringfort::clock::now_us;
use ringfort::game::{Description, ZoneLimits};
use ringfort::sim::zone::{Outcome, Zone};
use ringfort::skirmish::Body;
use ringfort_bench::shared::{Unnamed, populate};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{SegmentKind, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::{EXTENT_PAGES, MIN_INBOX_BYTES, WINDOW};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, padded};
use ringfort_shm_state::world::World;
use zerocopy::FromZeros;

use crate::crowd::{Crowd, place};

/// The zone's slot.
const SLOT: usize = 0;
/// Sessions that fit; there are none.
const CAPACITY: u32 = 16;
/// How far a body may be from where it should be: half a step of its wire form, and the rounding of sums.
const TOLERANCE: f32 = 0.02;

/// The segments, and what the directory says of the zone.
pub struct Instance {
    world: Unnamed,
    inbox: Unnamed,
    directory: Unnamed,
    entities: u32,
    description: Description,
}

impl Instance {
    /// Segments with room for so many entities, all of which move.
    pub fn new(entities: u32) -> Self {
        let limits = ZoneLimits { capacity: CAPACITY, max_entities: entities, spectators: 0 };
        let description = Description::of::<Crowd>(limits).expect("the crowd fits a zone");
        // The world, and the bodies' and table pages of the window, of the tick under way and of a margin.
        let bodies = description.columns[0].pages();
        let pages = description.pages + (bodies + bodies.div_ceil(256) + 8) * (WINDOW as u32 + 4);
        let extents = u64::from(pages).div_ceil(EXTENT_PAGES as u64) + 64;
        Self {
            world: Unnamed::create(SegmentSpec::world(extents)),
            inbox: Unnamed::create(SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES)),
            directory: Unnamed::create(SegmentSpec::DIRECTORY),
            entities,
            description,
        }
    }

    /// The directory's entry with an epoch granted.
    fn entry(&self, epoch: u32) -> ZoneEntry {
        ZoneEntry {
            incarnation: 1,
            state: ZoneState::Open as u32,
            epoch,
            tick_hz: 20,
            capacity: CAPACITY,
            max_entities: self.entities,
            inbox_bytes: MIN_INBOX_BYTES,
            seed: 1,
            tables_hash: self.description.tables_hash,
            name: padded("crowd"),
            options: padded(&format!(r#"{{"entities":"{}"}}"#, self.entities)),
            ..ZoneEntry::new_zeroed()
        }
    }

    /// Maps the segments as a process of its own does, with or without having looked at every page.
    pub fn attach(&self, look: bool) -> Attached<'_> {
        let world = self.world.attach(Access::ReadWrite);
        if look {
            populate(world.memory());
        }
        let (inbox, directory) = (self.inbox.attach(Access::ReadOnly), self.directory.attach(Access::ReadOnly));
        Attached { instance: self, world: Rc::new(World::new(world)), inbox, directory }
    }

    /// Bytes of the world segment.
    pub fn world_bytes(&self) -> usize {
        use ringfort_shm_state::memory::Words;
        self.world.memory().bytes()
    }
}

/// An instance's segments in one process.
pub struct Attached<'i> {
    instance: &'i Instance,
    world: Rc<World>,
    inbox: Segment,
    directory: Segment,
}

impl Attached<'_> {
    /// Opens the zone, or takes it over.
    pub fn start(&self, epoch: u32) -> Zone<Crowd> {
        let zone = Zone::start(&self.world, self.inbox.memory(), SLOT, self.instance.entry(epoch), now_us());
        zone.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Steps the zone and publishes the tick.
    pub fn step(&self, zone: &mut Zone<Crowd>) {
        let outcome = zone.step(&self.world, self.inbox.memory(), Directory::new(&self.directory), now_us(), now_us);
        assert!(matches!(outcome, Outcome::Committed { .. }), "the tick is published: {outcome:?}");
    }

    /// Tick of the newest root, and whether its owner was in the middle of the next.
    pub fn last_tick(&self) -> (u32, bool) {
        let tick = self.world.newest(SLOT).expect("a root").head.tick;
        (tick, self.world.attempt(SLOT).is_some_and(|attempt| attempt.tick > tick))
    }

    /// Sees that every entity is where a crowd that was never interrupted would be.
    pub fn check(&self) {
        let mut mirror = Mirror::new(SLOT);
        mirror.refresh(&self.world).expect("the zone is readable");
        let tick = mirror.head().expect("refreshed").tick;
        let bodies = &self.instance.description.columns[0];
        for entity in 0..self.instance.entities {
            let row = mirror.row(bodies, entity).expect("every entity has a body");
            assert_eq!(row.len(), size_of::<Body>());
            // SAFETY: the row has the size of a body and was written as one by this same program.
            let at = unsafe { row.as_ptr().cast::<Body>().read_unaligned() }.pos;
            let should = place(entity % 100, tick);
            let off = (at.x - should.x).abs();
            assert!(off < TOLERANCE, "entity {entity} is at {} after tick {tick}, not at {}", at.x, should.x);
        }
    }
}
