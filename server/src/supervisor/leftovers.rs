//! What an earlier run of the instance left in shared memory: to go on with, to remove, or to leave alone.
//!
//! **Invariant**: nothing is removed that somebody may have played on, unless the operator says `--fresh`; and nothing at all
//! while a process of that run lives. What others own or could write is not even read. Only for the holder of the instance's lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::fsck::{Problem, Report};
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{
    Header, InstanceEntry, MAGIC, Role, SegmentKind, Stopping, VERSION, ZoneEntry, ZoneState, layout_hash,
};
use ringfort_shm_state::limits::{EXTENT_BYTES, MAX_ZONES};
use ringfort_shm_state::process::ProcessId;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, check_private, leftovers, open_private, unpadded};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use tracing::{info, warn};
use zerocopy::FromBytes;

use super::errors::UpError;
use super::rules::{OtherRules, Rules};
use crate::config::{Config, check_match_name};
use crate::fsck::check_world;
use crate::limits::{FRONTENDS_MAX, LEFTOVER_PATIENCE_MS, LEFTOVER_POLL_MS, SIM_SLOTS_MAX};

/// What an earlier run left, judged.
#[derive(Default)]
pub(super) struct Leftovers {
    /// The run to go on with.
    pub(super) earlier: Option<Earlier>,
    /// Files that are of no more use.
    useless: Vec<PathBuf>,
}

/// A run whose directory, world and inboxes are as they should be.
pub(super) struct Earlier {
    /// Its matches; those that were over, too.
    pub(super) matches: Vec<ZoneEntry>,
    arena_mib: u32,
    inbox_mib: u32,
}

impl Earlier {
    /// What was allocated stays as it is, whatever the configuration says by now.
    pub(super) fn keep_sizes(&self, config: &mut Config) {
        for (key, wanted, found) in
            [("arena_mib", &mut config.arena_mib, self.arena_mib), ("inbox_mib", &mut config.inbox_mib, self.inbox_mib)]
        {
            if *wanted != found {
                warn!("`{key}` stays {found}, as the earlier run has it; {wanted} counts when the instance starts anew");
                *wanted = found;
            }
        }
    }
}

