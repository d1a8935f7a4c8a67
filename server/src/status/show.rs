//! `ringfort matches show`: all of one match, read from shared memory alone, also while its sim hangs or is dead.

use std::collections::BTreeMap;

use ringfort_protocol::{Entity, SessionId};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{DETACHED, RootHead, SessionFlags, SessionRow, ZoneEntry, ZoneLife, ZoneMeta};
use ringfort_shm_state::limits::JOIN_CODE_BYTES;
use ringfort_shm_state::memory::Words;
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use ringfort_shm_state::table::TableAt;
use ringfort_shm_state::world::World;
use serde::Serialize;

use super::{MatchStatus, Status};
use crate::attach::{AttachError, Attached};
use crate::game::EngineTables;

/// Everything about a match.
#[derive(Debug, Serialize)]
pub struct MatchShown {
    /// What `status` tells of it.
    #[serde(flatten)]
    pub status: MatchStatus,
    /// The code that it is joined with; absent for a match that is not private, and unless it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Minutes without a session after which it ends itself, 0 for never.
    pub idle_minutes: u32,
    /// Seconds for which it has had no session; absent while it has one.
    pub empty_s: Option<u64>,
    /// The game's options, as they were given or configured.
    pub options: BTreeMap<String, String>,
    /// Who plays, by session slot.
    pub players: Vec<SessionShown>,
    /// Who watches.
    pub watchers: Vec<SessionShown>,
}

/// A session.
#[derive(Debug, Clone, Serialize)]
pub struct SessionShown {
    /// Its id, as `sessions kick` takes it.
    pub session: u64,
    /// The player's name.
    pub name: String,
    /// The tick of its join.
    pub since_tick: u32,
    /// Seconds since then, in ticks of the match.
    pub since_s: u64,
    /// The front-end that it is attached to.
    pub frontend: u32,
    /// How often its client has joined with it.
    pub attachment: u32,
    /// Where it looks from: the entity, as `index.generation`; absent without one.
    pub entity: Option<String>,
}

/// Why a match, or a session of it, cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The instance can't be looked at.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// There is no such match.
    #[error("there is no match \"{name}\"; `ringfort matches list` shows those that there are")]
    NoSuchMatch {
        /// What was asked for.
        name: String,
    },
    /// Nobody of that name is in it.
    #[error("nobody in match \"{of}\" is called \"{who}\" or has that id; `ringfort matches show {of}` lists its sessions")]
    NoSuchSession {
        /// Which match.
        of: String,
        /// What was asked for.
        who: String,
    },
    /// No session is called so.
    #[error("no session of instance \"{instance}\" has that id or belongs to \"{who}\"; `ringfort sessions` lists them")]
    NoSession {
        /// What was asked for.
        who: String,
        /// Which instance.
        instance: String,
    },
    /// Several sessions are called so.
    #[error("\"{who}\" has several sessions: {places}; name one by its id")]
    ManySessions {
        /// What was asked for.
        who: String,
        /// Their ids and matches.
        places: String,
    },
    /// More than one of that name is in it, or one is called what is another's id.
    #[error("\"{who}\" means {count} sessions of match \"{of}\"; name one by its id, with `--id`: {ids}")]
    Ambiguous {
        /// Which match.
        of: String,
        /// What was asked for.
        who: String,
        /// How many.
        count: usize,
        /// Their ids.
        ids: String,
    },
}

/// Looks at a match. Its code is told only if that is asked for.
pub fn show(attached: &Attached, name: &str, with_code: bool) -> Result<MatchShown, ShowError> {
    let status = Status::look(attached).matches.into_iter().find(|entry| entry.name == name);
    let status = status.ok_or_else(|| ShowError::NoSuchMatch { name: name.to_owned() })?;
    let gone = || ShowError::NoSuchMatch { name: name.to_owned() };
    let entry = Directory::new(&attached.directory).zone(status.slot).filter(|entry| entry.incarnation == status.id);
    let entry = entry.ok_or_else(gone)?;
    let (players, watchers, empty_s) = match look(&attached.world, status.slot, &entry) {
        Some((head, life, rows)) => {
            let shown = |watches: bool| {
                let rows = rows.iter().filter(|row| (row.flags & SessionFlags::SPECTATOR != 0) == watches);
                rows.map(|row| session_shown(row, &head, entry.tick_hz)).collect()
            };
            let seconds = |since: u32| u64::from(head.tick.saturating_sub(since)) / u64::from(entry.tick_hz.max(1));
            (shown(false), shown(true), (life.empty_since != 0).then(|| seconds(life.empty_since)))
        }
        // It has not opened yet, or is over.
        None => (Vec::new(), Vec::new(), None),
    };
    Ok(MatchShown {
        code: (with_code && status.private).then(|| unpadded(&entry.code)),
        idle_minutes: entry.idle_minutes,
        empty_s,
        options: serde_json::from_str(&unpadded(&entry.options)).unwrap_or_default(),
        players,
        watchers,
        status,
    })
}

/// The one session of a match that is meant by a player's name or by an id; by an id only, if that is wanted.
pub fn find_session(attached: &Attached, of: &str, who: &str, id_only: bool) -> Result<SessionShown, ShowError> {
    let shown = show(attached, of, false)?;
    one_of(shown.players.into_iter().chain(shown.watchers), of, who, id_only)
}

