//! Every way in which a game can fail: what a mistake in it does to its process.

use std::fs::{self, OpenOptions};
use std::hint::{black_box, spin_loop};
use std::io::Write;
use std::path::Path;

use ringfort::protocol::TickNo;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap};

/// The file of what has gone off, in the directory that the instance runs in: kind, tick and process, a line each.
const EXPLOSIONS: &str = "explosions";
/// Bytes that a leak loses in a tick, and that endless allocation takes at a time.
const LEAK_BYTES: usize = 16 << 20;
/// Frames deeper than any stack: 256 bytes each.
const DEEP: u64 = 1 << 40;

/// A way to fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Bomb {
    /// A panic.
    Panic = 1,
    /// A write to where nothing is.
    Segfault = 2,
    /// An abort.
    Abort = 3,
    /// An instruction that there is not.
    Illegal = 4,
    /// A trap of the processor's arithmetic.
    Arithmetic = 5,
    /// Recursion without end.
    Overflow = 6,
    /// A loop without end.
    Loop = 7,
    /// Waiting for ever: takes no processor time.
    Park = 8,
    /// Some memory lost in each tick, until there is none.
    Leak = 9,
    /// Allocation without end.
    Allocate = 10,
    /// The end of the process, in order.
    Exit = 11,
    /// A write behind the end of a mapped file.
    Bus = 12,
}

impl Bomb {
    /// Every one.
    pub const ALL: [Bomb; 12] = [
        Bomb::Panic,
        Bomb::Segfault,
        Bomb::Abort,
        Bomb::Illegal,
        Bomb::Arithmetic,
        Bomb::Overflow,
        Bomb::Loop,
        Bomb::Park,
        Bomb::Leak,
        Bomb::Allocate,
        Bomb::Exit,
        Bomb::Bus,
    ];

    /// The one of this number.
    pub fn from_u8(number: u8) -> Option<Bomb> {
        Bomb::ALL.into_iter().find(|bomb| *bomb as u8 == number)
    }

    /// Goes off; returns only if it is a leak that still has memory to lose.
    pub fn go_off(self, tick: TickNo) {
        self.note(tick);
        match self {
            Bomb::Panic => panic!("a bomb went off"),
            Bomb::Segfault => write_to_nowhere(),
            Bomb::Bus => write_behind_the_end(),
            Bomb::Abort => std::process::abort(),
            Bomb::Illegal => no_instruction(),
            Bomb::Arithmetic => divide_by_zero(),
            Bomb::Overflow => drop(black_box(dig(1))),
            Bomb::Loop => loop {
                spin_loop();
            },
            Bomb::Park => loop {
                std::thread::park();
            },
            Bomb::Leak => std::mem::forget(take()),
            Bomb::Allocate => loop {
                std::mem::forget(take());
            },
            Bomb::Exit => std::process::exit(0),
        }
    }

    /// Whether none of this kind has gone off yet in this instance.
    pub fn is_first(self) -> bool {
        explosions(Path::new("."), self) == 0
    }

    fn note(self, tick: TickNo) {
        let line = format!("{} {} {}\n", self as u8, tick.0, std::process::id());
        let file = OpenOptions::new().create(true).append(true).open(EXPLOSIONS);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the tests' directory can be written to");
    }
}

/// How many bombs of a kind have gone off in the instance of this directory.
pub fn explosions(directory: &Path, bomb: Bomb) -> usize {
    let text = fs::read_to_string(directory.join(EXPLOSIONS)).unwrap_or_default();
    let kind = (bomb as u8).to_string();
    text.lines().filter(|line| line.split(' ').next() == Some(kind.as_str())).count()
}

/// Takes memory without touching it, so that the tests' machine has enough for all of them.
fn take() -> Vec<u8> {
    black_box(Vec::with_capacity(LEAK_BYTES))
}

fn dig(depth: u64) -> u64 {
    let ground = black_box([depth; 32]);
    if depth == DEEP { 0 } else { dig(depth + 1) + ground[depth as usize % ground.len()] }
}

fn write_to_nowhere() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(64);
    // SAFETY: nothing is mapped below the kernel's `mmap_min_addr`, so the write faults and changes no memory: that is what it is for.
    unsafe { nowhere.write_volatile(1) };
}

fn write_behind_the_end() {
    let empty = memfd_create("bomb", MemfdFlags::CLOEXEC).expect("a file in memory");
    // SAFETY: the kernel chooses a place where nothing is, and nobody else has it.
    let place =
        unsafe { mmap(std::ptr::null_mut(), 1, ProtFlags::WRITE, MapFlags::SHARED, &empty, 0) }.expect("it can be mapped");
    // SAFETY: the page is mapped, and lies behind the end of its file, so the write faults: that is what it is for.
    unsafe { place.cast::<u8>().write_volatile(1) };
}

fn no_instruction() {
    // SAFETY: the instruction is defined to trap, on either processor; nothing after it is reached with anything changed.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("ud2")
    };
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("udf #0")
    };
}

/// The language looks before it divides, so this is by hand. Other processors than this one do not trap: there the signal is sent.
fn divide_by_zero() {
    // SAFETY: dividing by zero is defined to trap; the registers that it would change are named.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!("div {zero:e}", zero = in(reg) 0, inout("eax") 1 => _, inout("edx") 0 => _)
    };
    #[cfg(not(target_arch = "x86_64"))]
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::FPE).expect("a process may end itself");
}
