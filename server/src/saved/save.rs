//! `ringfort save FILE`: all segments of an instance in one file, while it runs or after it died. No process of the instance notices.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{Ordering, fence};

use clap::Args;
use ringfort_shm_state::cell::Cell;
use ringfort_shm_state::copy::ZoneCopy;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::inbox::Inbox;
use ringfort_shm_state::layout::{
    HEADER_BYTES, Header, SegmentKind, VERSION, ZoneEntry, directory as directory_at, layout_hash, world as world_at,
};
use ringfort_shm_state::limits::{EXTENT_BYTES, JOIN_CODE_BYTES, MAX_ZONES};
use ringfort_shm_state::memory::{Memory, Words};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec, leftovers, map_raw, unpadded};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;
use serde::Serialize;

use super::write::{Row, Writer};
use super::{About, CHUNK_BYTES, LookMemory, SavedMoment, SavedSegment};
use crate::attach::others;
use crate::cli::Output;
use crate::limits::SAVE_ATTEMPTS;
use crate::look::printable;

/// Flags of `save`.
#[derive(Debug, Clone, Args)]
pub struct SaveArgs {
    /// The file; only you may read it, as it has the players' names and the hashes of their tokens
    pub file: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    pub force: bool,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// There is nothing.
    #[error("nothing of instance \"{instance}\" lies in shared memory; {others}; name another with --instance")]
    Nothing {
        /// Which instance.
        instance: String,
        /// Which there are, as a phrase.
        others: String,
    },
    /// The file is there already.
    #[error("{path} exists already; name another file, or give --force to replace it")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Something has the name that is not to be replaced.
    #[error("{path} is no regular file, and stays; name another file")]
    NotAFile {
        /// What is no file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("there is no room for {path}, after {mib} MiB of it; free some, or save to another file system")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// What was written.
        mib: u64,
    },
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What was saved.
#[derive(Debug, Serialize)]
pub struct Saved {
    /// The instance.
    pub instance: String,
    /// The file.
    pub file: PathBuf,
    /// Its segments.
    pub segments: usize,
    /// Bytes of the segments.
    pub segment_bytes: u64,
    /// Bytes of the file, without what it says about itself.
    pub file_bytes: u64,
    /// What could not be saved, or not whole; a sentence each.
    pub problems: Vec<String>,
}

impl Saved {
    /// For people.
    pub fn to_text(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Self { instance, file, segments, segment_bytes, file_bytes, problems } = self;
        let mut text: String = problems.iter().map(|problem| format!("{}\n", printable(problem))).collect();
        text += &format!(
            "saved instance \"{instance}\" to {}: {segments} segments of {:.1} MiB in {:.1} MiB; the codes of private matches are left out\n",
            file.display(),
            mib(*segment_bytes),
            mib(*file_bytes)
        );
        text
    }
}

/// Saves an instance, whatever state it is in.
pub fn save(instance: &str, path: &Path, replace: bool) -> Result<Saved, SaveError> {
    let files = leftovers(instance);
    if files.is_empty() {
        return Err(SaveError::Nothing { instance: instance.to_owned(), others: others() });
    }
    if !replace && path.exists() {
        return Err(SaveError::Exists { path: path.to_owned() });
    }
    // A directory cannot be replaced, and a device, a pipe or a link is hardly meant to be.
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(SaveError::NotAFile { path: path.to_owned() });
    }
    let mut written = 0;
    save_files(instance, path, replace, &files, &mut written).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SaveError::Exists { path: path.to_owned() },
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            SaveError::NoRoom { path: path.to_owned(), mib: written >> 20 }
        }
        _ => SaveError::Io { path: path.to_owned(), source },
    })
}

