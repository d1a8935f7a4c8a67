//! Segments: created whole or not at all, and refused unless they are exactly what is expected.

use std::fs::OpenOptions;
use std::mem::offset_of;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::sync::atomic::Ordering;

use ringfort_shm_state::layout::{HEADER_BYTES, Header, MAGIC, SegmentKind, VERSION, layout_hash};
use ringfort_shm_state::limits::MIN_INBOX_BYTES;
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec, leftovers};
use ringfort_shm_state::world::World;

use super::Instance;

const WORLD: SegmentSpec = SegmentSpec::world(2);
/// A user that we are not.
const NOBODY: u32 = 65534;

#[test]
fn what_one_writes_the_other_reads_and_only_reads() {
    let instance = Instance::new();
    let own = Segment::create(&instance.0, WORLD).expect("room in /dev/shm");
    let other = Segment::open(&instance.0, WORLD, Access::ReadOnly).expect("the same");
    own.memory().atomic(HEADER_BYTES).store(42, Ordering::Release);
    assert_eq!(other.memory().load(HEADER_BYTES, Ordering::Acquire), 42);
    assert_eq!((other.header().parameter, other.header().creator_pid), (2, std::process::id()));
    let memory = other.memory();
    let refused = |store: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(store)).is_err();
    assert!(refused(&|| memory.atomic(HEADER_BYTES).store(1, Ordering::Relaxed)));
    assert!(refused(&|| memory.copy_in(HEADER_BYTES, &[1])));
    assert!(refused(&|| memory.write(0, own.header())));
    assert!(refused(&|| assert_eq!(memory.load(memory.bytes(), Ordering::Relaxed), 0)), "beyond the end");
    assert!(refused(&|| assert_eq!(memory.load(4, Ordering::Relaxed), 0)), "between words");
    assert!(refused(&|| memory.copy_out(memory.bytes() - 8, &mut [0; 2])), "across the end");
    assert_eq!(own.memory().load(HEADER_BYTES, Ordering::Acquire), 42);

    let file = own.read_only_file(&instance.0, WORLD).expect("the same file");
    let passed = Segment::from_fd(&instance.0, WORLD, file.try_clone().expect("a descriptor").into(), Access::ReadOnly);
    assert_eq!(World::new(passed.expect("a sound segment")).extents(), 2);
    let stolen = Segment::from_fd(&instance.0, WORLD, file.into(), Access::ReadWrite);
    assert!(matches!(stolen, Err(SegmentError::Io { .. })), "the kernel refuses a writable mapping of it");
}

/// Overwrites a header field and expects the segment to be refused, with both values in the message.
fn refused(field: usize, bytes: &[u8], what: &str, found: u64, expected: u64) {
    let instance = Instance::new();
    drop(Segment::create(&instance.0, WORLD).expect("room in /dev/shm"));
    let file = OpenOptions::new().write(true).open(WORLD.path(&instance.0)).expect("the segment's file");
    file.write_all_at(bytes, field as u64).expect("its header");
    let error = Segment::open(&instance.0, WORLD, Access::ReadOnly).expect_err("a damaged header");
    let text = error.to_string();
    assert!(text.contains(what), "{text}");
    assert!(text.contains(&format!("{found:#x}")) && text.contains(&format!("{expected:#x}")), "{text}");
}

#[test]
fn a_header_that_is_not_ours_is_refused_with_both_values() {
    refused(offset_of!(Header, magic), &7u64.to_ne_bytes(), "the magic", 7, MAGIC);
    refused(offset_of!(Header, version), &9u32.to_ne_bytes(), "the version", 9, VERSION.into());
    refused(offset_of!(Header, layout_hash), &5u64.to_ne_bytes(), "the layout hash", 5, layout_hash());
    refused(offset_of!(Header, kind), &1u32.to_ne_bytes(), "the kind", 1, SegmentKind::World as u64);
    refused(offset_of!(Header, slot), &3u32.to_ne_bytes(), "the slot", 3, 0);
    refused(offset_of!(Header, ready), &0u64.to_ne_bytes(), "the ready mark", 0, 1);
}

