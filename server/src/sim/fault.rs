//! What a sim's process dies of while it runs a tick, written into shared memory by the process itself.
//!
//! A panic hook and handlers of signals do it. They find the attempt that is under way in a few words of this file, which the zone
//! sets before the game's code runs, and the first of them takes it: what follows from a panic, such as an abort, is no second fault.
//! A limit of the process's memory turns endless allocation into an abort.

use std::io;
use std::mem::MaybeUninit;
use std::panic::PanicHookInfo;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use ringfort_shm_state::layout::{AttemptEntry, FaultEntry, FaultKind, ZoneEntry, fault_key};
use ringfort_shm_state::limits::FAULT_TEXT_BYTES;
use ringfort_shm_state::segment::{cut, padded, unpadded};
use ringfort_shm_state::world::World;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::FAULT_STACK_BYTES;

/// Where faults are recorded; null in a process that records none.
static WORLD: AtomicPtr<World> = AtomicPtr::new(null_mut());
/// The zone slot of the attempt under way.
static ZONE: AtomicUsize = AtomicUsize::new(0);
/// Its match.
static INCARNATION: AtomicU64 = AtomicU64::new(0);
/// Its [`fault_key`], stored last; 0 when none is under way, or when its fault is recorded.
static KEY: AtomicU64 = AtomicU64::new(0);

/// What a signal of the game's code means.
const SIGNALS: [(libc::c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
];

/// An attempt is under way while this lives.
pub(super) struct Running(());

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Of a panic that the hook has recorded there is no key any more; a game may have put another hook in its place.
            record(FaultKind::Panic, 0, 0, &[0; FAULT_TEXT_BYTES]);
        }
        KEY.store(0, Ordering::Release);
    }
}

/// From here on a death of this process is one over this attempt.
pub(super) fn begin(zone: usize, attempt: &AttemptEntry) -> Running {
    KEY.store(0, Ordering::Release);
    ZONE.store(zone, Ordering::Relaxed);
    INCARNATION.store(attempt.incarnation, Ordering::Relaxed);
    KEY.store(fault_key(attempt.tick, attempt.attempt, attempt.resumes), Ordering::Release);
    Running(())
}

/// Has this process record in the world what it dies of. Once, by the thread that runs the game.
pub fn install(world: &Rc<World>) -> io::Result<()> {
    // Never given back: the handlers may run as long as the process.
    WORLD.store(Rc::into_raw(Rc::clone(world)).cast_mut(), Ordering::Release);
    let log = std::panic::take_hook();
    let game = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        // A panic of another thread ends that thread alone.
        if std::thread::current().id() == game {
            record(FaultKind::Panic, 0, 0, &padded(&text_of(panic)));
        }
        log(panic);
    }));
    let stack = Box::leak(vec![0u8; FAULT_STACK_BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the stack was leaked just above, so it stays, and nothing else uses it.
    check(unsafe { libc::sigaltstack(&stack, null_mut()) })?;
    SIGNALS.iter().try_for_each(|(signal, _)| catch(*signal))
}

/// Replaces the handler of a signal, also that with which Rust's runtime tells of an overflown stack.
fn catch(signal: libc::c_int) -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_signal;
    // SAFETY: a zeroed `sigaction` is one without a mask; the handler has the signature that SA_SIGINFO asks for, and does only
    // what is allowed in one.
    check(unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESETHAND;
        libc::sigaction(signal, &action, null_mut())
    })
}

/// Limits what this process may allocate. Memory that it shares with others does not count.
pub fn limit_memory(mib: u32) -> io::Result<()> {
    let maximum = getrlimit(Resource::Data).maximum;
    let bytes = u64::from(mib) << 20;
    let current = Some(maximum.map_or(bytes, |maximum| maximum.min(bytes)));
    Ok(setrlimit(Resource::Data, Rlimit { current, maximum })?)
}

/// A fault in words.
pub fn describe(fault: &FaultEntry) -> String {
    let text = unpadded(&fault.text);
    if fault.kind == FaultKind::Panic as u32 {
        return if text.is_empty() { "a panic without words".to_owned() } else { text };
    }
    let known = SIGNALS.iter().find(|(signal, _)| u32::try_from(*signal) == Ok(fault.signal));
    let name = known.map_or_else(|| format!("signal {}", fault.signal), |(_, name)| (*name).to_owned());
    if fault.signal == libc::SIGABRT as u32 { name } else { format!("{name} at {:#x}", fault.address) }
}

/// What the last attempt at a tick has failed of: what the process itself has recorded, or that it hung.
pub fn why(entry: &ZoneEntry, tick: u32, recorded: Option<FaultEntry>) -> String {
    let of_tick = |key: u64| key >> 32 == u64::from(tick);
    let recorded = recorded.filter(|fault| of_tick(fault.key) && fault.incarnation == entry.incarnation);
    let hung = if entry.hang_tick == tick { entry.hang_attempt } else { 0 };
    match recorded {
        Some(fault) if (fault.key & 0xff) as u32 >= hung => describe(&fault),
        _ => "hang".to_owned(),
    }
}

/// Records what the attempt under way dies of, unless that is known. Allocates nothing and takes no lock.
fn record(kind: FaultKind, signal: u32, address: u64, text: &[u8; FAULT_TEXT_BYTES]) {
    let key = KEY.swap(0, Ordering::AcqRel);
    // SAFETY: null, or a world that `install` has leaked; its methods take it shared.
    let Some(world) = (unsafe { WORLD.load(Ordering::Acquire).as_ref() }) else { return };
    if key == 0 {
        return;
    }
    let bytes = text.iter().position(|byte| *byte == 0).unwrap_or(FAULT_TEXT_BYTES) as u64;
    let incarnation = INCARNATION.load(Ordering::Relaxed);
    let fault = FaultEntry { key, incarnation, kind: kind as u32, signal, address, bytes, text: *text };
    world.record_fault(ZONE.load(Ordering::Relaxed), &fault);
}

/// A panic's message and place; of a message that is too long its beginning.
fn text_of(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let place = panic.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
    format!("{}{place}", cut(message.unwrap_or("a panic"), FAULT_TEXT_BYTES.saturating_sub(place.len())))
}

extern "C" fn on_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes what SA_SIGINFO promises, valid while the handler runs; of a signal that was sent it says by whom, of
    // any other at which address. `getpid` and `raise` may be called in a handler.
    unsafe {
        let info = &*info;
        let was_sent = info.si_code <= 0;
        // What another process sends is no fault of the game.
        if !was_sent || info.si_pid() == libc::getpid() {
            let address = if was_sent { 0 } else { info.si_addr() as u64 };
            record(FaultKind::Signal, signal as u32, address, &[0; FAULT_TEXT_BYTES]);
        }
        if was_sent {
            libc::raise(signal);
        }
    }
    // Otherwise the instruction is tried again: as the handler is gone, the process dies of it.
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
