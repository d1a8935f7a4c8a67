//! Memory that a takeover will touch, brought into this process before it is needed.

use std::collections::BTreeSet;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::world::World;
use tracing::debug;

use crate::limits::WARM_AGAIN_MS;

/// What was touched already.
#[derive(Default)]
pub(crate) struct Warmth {
    extents: BTreeSet<usize>,
    zones: BTreeSet<usize>,
    again_us: u64,
}

impl Warmth {
    /// Whether worlds may have grown since.
    pub(crate) fn is_due(&self, now_us: u64) -> bool {
        now_us >= self.again_us
    }

    /// Brings in the control blocks of the matches and the memory that they own; `beat` is called now and then.
    pub(crate) fn touch(&mut self, world: &World, directory: Directory<'_>, beat: impl Fn()) {
        self.again_us = crate::clock::now_us() + WARM_AGAIN_MS * 1000;
        for (zone, _) in directory.zones() {
            if self.zones.insert(zone) {
                world.populate_control(zone);
            }
        }
        beat();
        for extent in (0..world.extents()).filter(|extent| world.owner(*extent).is_some()) {
            if self.extents.insert(extent) {
                world.populate_extent(extent);
                beat();
            }
        }
    }
}

/// Brings the program's own text into this process's page table.
pub(crate) fn touch_program() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let bounds = range
            .split_once('-')
            .and_then(|(from, to)| Some((usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?)));
        let Some((from, to)) = bounds.filter(|_| rights == "r-xp" && line.contains('/')) else { continue };
        // SAFETY: it reads pages of a mapping into the page table, and changes none; on a range that is gone meanwhile, and on kernels before
        // 5.14, it fails.
        let done = unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_POPULATE_READ) };
        if done != 0 {
            debug!("text at {from:#x} is not brought in: {}", std::io::Error::last_os_error());
        }
    }
}