/// Whoever can write into `/dev/shm` can put something there before us. None of it is waited for, followed or read.
#[test]
fn what_is_no_file_of_ours_alone_is_refused() {
    let (instance, other) = (Instance::new(), Instance::new());
    let path = WORLD.path(&instance.0);
    let refusals = || [Access::ReadOnly, Access::ReadWrite].map(|access| Segment::open(&instance.0, WORLD, access).unwrap_err());
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    assert!(refusals().iter().all(|error| matches!(error, SegmentError::NotAFile { .. })), "{:?}", refusals());
    std::fs::remove_file(&path).expect("it is there");
    Segment::create(&other.0, WORLD).expect("room in /dev/shm");
    std::os::unix::fs::symlink(WORLD.path(&other.0), &path).expect("a link");
    assert!(refusals().iter().all(|error| matches!(error, SegmentError::NotAFile { .. })), "{:?}", refusals());
    std::fs::remove_file(&path).expect("it is there");
    Segment::create(&instance.0, WORLD).expect("room in /dev/shm");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("it is ours");
    assert!(refusals().iter().all(|error| matches!(error, SegmentError::OpenToOthers { mode: 0o640, .. })), "{:?}", refusals());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    drop(Segment::open(&instance.0, WORLD, Access::ReadOnly).expect("sound again"));
    // Only root can give a file away.
    if std::os::unix::fs::chown(&path, Some(NOBODY), None).is_ok() {
        assert!(
            refusals().iter().all(|error| matches!(error, SegmentError::ForeignOwner { owner: NOBODY, .. })),
            "{:?}",
            refusals()
        );
    }
}

#[test]
fn lengths_and_names_that_do_not_fit_are_refused() {
    let instance = Instance::new();
    let open = || Segment::open(&instance.0, WORLD, Access::ReadOnly);
    assert!(matches!(open(), Err(SegmentError::Missing { .. })));
    let whole = Segment::create(&instance.0, WORLD).expect("room in /dev/shm").memory().bytes() as u64;
    assert!(matches!(Segment::create(&instance.0, WORLD), Err(SegmentError::Exists { .. })));
    let file = OpenOptions::new().write(true).open(WORLD.path(&instance.0)).expect("the segment's file");
    let parameter = offset_of!(Header, parameter) as u64;
    for hostile in [0, 1, 3, whole, whole + 1, 1 << 40, u64::MAX] {
        file.write_all_at(&hostile.to_ne_bytes(), parameter).expect("its header");
        assert!(matches!(open(), Err(SegmentError::Mismatch { what: "the length", .. })), "{hostile}");
    }
    file.write_all_at(&2u64.to_ne_bytes(), parameter).expect("its header");
    drop(open().expect("sound again"));
    for length in [0, 8, HEADER_BYTES as u64 - 1, HEADER_BYTES as u64, whole - 4096, whole + 4096] {
        file.set_len(length).expect("its length");
        assert!(matches!(open(), Err(SegmentError::Mismatch { .. })), "{length}");
    }
    let ring = SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES);
    let whole = Segment::create(&instance.0, ring).expect("room in /dev/shm").memory().bytes() as u64;
    let file = OpenOptions::new().write(true).open(ring.path(&instance.0)).expect("the segment's file");
    file.set_len(HEADER_BYTES as u64).expect("its length");
    let cut = Segment::open(&instance.0, ring, Access::ReadOnly).expect_err("most of it is gone");
    assert!(matches!(cut, SegmentError::Mismatch { expected, .. } if expected == whole), "{cut}");
    let other = Instance::new();
    Segment::create(&other.0, WORLD).expect("room in /dev/shm");
    std::fs::rename(WORLD.path(&other.0), WORLD.path(&instance.0)).expect("the same directory");
    let error = open().expect_err("another instance's segment").to_string();
    assert!(error.contains("the instance's hash"), "{error}");
}

#[test]
fn what_does_not_fit_leaves_no_file_behind() {
    let instance = Instance::new();
    let huge = SegmentSpec::inbox(SegmentKind::InboxNet, 1 << 45);
    let error = Segment::create(&instance.0, huge).expect_err("no machine has 32 TiB of /dev/shm");
    assert!(matches!(error, SegmentError::NoRoom { mib, .. } if mib >= 1 << 25), "{error}");
    let error = Segment::create(&instance.0, SegmentSpec::inbox(SegmentKind::InboxNet, u64::MAX));
    assert!(matches!(error, Err(SegmentError::NoRoom { .. } | SegmentError::Io { .. })));
    let error = Segment::create(&instance.0, SegmentSpec::world(1 << 40));
    assert!(matches!(error, Err(SegmentError::TooLarge { .. })));
    assert_eq!(leftovers(&instance.0), Vec::<std::path::PathBuf>::new());
}

#[test]
fn leftovers_are_the_instances_own() {
    let instance = Instance::new();
    let neighbour = Instance(format!("{}.world", instance.0));
    let specs = [
        SegmentSpec::DIRECTORY,
        SegmentSpec::worker(SegmentKind::Frontend, 0),
        SegmentSpec::inbox(SegmentKind::InboxNet, MIN_INBOX_BYTES),
        SegmentSpec::worker(SegmentKind::Sim, 12),
        WORLD,
    ];
    for spec in specs {
        Segment::create(&instance.0, spec).expect("room in /dev/shm");
    }
    Segment::create(&neighbour.0, WORLD).expect("room in /dev/shm");
    assert_eq!(leftovers(&instance.0), specs.map(|s| s.path(&instance.0)));
    assert_eq!(leftovers(&neighbour.0), [WORLD.path(&neighbour.0)]);
}
