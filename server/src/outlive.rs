//! How a worker comes to outlive its supervisor.
//!
//! The kernel kills a worker with its supervisor until it has claimed its segment, listens for the next supervisor, and has found itself in the
//! directory. **Invariant**: so a worker that outlives its supervisor is in the directory, whenever that died.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::WorkerEntry;
use ringfort_shm_state::segment::Segment;

use crate::descriptors::{self, Descriptors};
use crate::limits::ENTRY_MS;
use crate::run_dir::RunDir;

/// A worker can't come to outlive its supervisor.
#[derive(Debug, thiserror::Error)]
pub enum OutliveError {
    /// Nobody has entered it.
    #[error("process {0} is not in the directory: its supervisor has gone, or was too slow")]
    NotEntered(u32),
    /// The system refused.
    #[error(
        "the worker cannot listen for the next supervisor in {path} ({source}); look at the directory's permissions and the limits on processes"
    )]
    System {
        /// Where.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// From here on this worker, which has claimed its segment, lives on when its supervisor dies. Returns what the directory says of it in this
/// place. Only in the main thread, which is the one that the kernel would kill.
pub fn outlive_supervisor(
    run_dir: &RunDir,
    directory: &Segment,
    place: usize,
    passed: &'static Descriptors<OwnedFd>,
) -> Result<WorkerEntry, OutliveError> {
    let me = std::process::id();
    let path = run_dir.worker_socket(me);
    let failed = |source| OutliveError::System { path: path.display().to_string(), source };
    descriptors::serve(&path, passed).map_err(failed)?;
    let entry = await_entry(directory, place, me).ok_or(OutliveError::NotEntered(me))?;
    rustix::process::set_parent_process_death_signal(None).map_err(|error| failed(error.into()))?;
    Ok(entry)
}

/// What the supervisor has entered of this process.
fn await_entry(directory: &Segment, place: usize, me: u32) -> Option<WorkerEntry> {
    let until = Instant::now() + Duration::from_millis(ENTRY_MS);
    loop {
        let entry = Directory::new(directory).worker(place).filter(|entry| entry.pid == me);
        if entry.is_some() || Instant::now() >= until {
            return entry;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