/// Why an earlier run can't be gone on with: what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A segment's header is another one.
    #[error("{what} of {} is {found:#x}, and this binary expects {expected:#x}", path.display())]
    Mismatch {
        /// The segment's file.
        path: PathBuf,
        /// Which field of the header.
        what: &'static str,
        /// Its value there.
        found: u64,
        /// Its value here.
        expected: u64,
    },
    /// A segment is gone.
    #[error("{} is gone or was never finished, although the run was complete", .0.display())]
    Gone(PathBuf),
    /// Matches were played that no directory lists.
    #[error("{} is gone or was never finished, although matches were played", .0.display())]
    Unlisted(PathBuf),
    /// A segment can't be read.
    #[error("{} cannot be read ({source})", path.display())]
    Unreadable {
        /// The segment's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment can't be attached.
    #[error(transparent)]
    Segment(SegmentError),
    /// It is another game, or a match is laid out or stepped otherwise.
    #[error(transparent)]
    Rules(#[from] OtherRules),
    /// The directory says something of a match that no supervisor writes.
    #[error("match \"{name}\" in slot {slot} has {what} {found} in the directory, which is damaged")]
    Entry {
        /// Which match.
        name: String,
        /// Where the directory has it.
        slot: usize,
        /// What is wrong with it.
        what: &'static str,
        /// Its value there.
        found: String,
    },
    /// The world is damaged.
    #[error("its world has {count} problems where there must be none, the first one \"{first}\" (`ringfort fsck` shows all)")]
    Damaged {
        /// How many.
        count: usize,
        /// One of them.
        first: Problem,
    },
}

impl From<SegmentError> for Unfit {
    fn from(error: SegmentError) -> Unfit {
        match error {
            SegmentError::Mismatch { path, what, found, expected } => Unfit::Mismatch { path, what, found, expected },
            other => Unfit::Segment(other),
        }
    }
}

impl Leftovers {
    /// Looks at what there is. Removes nothing yet.
    pub(super) fn find(config: &Config, rules: &Rules, fresh: bool) -> Result<Leftovers, UpError> {
        let instance = &config.instance;
        let files = leftovers(instance);
        if files.is_empty() {
            return Ok(Leftovers::default());
        }
        // Before anything is read: who put a file there that others can write may have written anything.
        files.iter().try_for_each(|path| check_private(path))?;
        await_deaths(instance, &files, &[])?;
        if fresh {
            return Ok(Leftovers { earlier: None, useless: files });
        }
        let earlier = judge(instance, rules, false);
        let earlier = earlier.map_err(|unfit| UpError::Leftovers { instance: instance.clone(), unfit })?;
        let useless = match earlier {
            // The workers' own segments hold nothing that a match needs: they are made anew, as many as there will be.
            Some(_) => files.into_iter().filter(|file| !SHARED.iter().any(|spec| *file == spec.path(instance))).collect(),
            None => files,
        };
        Ok(Leftovers { earlier, useless })
    }

    /// What was allocated stays as it is, whatever the configuration says by now.
    pub(super) fn keep_sizes(&self, config: &mut Config) {
        if let Some(earlier) = &self.earlier {
            earlier.keep_sizes(config);
        }
    }

    /// Removes what is of no more use.
    pub(super) fn clear(&self, config: &Config) -> Result<(), UpError> {
        let instance = &config.instance;
        // Looked at again: it is some time since the first look, and what is removed or written from here on does not come back.
        await_deaths(instance, &leftovers(instance), &[])?;
        if self.useless.is_empty() {
            return Ok(());
        }
        if self.earlier.is_none() {
            check_room(config, &self.useless)?;
            doom(instance);
        }
        for path in removal_order(instance, &self.useless) {
            std::fs::remove_file(path).map_err(|source| UpError::LeftoverStays { path: path.clone(), source })?;
        }
        if self.earlier.is_none() {
            info!("removed {} segments that an earlier run of instance \"{instance}\" left behind", self.useless.len());
        }
        Ok(())
    }
}

/// Whether a new run has room as soon as the files are gone: an old one is not given up for one that cannot be.
fn check_room(config: &Config, files: &[PathBuf]) -> Result<(), SegmentError> {
    let path = WORLD.path(&config.instance);
    let wanted_mib = u64::from(config.arena_mib) + u64::from(config.inbox_mib);
    let Some(Ok(system)) = path.parent().map(rustix::fs::statvfs) else { return Ok(()) };
    let freed: u64 =
        files.iter().filter_map(|file| file.symlink_metadata().ok()).map(|file| file.blocks() * STAT_BLOCK_BYTES).sum();
    let room = system.f_bavail.saturating_mul(system.f_frsize).saturating_add(freed);
    // A file system without a limit says that it has no blocks.
    if system.f_blocks > 0 && wanted_mib << 20 > room {
        return Err(SegmentError::NoRoom { path, mib: wanted_mib });
    }
    Ok(())
}

/// Says in the directory that the run stops, as an orderly stop does: whoever is killed while it removes the run leaves nothing that
/// could be taken for a damaged one.
fn doom(instance: &str) {
    // One of another version, or a damaged one, can't be told. The next start refuses it as this one would without `--fresh`.
    let Ok(segment) = Segment::open(instance, DIRECTORY, Access::ReadWrite) else { return };
    let directory = Directory::new(&segment);
    if let (Some(entry), Some(schema)) = (directory.instance(), directory.map_json()) {
        // The schema is the one that it has, so it has room.
        let _ =
            DirectoryWriter::new(&segment).publish_instance(&InstanceEntry { stopping: Stopping::Now as u32, ..entry }, &schema);
    }
}

/// The world first, as without it nothing is lost any more, and the directory last, as it says what the rest is.
fn removal_order<'f>(instance: &str, files: &'f [PathBuf]) -> Vec<&'f PathBuf> {
    let (first, last) = (WORLD.path(instance), DIRECTORY.path(instance));
    let mut files: Vec<&PathBuf> = files.iter().collect();
    files.sort_by_key(|path| (**path == last, **path != first));
    files
}

