//! The segments of a run: a world with a small arena and an inbox a zone, under a name that no other run uses.

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::limits::MIN_INBOX_BYTES;
use ringfort_shm_state::memory::Memory;
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, leftovers};
use ringfort_shm_state::world::World;

use crate::shared::{Notes, ZONES};

/// Extents of the arena: less than both zones need when they burst at the same time.
pub const EXTENTS: u64 = 62;
/// The world.
pub const WORLD: SegmentSpec = SegmentSpec::world(EXTENTS);
/// The inboxes.
pub const INBOX: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxNet, ZONES as u64 * MIN_INBOX_BYTES);
/// Begins the name of every instance of these tests.
const NAME: &str = "kills-";

/// An instance, removed when it is dropped.
pub struct Instance {
    /// Its name.
    pub name: String,
    /// What its processes share beside it.
    pub notes: &'static Notes,
}

/// What a process of the instance has attached.
pub struct Attached {
    /// The world.
    pub world: Rc<World>,
    /// The inboxes' segment.
    pub inboxes: Segment,
}

impl Instance {
    /// Names an instance of which nothing exists yet.
    pub fn named(what: &str, notes: &'static Notes) -> Self {
        Self { name: format!("{NAME}{}-{what}", std::process::id()), notes }
    }

    /// Creates an instance's segments.
    pub fn create(what: &str) -> Self {
        let instance = Self::named(what, Notes::new());
        for spec in [WORLD, INBOX] {
            Segment::create(&instance.name, spec).unwrap_or_else(|e| panic!("{e}"));
        }
        instance.notes.zones.iter().for_each(|z| z.incarnation.store(1, Ordering::Relaxed));
        instance
    }

    /// Attaches it, as every process does for itself.
    pub fn attach(&self, world: Access, inboxes: Access) -> Attached {
        let open = |spec, access| Segment::open(&self.name, spec, access).unwrap_or_else(|e| panic!("{e}"));
        Attached { world: Rc::new(World::new(open(WORLD, world))), inboxes: open(INBOX, inboxes) }
    }
}

impl Attached {
    /// A zone's inbox.
    pub fn inbox(&self, zone: usize) -> Inbox {
        Inbox::new(self.inboxes.memory(), zone, zone as u64 * MIN_INBOX_BYTES, MIN_INBOX_BYTES).expect("an area of the segment")
    }

    /// The memory that the inboxes lie in.
    pub fn memory(&self) -> &Memory {
        self.inboxes.memory()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        leftovers(&self.name).iter().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

/// Removes files of these tests in /dev/shm whose process does not live.
pub fn remove_leftovers_of_the_dead() {
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|n| n.strip_prefix("ringfort.")?.strip_prefix(NAME)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| ProcessId::of(pid).is_none()) {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(&name));
        }
    }
}

/// Files in /dev/shm of this process' instances.
pub fn segments_left() -> u64 {
    let prefix = format!("ringfort.{NAME}{}-", std::process::id());
    let names = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten().map(|e| e.file_name());
    names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(&prefix))).count() as u64
}
