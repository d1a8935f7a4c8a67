//! One match as it was at one commit, decoded by the directory's map of the game.

use std::ops::Range;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{RootFlags, RootHead, ZoneEntry, ZoneState};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;

use super::{LookError, printable};
use crate::attach::Attached;
use crate::game::{GameMap, MatchMap};
use crate::status::ShowError;

/// A match that is looked at.
pub struct OneMatch {
    /// Its slot in the directory.
    pub slot: usize,
    /// Its entry there.
    pub entry: ZoneEntry,
    /// Where everything of it lies.
    pub map: MatchMap,
    /// The commit that is looked at.
    pub mirror: Mirror,
}

impl Attached {
    /// The map of its game.
    pub fn game(&self) -> Result<GameMap, LookError> {
        // The reason quotes what stands there, as does the name of a saved instance.
        let no_map = |why: String| LookError::NoMap { instance: printable(&self.name), why: printable(&why) };
        let json = Directory::new(&self.directory).map_json().ok_or_else(|| no_map("its length is wrong".to_owned()))?;
        let game: GameMap = serde_json::from_slice(&json).map_err(|error| no_map(error.to_string()))?;
        game.check().map_err(|error| no_map(error.to_string()))?;
        Ok(game)
    }

    /// A match by its name, or by its id if none is called so; of several of a name the one that is not over, else the newest.
    pub fn find(&self, of: &str) -> Result<(usize, ZoneEntry), ShowError> {
        let zones = || Directory::new(&self.directory).zones();
        let named = zones().filter(|(_, entry)| unpadded(&entry.name) == of);
        let open = |entry: &ZoneEntry| entry.state != ZoneState::Closed as u32;
        let found = named.max_by_key(|(_, entry)| (open(entry), entry.incarnation));
        let found = found.or_else(|| zones().find(|(_, entry)| entry.incarnation.to_string() == of));
        found.ok_or_else(|| ShowError::NoSuchMatch { name: of.to_owned() })
    }
}

impl OneMatch {
    /// The newest commit of a match, or that of a tick of the window. Only the tables that are wanted are copied: a world may have a million other pages.
    pub fn open(
        attached: &Attached,
        game: &GameMap,
        of: &str,
        tick: Option<u32>,
        wanted: impl FnOnce(&MatchMap) -> Vec<Range<u32>>,
    ) -> Result<Self, LookError> {
        let (slot, entry) = attached.find(of)?;
        let map = game.lay_out(&entry).map_err(|source| LookError::Map { of: of.to_owned(), source })?;
        let mirror = Mirror::of_pages(slot, wanted(&map));
        let mut one = Self { slot, entry, map, mirror };
        one.turn_to(attached, tick)?;
        Ok(one)
    }

    /// Looks at another commit: the newest, or that of a tick of the window.
    pub fn turn_to(&mut self, attached: &Attached, tick: Option<u32>) -> Result<(), LookError> {
        let of = || printable(&unpadded(&self.entry.name));
        let refreshed = match tick {
            Some(tick) => self.mirror.refresh_at(&attached.world, tick),
            None => self.mirror.refresh(&attached.world),
        };
        refreshed.map_err(|source| LookError::Mirror { of: of(), source })?;
        let lives = |head: &RootHead| head.incarnation == self.entry.incarnation && head.flags & RootFlags::ENDED == 0;
        if self.mirror.head().is_some_and(lives) { Ok(()) } else { Err(LookError::NoWorld { of: of() }) }
    }

    /// The match's name.
    pub fn name(&self) -> String {
        unpadded(&self.entry.name)
    }

    /// The root that is looked at.
    pub fn head(&self) -> &RootHead {
        self.mirror.head().expect("opened with a root")
    }
}