/// Bytes of a block as `stat` counts them.
const STAT_BLOCK_BYTES: u64 = 512;

/// The segments without which there is no going on.
const SHARED: [SegmentSpec; 4] = [DIRECTORY, WORLD, NET, SYS];
const DIRECTORY: SegmentSpec = SegmentSpec::DIRECTORY;
const WORLD: SegmentSpec = SegmentSpec::world(0);
const NET: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxNet, 0);
const SYS: SegmentSpec = SegmentSpec::inbox(SegmentKind::InboxSys, 0);

/// The run to go on with. `None` when nobody can have played on it, as it was killed before its directory was published; or when it
/// was killed while it removed its segments.
///
/// With `is_stepped` its sims live: the world moves meanwhile, and is not looked into.
pub(super) fn judge(instance: &str, rules: &Rules, is_stepped: bool) -> Result<Option<Earlier>, Unfit> {
    let world = whole(instance, WORLD)?.map(World::new);
    let directory = whole(instance, DIRECTORY)?;
    let published = directory.as_ref().map(Directory::new).and_then(|directory| Some((directory, directory.instance()?)));
    let Some((directory, entry)) = published else {
        let played = world.is_some_and(|world| (0..MAX_ZONES).any(|slot| world.published(slot).sequence > 0));
        return if played { Err(Unfit::Unlisted(DIRECTORY.path(instance))) } else { Ok(None) };
    };
    let (Some(world), Some(net), Some(_)) = (world, whole(instance, NET)?, whole(instance, SYS)?) else {
        let missing = || SHARED.into_iter().find(|spec| !matches!(whole(instance, *spec), Ok(Some(_)))).unwrap_or(WORLD);
        return if entry.stopping == Stopping::Now as u32 { Ok(None) } else { Err(Unfit::Gone(missing().path(instance))) };
    };
    rules.check_schema(entry.schema_hash, directory.map_json())?;
    let zones: Vec<(usize, ZoneEntry)> = directory.zones().collect();
    for (slot, entry) in &zones {
        check_entry(*slot, entry, &world, &net, rules)?;
    }
    check_areas(&zones)?;
    if !is_stepped {
        let Report { problems, .. } = check_world(&world, &zones, rules.describe);
        let count = problems.len();
        if let Some(first) = problems.into_iter().next() {
            return Err(Unfit::Damaged { count, first });
        }
    }
    Ok(Some(Earlier {
        matches: zones.into_iter().map(|(_, entry)| entry).collect(),
        arena_mib: mib(world.extents() as u64 * EXTENT_BYTES as u64),
        inbox_mib: mib(net.header().parameter),
    }))
}

/// A segment that was finished, which is refused if it is of another version; `None` when it is missing, or its creator was killed
/// before that.
pub(super) fn whole(instance: &str, spec: SegmentSpec) -> Result<Option<Segment>, Unfit> {
    match header(&spec.path(instance))? {
        Some(header) if !is_half_made(&header) => Ok(Some(Segment::open(instance, spec, Access::ReadOnly)?)),
        _ => Ok(None),
    }
}

fn mib(bytes: u64) -> u32 {
    (bytes >> 20) as u32
}