fn save_files(instance: &str, path: &Path, replace: bool, files: &[PathBuf], written: &mut u64) -> io::Result<Saved> {
    let mut saving = Saving { instance, out: Writer::begin(path)?, problems: Vec::new(), shown: None };
    let (mut segments, mut rows) = (Vec::new(), Vec::new());
    let prefix = format!("ringfort.{instance}.");
    let name_of = |file: &PathBuf| Some(file.file_name()?.to_str()?.strip_prefix(&prefix)?.to_owned());
    let names: BTreeSet<String> = files.iter().filter_map(name_of).collect();
    let moment = SavedMoment::now(pids(instance));
    for needed in [SegmentSpec::DIRECTORY, SegmentSpec::inbox(SegmentKind::InboxNet, 0), SegmentSpec::world(0)] {
        if !names.contains(&needed.name()) {
            saving.problems.push(format!("the segment {} is missing", needed.name()));
        }
    }
    let open = |spec| Segment::open(instance, spec, Access::ReadOnly);
    let directory = open(SegmentSpec::DIRECTORY).ok();
    let inbox = open(SegmentSpec::inbox(SegmentKind::InboxNet, 0)).ok();
    // The world with the inboxes that go with its roots; each where it belongs.
    let mut rings = inbox.as_ref().map(|inbox| words_of(inbox.memory()));
    for name in names.iter().filter(|name| *name != "inbox.net").chain(names.get("inbox.net")) {
        let file = Path::new("/dev/shm").join(format!("{prefix}{name}"));
        let saved = match name.as_str() {
            "world" => match open(SegmentSpec::world(0)) {
                Ok(world) => saving.world(world, directory.as_ref(), inbox.as_ref(), rings.as_deref_mut())?,
                Err(error) => saving.raw(&file, Some(error.to_string()))?,
            },
            "directory" => match &directory {
                Some(directory) => saving.words(&directory_words(directory.memory()))?,
                None => {
                    let problem = open(SegmentSpec::DIRECTORY).err().map(|error| error.to_string());
                    saving.damaged_directory(&file, problem)?
                }
            },
            "inbox.net" => match &rings {
                Some(rings) => saving.words(rings)?,
                None => saving.raw(&file, Some("the segment inbox.net is damaged".to_owned()))?,
            },
            _ => saving.raw(&file, None)?,
        };
        *written = saving.out.bytes();
        if let Some((bytes, of_segment)) = saved {
            segments.push(SavedSegment { name: name.clone(), bytes });
            rows.push(of_segment);
        }
    }
    let about = About {
        ringfort: env!("CARGO_PKG_VERSION").to_owned(),
        layout_version: VERSION,
        layout_hash: layout_hash(),
        instance: instance.to_owned(),
        moment,
        segments,
        problems: saving.problems,
    };
    if saving.shown.is_some() {
        eprint!("\r\x1b[K");
    }
    let file_bytes = saving.out.finish(&about, &rows, replace)?;
    let segment_bytes = about.segments.iter().map(|segment| segment.bytes).sum();
    let (segments, problems) = (about.segments.len(), about.problems);
    Ok(Saved { instance: about.instance, file: path.to_owned(), segments, segment_bytes, file_bytes, problems })
}

/// The processes that the segments name.
fn pids(instance: &str) -> BTreeSet<u32> {
    let mut pids = BTreeSet::new();
    let Ok(directory) = Segment::open(instance, SegmentSpec::DIRECTORY, Access::ReadOnly) else { return pids };
    pids.extend(Directory::new(&directory).workers().map(|entry| entry.pid));
    for slot in 0..ringfort_shm_state::limits::MAX_WORKERS as u32 {
        for kind in [SegmentKind::Frontend, SegmentKind::Sim, SegmentKind::Hook, SegmentKind::Admin] {
            let own = Segment::open(instance, SegmentSpec::worker(kind, slot), Access::ReadOnly);
            pids.extend(own.ok().map(|own| WorkerPage::new(&own).claimed_by().pid));
        }
    }
    if let Ok(inbox) = Segment::open(instance, SegmentSpec::inbox(SegmentKind::InboxNet, 0), Access::ReadOnly) {
        for (slot, entry) in Directory::new(&directory).zones() {
            let ring = Inbox::new(inbox.memory(), slot, entry.inbox_offset, entry.inbox_bytes);
            pids.extend(ring.and_then(|ring| ring.holder(inbox.memory())).map(|holder| holder.thread));
        }
    }
    pids.remove(&0);
    pids
}