/// A player chooses its name, which may be another's id: what means two sessions is refused.
fn one_of(all: impl Iterator<Item = SessionShown>, of: &str, who: &str, id_only: bool) -> Result<SessionShown, ShowError> {
    let is_meant = |session: &SessionShown| session.session.to_string() == who || (session.name == who && !id_only);
    let mut meant: Vec<SessionShown> = all.filter(is_meant).collect();
    let (of, who) = (of.to_owned(), who.to_owned());
    match meant.len() {
        0 => Err(ShowError::NoSuchSession { of, who }),
        1 => Ok(meant.remove(0)),
        count => {
            let ids: Vec<String> = meant.iter().map(|session| session.session.to_string()).collect();
            Err(ShowError::Ambiguous { of, who, count, ids: ids.join(", ") })
        }
    }
}

/// The code of a private match, by its id.
pub fn code_of(instance: &str, id: u64) -> Result<Option<String>, AttachError> {
    let attached = Attached::open(instance)?;
    let mut zones = Directory::new(&attached.directory).zones();
    let entry = zones.find(|(_, entry)| entry.incarnation == id).map(|(_, entry)| entry);
    Ok(entry.filter(is_private).map(|entry| unpadded(&entry.code)))
}

/// Whether a match is joined by its code only.
pub(super) fn is_private(entry: &ZoneEntry) -> bool {
    entry.code != [0; JOIN_CODE_BYTES]
}

/// What the game has said of a match's life, in its newest commit.
pub(super) fn life(world: &World<impl Words>, slot: usize, entry: &ZoneEntry) -> Option<ZoneLife> {
    let at = EngineTables::of_entry(entry)?.life;
    let mirror = mirror(world, slot, entry, &[at])?;
    Some(mirror.get(&at, 0).unwrap_or(zerocopy::FromZeros::new_zeroed()))
}

/// A match's newest commit, as far as its sessions and its life go, out of one root.
fn look(world: &World<impl Words>, slot: usize, entry: &ZoneEntry) -> Option<(RootHead, ZoneLife, Vec<SessionRow>)> {
    let engine = EngineTables::of_entry(entry)?;
    let mirror = mirror(world, slot, entry, &[engine.sessions, engine.life])?;
    let life = mirror.get(&engine.life, 0).unwrap_or(zerocopy::FromZeros::new_zeroed());
    let rows = mirror.iter::<SessionRow>(engine.sessions).map(|(_, row)| row).collect();
    Some((*mirror.head()?, life, rows))
}

/// Only the pages of these tables: a world may have a million others.
fn mirror(world: &World<impl Words>, slot: usize, entry: &ZoneEntry, tables: &[TableAt]) -> Option<Mirror> {
    let mut mirror = Mirror::of_pages(slot, tables.iter().map(TableAt::logical_pages).collect());
    mirror.refresh(world).ok()?;
    (mirror.head()?.incarnation == entry.incarnation).then_some(mirror)
}

/// Seconds without a connection, in ticks of the match; `None` while the session has one.
pub fn away_s(row: &SessionRow, head: &RootHead, tick_hz: u32) -> Option<u64> {
    let is_away = row.frontend == DETACHED || row.detached != 0;
    is_away.then(|| u64::from(head.tick.saturating_sub(row.detached)) / u64::from(tick_hz.max(1)))
}

/// Reliable events of the match that a session's client has not acknowledged, those for others among them.
pub fn events_behind(row: &SessionRow, meta: Option<ZoneMeta>) -> u64 {
    // The number grows before an event takes it, and so is the newest's.
    meta.map_or(0, |meta| meta.next_event).saturating_sub(row.event_cursor)
}

/// A session as it is shown.
pub fn session_shown(row: &SessionRow, head: &RootHead, tick_hz: u32) -> SessionShown {
    let entity = Entity { index: row.entity_index, generation: row.entity_generation };
    SessionShown {
        session: SessionId(row.id).0,
        name: unpadded(&row.name),
        since_tick: row.joined,
        since_s: u64::from(head.tick.saturating_sub(row.joined)) / u64::from(tick_hz.max(1)),
        frontend: row.frontend,
        attachment: row.attachment,
        entity: (entity.generation != 0).then(|| format!("{}.{}", entity.index, entity.generation)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(session: u64, name: &str) -> SessionShown {
        SessionShown { session, name: name.into(), since_tick: 1, since_s: 0, frontend: 0, attachment: 1, entity: None }
    }

    #[test]
    fn who_is_called_as_another_ones_id_gets_nobody_kicked() {
        let all = || [called(7, "ada"), called(8, "7"), called(9, "bob"), called(10, "bob")].into_iter();
        let found = |who, id_only| one_of(all(), "arena", who, id_only).map(|session| session.session);
        assert_eq!((found("ada", false).unwrap(), found("8", false).unwrap()), (7, 8));
        assert_eq!(found("7", true).unwrap(), 7, "an id and nothing else");
        for (who, ids) in [("7", "7, 8"), ("bob", "9, 10")] {
            let refusal = found(who, false).unwrap_err().to_string();
            assert!(refusal.ends_with(ids) && refusal.contains("--id"), "{refusal}");
        }
        for (who, id_only) in [("ada", true), ("11", false), ("", false)] {
            assert!(matches!(found(who, id_only), Err(ShowError::NoSuchSession { .. })), "{who}");
        }
    }
}