fn check_entry(slot: usize, entry: &ZoneEntry, world: &World, inbox: &Segment, rules: &Rules) -> Result<(), Unfit> {
    let name = unpadded(&entry.name);
    let wrong = |what, found| Unfit::Entry { name: name.clone(), slot, what, found };
    if check_match_name(&name).is_err() {
        return Err(wrong("the name", format!("{name:?}")));
    }
    if Inbox::new(inbox.memory(), slot, entry.inbox_offset, entry.inbox_bytes).is_none() {
        return Err(wrong("an inbox at", format!("{:#x}", entry.inbox_offset)));
    }
    // Sims have segments of their slots' numbers.
    let next = entry.next_sim.saturating_sub(1);
    if entry.owner_sim.max(next) >= SIM_SLOTS_MAX {
        return Err(wrong("as its sim", entry.owner_sim.max(next).to_string()));
    }
    // Reservations are summed up, so none may be beyond all bounds.
    if entry.extents_reserved > world.extents() as u64 {
        return Err(wrong("as number of reserved extents", entry.extents_reserved.to_string()));
    }
    if entry.state == ZoneState::Closed as u32 {
        return Ok(());
    }
    if !entry.lives() {
        return Err(wrong("the state", entry.state.to_string()));
    }
    // A sim takes what it can't read for no options at all.
    let options = unpadded(&entry.options);
    if serde_json::from_str::<BTreeMap<String, String>>(&options).is_err() {
        return Err(wrong("the options", format!("{options:?}")));
    }
    Ok(rules.check_match(entry)?)
}

/// No two matches may have a byte of the inbox segment in common. Each area by itself lies within it.
fn check_areas(zones: &[(usize, ZoneEntry)]) -> Result<(), Unfit> {
    let mut zones: Vec<&(usize, ZoneEntry)> = zones.iter().collect();
    zones.sort_by_key(|(_, entry)| entry.inbox_offset);
    match zones.windows(2).find(|two| two[0].1.inbox_offset + two[0].1.inbox_bytes > two[1].1.inbox_offset) {
        Some(two) => {
            let (slot, entry) = two[1];
            let found = format!("{:?}", unpadded(&two[0].1.name));
            Err(Unfit::Entry { name: unpadded(&entry.name), slot: *slot, what: "an inbox that overlaps the one of", found })
        }
        None => Ok(()),
    }
}

/// What stands first in a segment's file, of whatever version; `None` when there is none, or it is too short for that.
fn header(path: &Path) -> Result<Option<Header>, Unfit> {
    let mut bytes = [0; size_of::<Header>()];
    let file = match open_private(path, File::options().read(true)) {
        Err(SegmentError::Missing { .. }) => return Ok(None),
        opened => opened?,
    };
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Header::read_from_bytes(&bytes).ok()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(source) => Err(Unfit::Unreadable { path: path.to_owned(), source }),
    }
}

/// Whether a segment's creator died before anybody could use it. It fills the header from the front and then says `ready`.
fn is_half_made(header: &Header) -> bool {
    let ours = header.version == VERSION && header.layout_hash == layout_hash();
    (header.magic, header.layout_hash) == (0, 0) || header.version == 0 || (ours && header.ready == 0)
}

/// A process that says it uses a segment.
struct Claim {
    process: ProcessId,
    role: Role,
    slot: u32,
}

/// Waits until no process of the earlier run lives: the workers of a killed supervisor are killed by the kernel, which may take
/// a moment.
///
/// Those with the ids in `adopted` may live on.
pub(super) fn await_deaths(instance: &str, files: &[PathBuf], adopted: &[u32]) -> Result<(), UpError> {
    let until = Instant::now() + Duration::from_millis(LEFTOVER_PATIENCE_MS);
    loop {
        let lives = |claim: &Claim| !adopted.contains(&claim.process.pid) && claim.process.is_alive();
        let Some(claim) = claims(instance, files).into_iter().find(lives) else { return Ok(()) };
        if Instant::now() >= until {
            let Claim { process: ProcessId { pid, .. }, role, slot } = claim;
            return Err(UpError::LeftoverLives { instance: instance.to_owned(), pid, role: role.name(), slot });
        }
        std::thread::sleep(Duration::from_millis(LEFTOVER_POLL_MS));
    }
}