/// All words of a segment.
fn words_of(memory: &Memory) -> Vec<u64> {
    let mut words = vec![0; memory.bytes() / 8];
    memory.copy_out(0, &mut words);
    words
}

/// A copy of the directory that has no cell torn: the supervisor changes it seldom. The codes of private matches are taken out.
fn directory_words(memory: &Memory) -> Vec<u64> {
    let cells = directory_at::MAILBOXES / 8;
    let mut words = words_of(memory);
    for _ in 0..SAVE_ATTEMPTS {
        let again = words_of(memory);
        let same = again[..cells] == words[..cells];
        words = again;
        if same {
            break;
        }
    }
    leave_codes_out(&mut words);
    words
}

/// Takes the codes of private matches out of the words of a directory.
fn leave_codes_out(words: &mut [u64]) {
    for zone in 0..MAX_ZONES {
        let values = directory_at::ZONES + (zone + 1) * directory_at::ZONE_STRIDE;
        let cell = directory_at::ZONES + zone * directory_at::ZONE_STRIDE;
        let first = cell + Cell::<ZoneEntry>::BYTES - 2 * size_of::<ZoneEntry>();
        for value in (first..values).step_by(size_of::<ZoneEntry>()).take(2) {
            let code = (value + std::mem::offset_of!(ZoneEntry, code)) / 8;
            const { assert!(JOIN_CODE_BYTES == 8, "a code is one word") };
            if let Some(code) = words.get_mut(code).filter(|code| **code != 0) {
                *code = u64::from_le_bytes(*b"????????");
            }
        }
    }
}

/// A save that is under way.
struct Saving<'a> {
    instance: &'a str,
    out: Writer,
    problems: Vec<String>,
    shown: Option<u64>,
}

