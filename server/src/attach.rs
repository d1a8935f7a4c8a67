//! A running instance seen from outside: its segments, attached read-only by name. Every reading command goes through here,
//! and so works while supervisor, sims and front-ends are hung, stopped or dead.

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{InstanceEntry, Role, SegmentKind};
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use ringfort_shm_state::world::World;

use crate::limits::FRONTEND_STANDBY;

/// Why an instance can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// There is none of that name.
    #[error(
        "instance \"{instance}\" is not running; start it with `ringfort up --instance {instance}`, or name another with --instance"
    )]
    NotRunning {
        /// Which instance.
        instance: String,
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
    pub world: World,
    /// Players' records.
    pub inbox: Segment,
}

impl Attached {
    /// Attaches an instance.
    pub fn open(name: &str) -> Result<Attached, AttachError> {
        let open = |spec| Segment::open(name, spec, Access::ReadOnly);
        let directory = open(SegmentSpec::DIRECTORY).map_err(|error| match error {
            SegmentError::Missing { .. } => AttachError::NotRunning { instance: name.to_owned() },
            other => AttachError::Segment(other),
        })?;
        let instance = Directory::new(&directory).instance();
        let instance = instance.ok_or_else(|| AttachError::Starting { instance: name.to_owned() })?;
        let world = World::new(open(SegmentSpec::world(0))?);
        let inbox = open(SegmentSpec::inbox(SegmentKind::InboxNet, 0))?;
        Ok(Attached { name: name.to_owned(), instance, directory, world, inbox })
    }

    /// A worker's own segment; `None` when the role has none, or it can't be read.
    pub fn worker(&self, role: Role, slot: u32) -> Option<Segment> {
        let kind = match role {
            Role::Frontend => SegmentKind::Frontend,
            Role::Standby if slot == FRONTEND_STANDBY => SegmentKind::Frontend,
            Role::Sim | Role::Standby => SegmentKind::Sim,
            Role::Hook => SegmentKind::Hook,
            Role::Supervisor => return None,
        };
        Segment::open(&self.name, SegmentSpec::worker(kind, slot), Access::ReadOnly).ok()
    }
}