/// Everybody who claims a segment of the instance. Of one that can't be attached only its creator is known.
fn claims(instance: &str, files: &[PathBuf]) -> Vec<Claim> {
    let creator = |header: Header| Claim {
        process: ProcessId { pid: header.creator_pid, start_time: header.creator_start },
        role: Role::Supervisor,
        slot: 0,
    };
    let headers = files.iter().filter_map(|path| header(path).ok().flatten());
    let mut claims: Vec<Claim> = headers.filter(|header| header.magic == MAGIC).map(creator).collect();
    let open = |spec| Segment::open(instance, spec, Access::ReadOnly).ok();
    if let Some(directory) = open(SegmentSpec::DIRECTORY) {
        claims.extend(Directory::new(&directory).workers().filter_map(|entry| {
            let process = ProcessId { pid: entry.pid, start_time: entry.start_time };
            Some(Claim { process, role: Role::from_u32(entry.role)?, slot: entry.slot })
        }));
    }
    for (kind, role, slots) in [
        (SegmentKind::Frontend, Role::Frontend, FRONTENDS_MAX + 1),
        (SegmentKind::Sim, Role::Sim, SIM_SLOTS_MAX),
        (SegmentKind::Hook, Role::Hook, 1),
        (SegmentKind::Admin, Role::Admin, 1),
    ] {
        claims.extend((0..slots).filter_map(|slot| {
            let segment = open(SegmentSpec::worker(kind, slot))?;
            Some(Claim { process: WorkerPage::new(&segment).claimed_by(), role, slot })
        }));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::Skirmish;
    use ringfort_shm_state::layout::world;
    use ringfort_shm_state::limits::MIN_INBOX_BYTES;
    use ringfort_shm_state::memory::Words;
    use std::sync::atomic::Ordering;

    /// A complete run whose first match was played, and which nobody has stopped.
    fn make(instance: &str, rules: &Rules) -> Vec<PathBuf> {
        let create = |spec| Segment::create(instance, spec).unwrap();
        let world = create(SegmentSpec::world(1));
        world.memory().store(world::CONTROLS + world::PUBLISHED, 7, Ordering::Release);
        [SegmentKind::InboxNet, SegmentKind::InboxSys]
            .into_iter()
            .for_each(|kind| drop(create(SegmentSpec::inbox(kind, MIN_INBOX_BYTES))));
        create(SegmentSpec::worker(SegmentKind::Frontend, 0));
        create(SegmentSpec::worker(SegmentKind::Sim, 0));
        let entry = InstanceEntry {
            started_us: 1,
            listen_ip: [0; 16],
            listen_port: 1,
            stopping: 0,
            frontends: 1,
            sims: 1,
            map_bytes: 0,
            schema_hash: rules.schema_hash,
            log_levels: [0; 8],
        };
        DirectoryWriter::new(&create(DIRECTORY)).publish_instance(&entry, &rules.map_json).unwrap();
        leftovers(instance)
    }

    #[test]
    fn a_removal_that_is_killed_half_way_leaves_nothing_that_is_refused() {
        let instance = format!("l{}-removal", std::process::id());
        let rules = Rules::of::<Skirmish>(&Config::default());
        let count = make(&instance, &rules).len();
        leftovers(&instance).iter().for_each(|path| std::fs::remove_file(path).unwrap());
        assert_eq!(count, 6);
        for removed in 0..=count {
            let files = make(&instance, &rules);
            doom(&instance);
            removal_order(&instance, &files)[..removed].iter().for_each(|path| std::fs::remove_file(path).unwrap());
            let judged = judge(&instance, &rules, false).map(|earlier| earlier.is_some());
            leftovers(&instance).iter().for_each(|path| std::fs::remove_file(path).unwrap());
            assert_eq!(judged.map_err(|unfit| unfit.to_string()), Ok(removed == 0), "{removed} of {count} are removed");
        }
    }
}