impl Saving<'_> {
    /// The memory of a segment that may be damaged. What is wrong with it, and why it cannot be read at all, is noted.
    fn mapped(&mut self, file: &Path, problem: Option<String>) -> Option<Memory> {
        self.problems.extend(problem);
        map_raw(file).map_err(|error| self.problems.push(error.to_string())).ok()
    }

    /// A segment as it is, chunk by chunk; `None` when it cannot be read at all.
    fn raw(&mut self, file: &Path, problem: Option<String>) -> io::Result<Option<(u64, Vec<Row>)>> {
        let Some(memory) = self.mapped(file, problem) else { return Ok(None) };
        let mut words = vec![0; CHUNK_BYTES / 8];
        let mut rows = Vec::new();
        for at in (0..memory.bytes()).step_by(CHUNK_BYTES) {
            let n = (memory.bytes() - at).min(CHUNK_BYTES) / 8;
            memory.copy_out(at, &mut words[..n]);
            rows.push(self.out.chunk(&words[..n])?);
        }
        Ok(Some((memory.bytes() as u64, rows)))
    }

    /// A directory that cannot be opened. One of our layout, damaged, has the codes of private matches where a sound one has them; of any other nobody
    /// knows where they are, and it is left out.
    fn damaged_directory(&mut self, file: &Path, problem: Option<String>) -> io::Result<Option<(u64, Vec<Row>)>> {
        let Some(memory) = self.mapped(file, problem) else { return Ok(None) };
        let header = (HEADER_BYTES..=directory_at::BYTES).contains(&memory.bytes()).then(|| memory.read::<Header>(0));
        if header.is_none_or(|header| (header.version, header.layout_hash) != (VERSION, layout_hash())) {
            let why = "the segment directory is left out: it is of another layout, and nobody can tell where the codes of private matches are in it";
            self.problems.push(why.to_owned());
            return Ok(None);
        }
        let mut words = words_of(&memory);
        leave_codes_out(&mut words);
        self.words(&words)
    }

    /// A segment that was copied.
    fn words(&mut self, words: &[u64]) -> io::Result<Option<(u64, Vec<Row>)>> {
        let rows: io::Result<Vec<Row>> = words.chunks(CHUNK_BYTES / 8).map(|chunk| self.out.chunk(chunk)).collect();
        Ok(Some((words.len() as u64 * 8, rows?)))
    }

    /// The world, zone by zone, each with the ring of its inbox.
    fn world(
        &mut self,
        world: Segment,
        directory: Option<&Segment>,
        inbox: Option<&Segment>,
        mut rings: Option<&mut [u64]>,
    ) -> io::Result<Option<(u64, Vec<Row>)>> {
        let extents = world.header().parameter as usize;
        let memory = world.into_memory();
        let bytes = memory.bytes() as u64;
        let arena = world_at::arena(extents);
        let mut front = vec![0; arena / 8];
        memory.copy_out(0, &mut front[..HEADER_BYTES / 8]);
        let world = World::over(LookMemory::Mapped(memory), extents);
        let mut image = Image { front, rows: vec![[0; 3]; extents], owners: vec![0; extents] };
        let mut waiting: VecDeque<(usize, u32)> = (0..MAX_ZONES).map(|zone| (zone, 0)).collect();
        let used = world.extents_used().max(1) as u64;
        let mut copy = ZoneCopy::default();
        while let Some((zone, attempts)) = waiting.pop_front() {
            image.forget(zone);
            let entry = directory.and_then(|directory| Directory::new(directory).zone(zone));
            let whole = world.copy_zone(zone, &mut copy);
            let ring_whole = match (inbox, rings.as_deref_mut(), entry) {
                (Some(inbox), Some(rings), Some(entry)) => copy_ring(&copy, zone, &entry, inbox.memory(), rings),
                _ => true,
            };
            if !(whole && ring_whole) && attempts < SAVE_ATTEMPTS {
                waiting.push_back((zone, attempts + 1));
                continue;
            }
            if !whole {
                let name = entry.map_or(format!("in slot {zone}"), |entry| format!("\"{}\"", unpadded(&entry.name)));
                self.problems.push(format!("match {name} committed too fast to be saved whole; its worlds may be torn"));
            }
            image.control(zone).copy_from_slice(&copy.control);
            for (extent, owner, words) in copy.extents() {
                // Whoever had it before has given it back since, and is copied again without it.
                let former = image.claim(extent, owner).filter(|_| attempts < SAVE_ATTEMPTS);
                if let Some(former) = former.filter(|former| waiting.iter().all(|(zone, _)| zone != former)) {
                    waiting.push_back((former, attempts + 1));
                }
                image.rows[extent] = self.out.chunk(words)?;
                self.show(image.owners.iter().filter(|owner| **owner != 0).count() as u64 * 100 / used);
            }
        }
        image.finish();
        let mut rows: Vec<Row> =
            image.front.chunks(CHUNK_BYTES / 8).map(|chunk| self.out.chunk(chunk)).collect::<io::Result<_>>()?;
        rows.append(&mut image.rows);
        Ok(Some((bytes, rows)))
    }

    /// Tells how far it is, on a terminal.
    fn show(&mut self, percent: u64) {
        if self.shown.is_none_or(|shown| shown != percent) && io::stderr().is_terminal() {
            eprint!("\rsaving instance \"{}\": {} %", self.instance, percent.min(100));
            self.shown = Some(percent);
        }
    }
}

/// The world as it will be in the file.
struct Image {
    /// What lies before the arena.
    front: Vec<u64>,
    /// Where the extents are in the file.
    rows: Vec<Row>,
    /// Whose they are.
    owners: Vec<u64>,
}

