//! The robust lock: a process-shared pthread mutex whose holder may be killed.
//!
//! Only producers of an inbox take it, and only with `try_lock`: a holder that was stopped stalls no loop. Next to the mutex
//! stands an operation number, so that a supervisor can tell a hung holder from a busy lock.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use crate::layout::InboxControl;
use crate::memory::{Memory, Words};

/// The lock of one inbox.
#[derive(Clone, Copy, Debug)]
pub struct RobustLock {
    /// Byte offset of the inbox's control block.
    control: usize,
}

/// Who holds a lock, as a reader sees it who does not take part. The process may be any, and dead by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// The thread that holds it. Of a process with one thread that is the process.
    pub thread: u32,
    /// Its operation: another one, were it the same thread's, has another number.
    pub operation: u64,
}

/// Where libc has the futex of a robust mutex: the first word of glibc's, the second of musl's, 32 bits each. The layout hash covers which libc it is.
const FUTEX_SHIFT: u32 = if cfg!(target_env = "musl") { 32 } else { 0 };
/// The bits of the futex that are the holder's thread (FUTEX_TID_MASK of futex(2)); the others say that somebody waits, or that it has died.
const THREAD_MASK: u32 = 0x3fff_ffff;

/// What `try_lock` found.
#[derive(Debug)]
pub enum Locked<'m> {
    /// The lock is ours.
    Clean(Guard<'m>),
    /// The lock is ours, and its last holder died with it: repair the data before use.
    OwnerDied(Guard<'m>),
    /// Somebody else holds it; keep the batch and try again at the next loop.
    Busy,
}

/// Why a lock cannot be used at all.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
#[error(
    "the inbox lock at offset {offset} is unusable (errno {errno}): the segment is damaged; restart the instance with --fresh"
)]
pub struct LockBroken {
    /// Byte offset of the mutex.
    pub offset: usize,
    /// What pthread said.
    pub errno: i32,
}

impl RobustLock {
    pub(crate) const fn at(control: usize) -> Self {
        Self { control }
    }

    fn mutex(&self, memory: &Memory) -> *mut libc::pthread_mutex_t {
        memory.raw(self.control + InboxControl::MUTEX_OFFSET, InboxControl::MUTEX_BYTES).cast()
    }

    /// Initialises the mutex of a segment that nobody else has attached yet.
    pub(crate) fn initialise(&self, memory: &Memory) -> Result<(), LockBroken> {
        let mutex = self.mutex(memory);
        // SAFETY: `mutex` points to `MUTEX_BYTES` (asserted in layout.rs to be at least the size of pthread_mutex_t, and
        // aligned to 64) of memory that stays mapped while `memory` lives; the segment is not ready yet, so no other
        // process has the mutex; the attribute is initialised before and destroyed after use.
        let errno = unsafe {
            let mut attribute: libc::pthread_mutexattr_t = std::mem::zeroed();
            let mut errno = libc::pthread_mutexattr_init(&mut attribute);
            if errno == 0 {
                errno |= libc::pthread_mutexattr_setpshared(&mut attribute, libc::PTHREAD_PROCESS_SHARED);
                errno |= libc::pthread_mutexattr_setrobust(&mut attribute, libc::PTHREAD_MUTEX_ROBUST);
                errno |= libc::pthread_mutex_init(mutex, &attribute);
                errno |= libc::pthread_mutexattr_destroy(&mut attribute);
            }
            errno
        };
        self.check(errno)
    }

    /// Who holds the lock. It is only read: the kernel has the holder's thread in the mutex' futex while it lives.
    pub(crate) fn holder(&self, memory: &impl Words) -> Option<LockHolder> {
        let operation = memory.load(self.control + InboxControl::OPERATION_OFFSET, Ordering::Relaxed);
        let words = memory.load(self.control + InboxControl::MUTEX_OFFSET, Ordering::Relaxed);
        let thread = (words >> FUTEX_SHIFT) as u32 & THREAD_MASK;
        (thread != 0).then_some(LockHolder { thread, operation })
    }

    /// Takes the lock if it is free or its holder is dead.
    pub fn try_lock<'m>(&self, memory: &'m Memory) -> Result<Locked<'m>, LockBroken> {
        let mutex = self.mutex(memory);
        // SAFETY: the mutex was initialised by `initialise` before the segment became ready, and attaching checked the
        // layout hash, which covers libc's flavour and the mutex' size. It is never unmapped while a guard lives ('m).
        let errno = unsafe { libc::pthread_mutex_trylock(mutex) };
        let guard = |memory: &'m Memory| {
            // Only the holder writes it, so this need not be one atomic addition.
            let operation = self.control + InboxControl::OPERATION_OFFSET;
            memory.store(operation, memory.load(operation, Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            crate::kill_point!("lock:taken");
            Guard { lock: *self, memory, thread: PhantomData }
        };
        match errno {
            0 => Ok(Locked::Clean(guard(memory))),
            libc::EOWNERDEAD => {
                crate::kill_point!("lock:owner_died");
                // SAFETY: EOWNERDEAD means that this thread holds the mutex now and has to mark it consistent. The data
                // needs no repair beyond ignoring what lies past `tail` (see inbox.rs), so marking at once is right.
                let errno = unsafe { libc::pthread_mutex_consistent(mutex) };
                self.check(errno)?;
                crate::kill_point!("lock:repaired");
                Ok(Locked::OwnerDied(guard(memory)))
            }
            libc::EBUSY => Ok(Locked::Busy),
            errno => Err(LockBroken { offset: self.control, errno }),
        }
    }

    fn check(&self, errno: i32) -> Result<(), LockBroken> {
        if errno == 0 { Ok(()) } else { Err(LockBroken { offset: self.control, errno }) }
    }
}

/// The lock, held. Dropping it unlocks.
#[derive(Debug)]
pub struct Guard<'m> {
    lock: RobustLock,
    memory: &'m Memory,
    /// The mutex belongs to the thread that took it, so a guard must not move to another.
    thread: PhantomData<*const ()>,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mutex = self.lock.mutex(self.memory);
        // SAFETY: the guard exists only while this thread holds the mutex (it is neither Clone nor Send: the raw futex
        // belongs to the thread that took it), and the memory outlives it.
        unsafe { libc::pthread_mutex_unlock(mutex) };
        crate::kill_point!("inbox:unlocked");
    }
}
