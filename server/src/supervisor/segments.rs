//! The instance's segments as the supervisor has them, and what an earlier run left of its own.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::limits::{EXTENT_BYTES, MIN_INBOX_BYTES};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, leftovers};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use tracing::info;

use super::errors::UpError;
use crate::config::Config;
use crate::limits::{FRONTENDS_MAX, LEFTOVER_PATIENCE_MS, SIMS_MAX};

/// All segments of the instance. Only the directory is mapped for writing: the others have writers of their own.
/// Dropping this removes them.
pub(super) struct Segments {
    /// Processes, matches, schema, mailboxes.
    pub(super) directory: Segment,
    /// The same, for front-ends to inherit.
    pub(super) directory_file: File,
    /// Control blocks and arena.
    pub(super) world: World,
    /// The same, for front-ends to inherit.
    pub(super) world_file: File,
    /// Players' records.
    pub(super) inbox: Segment,
    /// The front-ends' own, by slot.
    pub(super) frontends: Vec<Segment>,
    /// The sims' own, by slot.
    pub(super) sims: Vec<Segment>,
    _created: Created,
}

/// Removes the files that it lists.
struct Created {
    instance: String,
    paths: Vec<PathBuf>,
}

impl Drop for Created {
    fn drop(&mut self) {
        for path in &self.paths {
            // One that is gone already is what we want.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Created {
    /// Creates a segment, to be removed with the others.
    fn add(&mut self, spec: SegmentSpec) -> Result<Segment, SegmentError> {
        let segment = Segment::create(&self.instance, spec)?;
        self.paths.push(spec.path(&self.instance));
        Ok(segment)
    }

    /// Creates a segment for others to write, and maps it for reading.
    fn add_for_others(&mut self, spec: SegmentSpec) -> Result<Segment, SegmentError> {
        self.add(spec)?;
        Segment::open(&self.instance, spec, Access::ReadOnly)
    }
}

impl Segments {
    /// Creates every segment of a configuration, or none.
    pub(super) fn create(config: &Config) -> Result<Segments, SegmentError> {
        let instance = &config.instance;
        let mut created = Created { instance: instance.clone(), paths: Vec::new() };
        let world_spec = SegmentSpec::world((u64::from(config.arena_mib) << 20) / EXTENT_BYTES as u64);
        let inbox_bytes = u64::from(config.inbox_mib) << 20;
        // The largest first: it is the one that /dev/shm may have no room for.
        let world = created.add_for_others(world_spec)?;
        let inbox = created.add_for_others(SegmentSpec::inbox(SegmentKind::InboxNet, inbox_bytes))?;
        created.add_for_others(SegmentSpec::inbox(SegmentKind::InboxSys, MIN_INBOX_BYTES))?;
        let directory = created.add(SegmentSpec::DIRECTORY)?;
        let mut workers = |kind, count| -> Result<Vec<Segment>, SegmentError> {
            (0..count).map(|slot| created.add_for_others(SegmentSpec::worker(kind, slot))).collect()
        };
        let frontends = workers(SegmentKind::Frontend, config.frontends)?;
        let sims = workers(SegmentKind::Sim, config.sims)?;
        Ok(Segments {
            directory_file: directory.read_only_file(instance, SegmentSpec::DIRECTORY)?,
            directory,
            world_file: world.read_only_file(instance, world_spec)?,
            world: World::new(world),
            inbox,
            frontends,
            sims,
            _created: created,
        })
    }
}

/// Removes what an earlier run of the instance left in shared memory, unless one of its processes still lives. Only for
/// the holder of the instance's lock.
pub(super) fn remove_leftovers(instance: &str) -> Result<(), UpError> {
    let found = leftovers(instance);
    if found.is_empty() {
        return Ok(());
    }
    let until = Instant::now() + Duration::from_millis(LEFTOVER_PATIENCE_MS);
    // The workers of a killed supervisor are killed by the kernel, which may take a moment.
    while let Some(pid) = live_process(instance) {
        if Instant::now() >= until {
            return Err(UpError::LeftoverLives { instance: instance.to_owned(), pid });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for path in &found {
        std::fs::remove_file(path).map_err(|source| UpError::LeftoverStays { path: path.clone(), source })?;
    }
    info!("removed {} segments that an earlier run of instance \"{instance}\" left behind", found.len());
    Ok(())
}

/// A process that claims a segment of the instance and lives. What can't be attached is of another build, and says nothing.
fn live_process(instance: &str) -> Option<u32> {
    let open = |spec| Segment::open(instance, spec, Access::ReadOnly).ok();
    let mut claims = Vec::new();
    if let Some(directory) = open(SegmentSpec::DIRECTORY) {
        let header = directory.header();
        claims.push(ProcessId { pid: header.creator_pid, start_time: header.creator_start });
        claims.extend(Directory::new(&directory).workers().map(|w| ProcessId { pid: w.pid, start_time: w.start_time }));
    }
    for (kind, slots) in [(SegmentKind::Frontend, FRONTENDS_MAX), (SegmentKind::Sim, SIMS_MAX)] {
        let own = (0..slots).filter_map(|slot| open(SegmentSpec::worker(kind, slot)));
        claims.extend(own.map(|segment| WorkerPage::new(&segment).claimed_by()));
    }
    claims.into_iter().find(|claim| claim.is_alive()).map(|claim| claim.pid)
}
