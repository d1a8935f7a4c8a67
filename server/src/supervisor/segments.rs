//! The instance's segments as the supervisor has them: made for this run, or gone on with from an earlier one.

use std::fs::File;
use std::path::PathBuf;

use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::limits::{EXTENT_BYTES, MIN_INBOX_BYTES};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, leftovers};
use ringfort_shm_state::world::World;

use crate::config::Config;
use crate::limits::{FRONTEND_STANDBY, STANDBY_SIMS};

/// All segments of the instance. Only the directory is mapped for writing: the others have writers of their own.
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
    /// That of the front-end that stands by.
    pub(super) standby: Segment,
    /// The sims' own, by slot.
    pub(super) sims: Vec<Segment>,
    /// The hook process's own, if there is to be one.
    pub(super) hooks: Vec<Segment>,
    /// The admin process's own, if there is to be one.
    pub(super) admin: Option<Segment>,
    files: Files,
}

/// The segments' files, and what becomes of them.
struct Files {
    instance: String,
    start: Start,
    paths: Vec<PathBuf>,
    /// Whether dropping this removes them.
    doomed: bool,
}

/// What is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing.
    Anew,
    /// What all share.
    Resumes,
    /// That, and the workers' own, which live or have died since.
    Adopts,
}

impl Drop for Files {
    fn drop(&mut self) {
        // The directory, which says by now that the instance stops, goes after the world: whoever is killed here leaves nothing that
        // could be taken for a damaged run.
        for path in self.paths.iter().filter(|_| self.doomed) {
            // One that is gone already is what we want.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Files {
    /// Creates a segment for others to write, and maps it for reading.
    fn own(&mut self, spec: SegmentSpec) -> Result<Segment, SegmentError> {
        if self.start == Start::Adopts {
            match Segment::open(&self.instance, spec, Access::ReadOnly) {
                Ok(segment) => {
                    self.paths.push(spec.path(&self.instance));
                    return Ok(segment);
                }
                // There is none, or its creator was killed over it.
                Err(SegmentError::Missing { .. } | SegmentError::Mismatch { .. }) => {
                    let _ = std::fs::remove_file(spec.path(&self.instance));
                }
                // It may be that of a worker that lives.
                Err(error) => return Err(error),
            }
        }
        Segment::create(&self.instance, spec)?;
        self.paths.push(spec.path(&self.instance));
        Segment::open(&self.instance, spec, Access::ReadOnly)
    }

    /// Attaches a segment that all share, and creates it before unless the earlier run did.
    fn shared(&mut self, spec: SegmentSpec, access: Access) -> Result<Segment, SegmentError> {
        if self.start == Start::Anew {
            Segment::create(&self.instance, spec)?;
        }
        self.paths.push(spec.path(&self.instance));
        Segment::open(&self.instance, spec, access)
    }
}

impl Segments {
    /// Every segment of a configuration: those that are not there already are made. Of a new run what was made is removed again
    /// unless [`Segments::keep`] is called; what was there stays.
    pub(super) fn make(config: &Config, start: Start) -> Result<Segments, SegmentError> {
        let instance = &config.instance;
        let mut files = Files { instance: instance.clone(), start, paths: Vec::new(), doomed: start == Start::Anew };
        let world_spec = SegmentSpec::world((u64::from(config.arena_mib) << 20) / EXTENT_BYTES as u64);
        let inbox_bytes = u64::from(config.inbox_mib) << 20;
        // The largest first: it is the one that /dev/shm may have no room for. The directory last: it says that all are there.
        let world = files.shared(world_spec, Access::ReadOnly)?;
        let inbox = files.shared(SegmentSpec::inbox(SegmentKind::InboxNet, inbox_bytes), Access::ReadOnly)?;
        files.shared(SegmentSpec::inbox(SegmentKind::InboxSys, MIN_INBOX_BYTES), Access::ReadOnly)?;
        let directory = files.shared(SegmentSpec::DIRECTORY, Access::ReadWrite)?;
        let mut workers = |kind, count| -> Result<Vec<Segment>, SegmentError> {
            (0..count).map(|slot| files.own(SegmentSpec::worker(kind, slot))).collect()
        };
        let frontends = workers(SegmentKind::Frontend, config.frontends)?;
        let sims = workers(SegmentKind::Sim, config.sims + STANDBY_SIMS)?;
        let hooks = workers(SegmentKind::Hook, config.hooks.is_some().into())?;
        let standby = files.own(SegmentSpec::worker(SegmentKind::Frontend, FRONTEND_STANDBY))?;
        Ok(Segments {
            directory_file: directory.read_only_file(instance, SegmentSpec::DIRECTORY)?,
            directory,
            world_file: world.read_only_file(instance, world_spec)?,
            world: World::new(world),
            inbox,
            frontends,
            standby,
            sims,
            hooks,
            admin: None,
            files,
        })
    }

    /// A front-end's own, or that of the one that stands by.
    pub(super) fn frontend(&self, slot: u32) -> &Segment {
        if slot == FRONTEND_STANDBY { &self.standby } else { &self.frontends[slot as usize] }
    }

    /// Makes the segment of one more front-end.
    pub(super) fn add_frontend(&mut self, slot: u32) -> Result<(), SegmentError> {
        let segment = self.files.own(SegmentSpec::worker(SegmentKind::Frontend, slot))?;
        self.frontends.push(segment);
        Ok(())
    }

    /// Removes the segment of the last front-end, whose process has ended.
    pub(super) fn remove_frontend(&mut self, slot: u32) {
        self.frontends.truncate(slot as usize);
        self.remove_file(SegmentSpec::worker(SegmentKind::Frontend, slot));
    }

    fn remove_file(&mut self, spec: SegmentSpec) {
        let path = spec.path(&self.files.instance);
        self.files.paths.retain(|other| *other != path);
        // One that is gone already is what we want.
        let _ = std::fs::remove_file(path);
    }

    /// Makes the segment of the admin process.
    pub(super) fn add_admin(&mut self) -> Result<(), SegmentError> {
        self.admin = Some(self.files.own(SegmentSpec::worker(SegmentKind::Admin, 0))?);
        Ok(())
    }

    /// Makes the segment of one more sim.
    pub(super) fn add_sim(&mut self, slot: u32) -> Result<(), SegmentError> {
        let segment = self.files.own(SegmentSpec::worker(SegmentKind::Sim, slot))?;
        self.sims.push(segment);
        Ok(())
    }

    /// Removes the segment of the last sim, whose process has ended.
    pub(super) fn remove_sim(&mut self, slot: u32) {
        self.sims.truncate(slot as usize);
        self.remove_file(SegmentSpec::worker(SegmentKind::Sim, slot));
    }

    /// Whether an earlier run is gone on with.
    pub(super) fn resumed(&self) -> bool {
        self.files.start != Start::Anew
    }

    /// Removes segments of slots that there are no more: whoever ended their processes was killed over it.
    pub(super) fn remove_others(&self) {
        for path in leftovers(&self.files.instance).into_iter().filter(|path| !self.files.paths.contains(path)) {
            // One that is gone already is what we want.
            let _ = std::fs::remove_file(path);
        }
    }

    /// From here on the segments outlive whatever ends the supervisor, so that the next can go on with them.
    pub(super) fn keep(&mut self) {
        self.files.doomed = false;
    }

    /// The run is over: nothing of it stays.
    pub(super) fn remove(mut self) {
        self.files.doomed = true;
    }
}
