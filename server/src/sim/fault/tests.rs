//! Processes that die in every way that a game has, and what they leave in shared memory.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use ringfort_shm_state::segment::{Access, Segment, SegmentSpec};
use rustix::process::{Pid, Signal, kill_process};
use zerocopy::FromZeros;

use super::*;

/// Says to [`child`] what it dies of.
const DEATH: &str = "RINGFORT_TEST_DEATH";
/// Says to [`child`] where it records that.
const INSTANCE: &str = "RINGFORT_TEST_INSTANCE";
const ZONE: usize = 5;
const ATTEMPT: (u32, u32, u32) = (41, 2, 3);

/// The world of a child, removed with this value.
struct Place {
    instance: String,
    path: PathBuf,
    world: World,
}

impl Place {
    fn new(death: &str) -> Place {
        let instance = format!("poison-{}-{death}", std::process::id());
        let spec = SegmentSpec::world(1);
        let world = World::new(Segment::create(&instance, spec).unwrap());
        Place { path: spec.path(&instance), instance, world }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Runs [`child`] in a process of its own. `told` is called with its id once it has said that it is ready.
fn die_of(death: &str, told: impl FnOnce(Pid)) -> (ExitStatus, Option<FaultEntry>) {
    let place = Place::new(death);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sim::fault::tests::child", "--nocapture"])
        .env(DEATH, death)
        .env(INSTANCE, &place.instance)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("ready")), "{death}: the child has begun");
    told(Pid::from_child(&child));
    said.for_each(drop);
    (child.wait().unwrap(), place.world.fault(ZONE))
}

/// The fault of a process that dies by itself.
fn fault_of(death: &str) -> (ExitStatus, FaultEntry) {
    let (status, fault) = die_of(death, |_| ());
    let fault = fault.unwrap_or_else(|| panic!("{death}: nothing is recorded; {status}"));
    let (tick, attempt, resumes) = ATTEMPT;
    assert_eq!((fault.key, fault.incarnation), (fault_key(tick, attempt, resumes), 77), "{death}");
    (status, fault)
}

/// Fails in the midst of unwinding, which ends the process at once.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("and once more");
    }
}

#[expect(unconditional_recursion, reason = "it is to use the stack up")]
fn overflow(depth: u64) -> u64 {
    std::hint::black_box(overflow(std::hint::black_box(depth + 1)) + 1)
}

/// Dies as it is told; does nothing in an ordinary test run.
#[test]
fn child() {
    let Ok(death) = std::env::var(DEATH) else {
        assert!(WORLD.load(Ordering::Relaxed).is_null(), "a process of tests records nothing");
        return;
    };
    let segment = Segment::open(&std::env::var(INSTANCE).unwrap(), SegmentSpec::world(0), Access::ReadWrite).unwrap();
    install(&Rc::new(World::new(segment))).unwrap();
    limit_memory(256).unwrap();
    let (tick, attempt, resumes) = ATTEMPT;
    let attempt = AttemptEntry { incarnation: 77, tick, attempt, resumes, ..AttemptEntry::new_zeroed() };
    let running = begin(ZONE, &attempt);
    println!("\nready");
    match death.as_str() {
        "panic" => panic!("it was {} on purpose", 1),
        "long-panic" => panic!("{}", "\u{e4}".repeat(FAULT_TEXT_BYTES)),
        "panic-unhooked" => {
            std::panic::set_hook(Box::new(|_| ()));
            panic!("nobody hears of it");
        }
        "panic-twice" => {
            let _dropped = PanicsWhenDropped;
            panic!("the first");
        }
        "panic-elsewhere" => {
            std::thread::spawn(|| panic!("of another thread")).join().unwrap_err();
            std::process::exit(7);
        }
        "segv" => {
            // SAFETY: none: that nothing is mapped there is what it dies of.
            unsafe { std::ptr::without_provenance_mut::<u8>(0x18).write_volatile(1) }
        }
        "overflow" => drop(overflow(0)),
        "allocate" => {
            let mut leaked = Vec::new();
            loop {
                leaked.push(vec![1u8; 1 << 20]);
            }
        }
        "abort" => std::process::abort(),
        "bus" | "ill" | "fpe" => {
            let signal = SIGNALS.iter().find(|(_, name)| name[3..].eq_ignore_ascii_case(&death)).unwrap().0;
            // SAFETY: it ends the process.
            unsafe { libc::raise(signal) };
        }
        "between" => {
            drop(running);
            std::process::abort();
        }
        _ => loop {
            std::thread::park();
        },
    }
}

#[test]
fn a_panic_is_recorded_with_its_message_and_place() {
    let (status, fault) = fault_of("panic");
    assert_eq!((status.code(), fault.kind, fault.signal), (Some(101), FaultKind::Panic as u32, 0));
    let text = describe(&fault);
    assert!(text.starts_with("it was 1 on purpose at ") && text.contains("fault/tests.rs:"), "{text}");
    assert_eq!(fault.bytes as usize, text.len());
}

#[test]
fn a_long_panic_keeps_its_place() {
    let text = describe(&fault_of("long-panic").1);
    assert!(text.starts_with('\u{e4}') && text.contains("fault/tests.rs:") && text.len() >= FAULT_TEXT_BYTES - 1, "{text}");
}

#[test]
fn a_panic_is_recorded_although_the_game_has_a_hook_of_its_own() {
    let (status, fault) = fault_of("panic-unhooked");
    assert_eq!((status.code(), describe(&fault).as_str()), (Some(101), "a panic without words"));
}

#[test]
fn an_abort_after_a_panic_leaves_the_panic_recorded() {
    let (status, fault) = fault_of("panic-twice");
    assert_eq!(status.signal(), Some(libc::SIGABRT));
    assert!(describe(&fault).starts_with("the first at "), "{}", describe(&fault));
}

#[test]
fn signals_are_recorded_and_end_the_process_as_they_would() {
    for (death, signal, words) in [
        ("segv", libc::SIGSEGV, "SIGSEGV at 0x18"),
        ("bus", libc::SIGBUS, "SIGBUS at 0x0"),
        ("ill", libc::SIGILL, "SIGILL at 0x0"),
        ("fpe", libc::SIGFPE, "SIGFPE at 0x0"),
        ("abort", libc::SIGABRT, "SIGABRT"),
        ("allocate", libc::SIGABRT, "SIGABRT"),
    ] {
        let (status, fault) = fault_of(death);
        assert_eq!((status.signal(), describe(&fault).as_str()), (Some(signal), words), "{death}");
        assert_eq!((fault.kind, fault.signal), (FaultKind::Signal as u32, signal as u32), "{death}");
    }
}

#[test]
fn a_stack_that_is_used_up_is_recorded() {
    let (status, fault) = fault_of("overflow");
    assert_eq!((status.signal(), fault.signal), (Some(libc::SIGSEGV), libc::SIGSEGV as u32));
    assert_ne!(fault.address, 0);
}

#[test]
fn what_is_no_fault_of_the_game_is_not_recorded() {
    let (status, fault) = die_of("between", |_| ());
    assert_eq!((status.signal(), fault.is_none()), (Some(libc::SIGABRT), true), "an abort between two ticks");
    let (status, fault) = die_of("panic-elsewhere", |_| ());
    assert_eq!((status.code(), fault.is_none()), (Some(7), true), "a panic that ends its own thread");
    for signal in [Signal::SEGV, Signal::ABORT] {
        let (status, fault) = die_of("waits", |pid| kill_process(pid, signal).unwrap());
        assert_eq!((status.signal(), fault.is_none()), (Some(signal.as_raw()), true), "a signal from outside");
    }
}
