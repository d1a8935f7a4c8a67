//! What every worker inherits of the supervisor: all UDP sockets, all wake-ups, and the segments that front-ends may only read.
//!
//! A front-end needs one socket and a sim none. All have all so that whoever lives can hand them to a new supervisor: the sockets'
//! slots never shift, and the port is never bound anew.

mod ask;
mod hand;
#[cfg(test)]
mod tests;

pub use ask::{AskError, ask, is_listening};
pub use hand::serve;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::limits::{FRONTEND_WAKES, SIM_SLOTS_MAX, SOCKET_SLOTS};
use crate::supervisor::spawn::{FD_DIRECTORY, FD_FRONTEND_WAKE, FD_SIM_WAKE, FD_SOCKET, FD_WORLD, MissingDescriptor, RawTarget};

/// How many there are.
pub const COUNT: usize = SOCKET_SLOTS + FRONTEND_WAKES + SIM_SLOTS_MAX as usize + 2;

/// The descriptors of a worker, or of the supervisor that starts one.
#[derive(Debug)]
pub struct Descriptors<Fd> {
    /// The UDP sockets, by slot.
    pub sockets: Vec<Fd>,
    /// Wake-ups of the front-ends, by slot; the last is that of the one that stands by.
    pub frontend_wakes: Vec<Fd>,
    /// Wake-ups of the sims, by slot.
    pub sim_wakes: Vec<Fd>,
    /// The segment `directory`, read-only.
    pub directory: Fd,
    /// The segment `world`, read-only.
    pub world: Fd,
}

impl Descriptors<OwnedFd> {
    /// In a worker: takes what the supervisor passed, for as long as the process lives.
    pub fn take() -> Result<&'static Self, MissingDescriptor> {
        let all = |first: RawTarget, count: usize| (0..count as u8).map(|n| first.nth(n).take()).collect::<Result<_, _>>();
        Ok(Box::leak(Box::new(Self {
            sockets: all(FD_SOCKET, SOCKET_SLOTS)?,
            frontend_wakes: all(FD_FRONTEND_WAKE, FRONTEND_WAKES)?,
            sim_wakes: all(FD_SIM_WAKE, SIM_SLOTS_MAX as usize)?,
            directory: FD_DIRECTORY.take()?,
            world: FD_WORLD.take()?,
        })))
    }

    /// As [`Descriptors::targets`] lists them; `None` when there are more or fewer.
    fn of_list(list: Vec<OwnedFd>) -> Option<Self> {
        if list.len() != COUNT {
            return None;
        }
        let mut list = list.into_iter();
        Some(Self {
            sockets: list.by_ref().take(SOCKET_SLOTS).collect(),
            frontend_wakes: list.by_ref().take(FRONTEND_WAKES).collect(),
            sim_wakes: list.by_ref().take(SIM_SLOTS_MAX as usize).collect(),
            directory: list.next()?,
            world: list.next()?,
        })
    }
}

impl<Fd: AsFd> Descriptors<Fd> {
    /// Each with the number at which a worker finds it.
    pub fn targets(&self) -> impl Iterator<Item = (RawTarget, BorrowedFd<'_>)> {
        let lists = [(FD_SOCKET, &self.sockets), (FD_FRONTEND_WAKE, &self.frontend_wakes), (FD_SIM_WAKE, &self.sim_wakes)];
        let listed = lists.into_iter().flat_map(|(first, list)| {
            list.iter().enumerate().map(move |(n, descriptor)| (first.nth(n as u8), descriptor.as_fd()))
        });
        listed.chain([(FD_DIRECTORY, self.directory.as_fd()), (FD_WORLD, self.world.as_fd())])
    }
}
