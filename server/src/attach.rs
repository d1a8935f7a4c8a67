//! An instance seen from outside: its segments, attached read-only by name, or as a file has them that was saved. Every reading command
//! goes through here, and so works while supervisor, sims and front-ends are hung, stopped or dead.

use std::path::Path;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{InstanceEntry, Role, SegmentKind};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, instances};
use ringfort_shm_state::world::World;

use crate::limits::{FRONTEND_STANDBY, INSTANCES_LISTED};
use crate::look::printable;
use crate::saved::{LookMemory, Moment, SavedError, SavedFile};

/// Why an instance can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none of that name.
    #[error(
        "instance \"{instance}\" is not running, and nothing of it is left; {others}; start it with `ringfort up --instance {instance}`, \
         or name another with --instance"
    )]
    NotRunning {
        /// Which instance.
        instance: String,
        /// Which there are, as a phrase.
        others: String,
    },
    /// It has only begun to start.
    #[error("instance \"{instance}\" has not finished starting; try again in a moment")]
    Starting {
        /// Which instance.
        instance: String,
    },
    /// A segment is not ours to read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The saved file is not to be read.
    #[error(transparent)]
    Saved(#[from] SavedError),
}

/// The segments of an instance, all read-only.
#[derive(Debug)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// The instance's entry in the directory.
    pub instance: InstanceEntry,
    /// Processes, matches, schema.
    pub directory: Segment,
    /// Control blocks and arena.
    pub world: World<LookMemory>,
    /// Players' records.
    pub inbox: Segment,
    /// When it is looked at, and what the kernel says of its processes then.
    pub moment: Moment,
    saved: Option<SavedFile>,
}

impl Attached {
    /// Attaches an instance that runs, or that lies in shared memory.
    pub fn open(name: &str) -> Result<Attached, AttachError> {
        let open = |spec| Segment::open(name, spec, Access::ReadOnly);
        let directory = open(SegmentSpec::DIRECTORY).map_err(|error| match error {
            SegmentError::Missing { .. } => AttachError::NotRunning { instance: name.to_owned(), others: others() },
            other => AttachError::Segment(other),
        })?;
        let instance = Directory::new(&directory).instance();
        let instance = instance.ok_or_else(|| AttachError::Starting { instance: name.to_owned() })?;
        let world = open(SegmentSpec::world(0))?;
        let extents = world.header().parameter as usize;
        let world = World::over(LookMemory::Mapped(world.into_memory()), extents);
        let inbox = open(SegmentSpec::inbox(SegmentKind::InboxNet, 0))?;
        Ok(Attached { name: name.to_owned(), instance, directory, world, inbox, moment: Moment::Now, saved: None })
    }

    /// Opens an instance that was saved to a file.
    pub fn saved(path: &Path) -> Result<Attached, AttachError> {
        let saved = SavedFile::open(path)?;
        let name = saved.about().instance.clone();
        let directory = saved.segment(SegmentSpec::DIRECTORY)?;
        let instance = Directory::new(&directory).instance().ok_or_else(|| AttachError::Starting { instance: name.clone() })?;
        let world = saved.world()?;
        let inbox = saved.segment(SegmentSpec::inbox(SegmentKind::InboxNet, 0))?;
        let moment = Moment::Saved(saved.about().moment.clone());
        Ok(Attached { name, instance, directory, world, inbox, moment, saved: Some(saved) })
    }

    /// The file that it was saved to, if it is looked at in one.
    pub fn file(&self) -> Option<&SavedFile> {
        self.saved.as_ref()
    }

    /// A worker's own segment; `None` when the role has none, or it can't be read.
    pub fn worker(&self, role: Role, slot: u32) -> Option<Segment> {
        let kind = match role {
            Role::Frontend => SegmentKind::Frontend,
            Role::Standby if slot == FRONTEND_STANDBY => SegmentKind::Frontend,
            Role::Sim | Role::Standby => SegmentKind::Sim,
            Role::Hook => SegmentKind::Hook,
            Role::Admin => SegmentKind::Admin,
            Role::Supervisor => return None,
        };
        self.segment(SegmentSpec::worker(kind, slot)).ok()
    }

    /// Another segment of the instance.
    pub fn segment(&self, spec: SegmentSpec) -> Result<Segment, AttachError> {
        match &self.saved {
            Some(saved) => Ok(saved.segment(spec)?),
            None => Ok(Segment::open(&self.name, spec, Access::ReadOnly)?),
        }
    }
}

/// The instances whose segments lie in shared memory, and whether a process of each lives, as a phrase. Any user may have put files there.
pub(crate) fn others() -> String {
    let found = instances();
    let more = found.len().saturating_sub(INSTANCES_LISTED);
    let listed: Vec<String> =
        found.iter().take(INSTANCES_LISTED).map(|name| format!("\"{}\" ({})", printable(name), how_it_is(name))).collect();
    match (listed.is_empty(), more) {
        (true, _) => "there is no instance on this machine".to_owned(),
        (false, 0) => format!("there is {}", listed.join(", ")),
        (false, more) => format!("there is {}, and {more} more", listed.join(", ")),
    }
}

/// Whether an instance runs, in a word or two.
fn how_it_is(name: &str) -> &'static str {
    match Segment::open(name, SegmentSpec::DIRECTORY, Access::ReadOnly) {
        Ok(directory) => {
            let lives = |pid, start_time| ProcessId { pid, start_time }.is_alive();
            let runs = Directory::new(&directory).workers().any(|entry| lives(entry.pid, entry.start_time));
            if runs { "runs" } else { "left behind, no process of it lives" }
        }
        Err(SegmentError::ForeignOwner { .. }) => "another user's",
        Err(_) => "cannot be read by this ringfort",
    }
}
