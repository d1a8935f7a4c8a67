//! Memory that a process shares with the children that it forks, and with nobody else: it has no name, so nothing is left of it.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::leftovers::{self, SHM_DIRECTORY};
use ringfort_shm_state::limits::PAGE_BYTES;
use ringfort_shm_state::memory::{Memory, Words};
use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A type of atomics, for which all zeroes is a value.
///
/// # Safety
/// Every field must be an atomic, or an array or struct of such.
pub unsafe trait Atomics: Sync {}

/// One value in memory that children inherit.
#[derive(Debug)]
pub struct Shared<T: Atomics> {
    at: NonNull<T>,
}

impl<T: Atomics> Shared<T> {
    /// The value, all zeroes.
    ///
    /// # Panics
    /// When the system has no memory left.
    pub fn zeroed() -> Self {
        assert!(align_of::<T>() <= rustix::param::page_size(), "mappings are aligned to pages");
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let at = unsafe { mmap_anonymous(std::ptr::null_mut(), size_of::<T>(), protection, flags) };
        Self { at: NonNull::new(at.expect("the system has a few pages").cast()).expect("mappings are not at 0") }
    }
}

impl<T: Atomics> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `at` is a mapping of at least size_of::<T>() bytes, aligned to a page, zeroed by the kernel, which is a value of T
        // (contract of `Atomics`), and it stays mapped while `self` lives.
        unsafe { self.at.as_ref() }
    }
}

impl<T: Atomics> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `zeroed` with this length, and no reference outlives `self`.
        let _ = unsafe { munmap(self.at.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Nanoseconds of CLOCK_MONOTONIC, the same clock in every process.
pub fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A segment of Ringfort's whose name is taken away as soon as it is made: children inherit mapping and descriptor, and nothing is left
/// in `/dev/shm` however the benchmark ends. One that was killed while it made a segment is tidied up after by the next.
#[derive(Debug)]
pub struct Unnamed {
    segment: Segment,
    spec: SegmentSpec,
    instance: String,
}

impl Unnamed {
    /// A new segment.
    ///
    /// # Panics
    /// When it cannot be created, with the reason.
    pub fn create(spec: SegmentSpec) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            leftovers::remove(SHM_DIRECTORY.into(), "ringfort.bench-", false);
        }
        let instance = format!("bench-{}-{number}", std::process::id());
        let segment = Segment::create(&instance, spec).unwrap_or_else(|error| panic!("{error}"));
        let _ = std::fs::remove_file(spec.path(&instance));
        Self { segment, spec, instance }
    }

    /// The segment as its creator has it mapped.
    pub fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Its bytes.
    pub fn memory(&self) -> &Memory {
        self.segment.memory()
    }

    /// A mapping of its own, as another process has it.
    ///
    /// # Panics
    /// When it cannot be attached, with the reason.
    pub fn attach(&self, access: Access) -> Segment {
        let descriptor = self.segment.file().expect("a file is behind it").try_clone().expect("a descriptor is left");
        let attached = Segment::from_fd(&self.instance, self.spec, descriptor.into(), access);
        attached.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Looks at every page of a mapping, so that none is missing from this process's page table afterwards.
pub fn populate(memory: &Memory) {
    for offset in (0..memory.bytes()).step_by(PAGE_BYTES) {
        std::hint::black_box(memory.load(offset, Ordering::Relaxed));
    }
}