impl Image {
    fn control(&mut self, zone: usize) -> &mut [u64] {
        let from = (world_at::CONTROLS + zone * world_at::CONTROL_STRIDE) / 8;
        &mut self.front[from..from + world_at::CONTROL_STRIDE / 8]
    }

    /// Takes back what an earlier copy of a zone has claimed.
    fn forget(&mut self, zone: usize) {
        for (owner, row) in self.owners.iter_mut().zip(&mut self.rows).filter(|(owner, _)| zone_of(**owner) == Some(zone)) {
            (*owner, *row) = (0, [0; 3]);
        }
    }

    /// Says whose an extent is; another zone that was copied as its owner before.
    fn claim(&mut self, extent: usize, owner: u64) -> Option<usize> {
        let former = std::mem::replace(&mut self.owners[extent], owner);
        zone_of(former).filter(|zone| zone_of(owner) != Some(*zone))
    }

    fn finish(&mut self) {
        let from = world_at::OWNERS / 8;
        self.front[from..from + self.owners.len()].copy_from_slice(&self.owners);
    }
}

/// The zone slot in an owner word.
fn zone_of(owner: u64) -> Option<usize> {
    ((owner & 0xffff) as usize).checked_sub(1)
}

/// Copies a ring after its zone; whether nothing was overwritten that the zone's copied root, from which the match may be far away by now, has
/// not consumed. A tail that no honest front-end leaves is copied as it is.
fn copy_ring(copy: &ZoneCopy, zone: usize, entry: &ZoneEntry, memory: &Memory, to: &mut [u64]) -> bool {
    let Some(ring) = Inbox::new(memory, zone, entry.inbox_offset, entry.inbox_bytes) else { return true };
    for range in ring.ranges() {
        memory.copy_out(range.start, &mut to[range.start / 8..range.end / 8]);
    }
    // The tail is read when all is copied.
    fence(Ordering::Acquire);
    let ahead = copy.consumed(entry.incarnation).map_or(0, |consumed| ring.tail(memory).saturating_sub(consumed));
    ahead <= ring.capacity() || ahead > 2 * ring.capacity()
}

const _: () = assert!(EXTENT_BYTES == CHUNK_BYTES, "a chunk of the arena is an extent");

#[cfg(test)]
mod tests {
    use ringfort_shm_state::inbox::{Appended, Batch};
    use ringfort_shm_state::layout::{RecordHeader, RecordKind, RootHead};
    use zerocopy::FromZeros;

    use super::*;
    use crate::look::stage::{Stage, ZONE};

    #[test]
    fn a_ring_that_has_gone_round_since_its_match_was_copied_is_not_whole() {
        let stage = Stage::new();
        let (ring, memory) = (stage.ring(), stage.inbox.memory());
        let append = |records: u64, consumed: u64| {
            let header = RecordHeader { kind: RecordKind::Input as u16, ..RecordHeader::new_zeroed() };
            let mut batch = Batch::default();
            (0..records).for_each(|_| batch.push(header, &[0; 40]));
            assert!(matches!(ring.append(memory, &batch, consumed), Ok(Appended::All(_))));
        };
        let mut copy = ZoneCopy::default();
        let mut words = vec![0; memory.bytes() / 8];
        assert!(stage.world.copy_zone(ZONE, &mut copy));
        append(ring.capacity() / 64, 0);
        assert!(copy_ring(&copy, ZONE, &stage.entry, memory, &mut words));
        // The match reads all of it and commits, and front-ends write over it.
        stage.commit_head(RootHead { tick: 2, net_cursor: ring.capacity(), ..RootHead::new_zeroed() });
        append(1, ring.capacity());
        assert!(!copy_ring(&copy, ZONE, &stage.entry, memory, &mut words), "the copied commit is from before");
        assert!(stage.world.copy_zone(ZONE, &mut copy));
        assert!(copy_ring(&copy, ZONE, &stage.entry, memory, &mut words));
    }
}
