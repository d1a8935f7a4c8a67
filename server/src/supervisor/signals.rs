//! Signals as a descriptor for a loop, such as those that ask the supervisor to stop. The one file here with signal system calls.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// What asks to stop: Ctrl-C, a service manager, and the loss of the terminal.
pub(super) const ASK_TO_STOP: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Readable when one of the signals has come.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Signals {
    /// From here on these signals do nothing by themselves. Workers undo this, see [`unblock`].
    pub(crate) fn block(signals: &[libc::c_int]) -> io::Result<Signals> {
        let set = set_of(signals)?;
        set_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: -1 asks for a new descriptor and `set` is initialised; the result is checked below.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above just made this descriptor, and nobody else owns it.
        Ok(Signals(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next one that has come and was not taken yet.
    pub(crate) fn take(&self) -> Option<libc::c_int> {
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut info).is_ok_and(|bytes| bytes == info.len());
        let number = info.first_chunk::<4>().filter(|_| read)?;
        Some(libc::c_int::from_ne_bytes(*number))
    }
}

/// Lets every signal through again. Allocates nothing and takes no lock: it runs between fork and exec.
pub(super) fn unblock() -> io::Result<()> {
    set_mask(libc::SIG_SETMASK, &set_of(&[])?)
}

/// Runs something with every signal blocked, and with those of before again after it: a thread that is started meanwhile hears none.
pub(crate) fn with_all_blocked<T>(run: impl FnOnce() -> T) -> io::Result<T> {
    let mut all = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set that it is given, and pthread_sigmask reads that one and initialises the other.
    let error = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let result = run();
    // SAFETY: the call above has succeeded, and so initialised it.
    set_mask(libc::SIG_SETMASK, unsafe { before.assume_init_ref() })?;
    Ok(result)
}

fn set_of(signals: &[libc::c_int]) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set that it is given.
    if unsafe { libc::sigemptyset(set.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for signal in signals {
        // SAFETY: the set was initialised above.
        if unsafe { libc::sigaddset(set.as_mut_ptr(), *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: initialised above.
    Ok(unsafe { set.assume_init() })
}

fn set_mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` is initialised, and the old mask is not asked for.
    match unsafe { libc::pthread_sigmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
