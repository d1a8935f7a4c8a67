//! SIGTERM as a flag, for a loop that wants to say goodbye first.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// From here on SIGTERM only sets the flag, and interrupts a wait.
pub fn catch() {
    // SAFETY: the handler does nothing but store to an atomic, which is async-signal-safe; `action` is fully initialised
    // (zeroed is an empty mask and no flags).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
    }
}

/// Whether SIGTERM has come.
pub fn requested() -> bool {
    STOP.load(Ordering::Relaxed)
}
