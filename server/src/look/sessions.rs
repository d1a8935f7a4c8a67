//! `ringfort sessions`: every session of every match, or one of them, out of the newest commits.

use clap::Args;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{RootFlags, SessionFlags, SessionInput, SessionRejected, SessionRow, ZoneEntry, ZoneMeta};
use ringfort_shm_state::mirror::Mirror;
use ringfort_shm_state::segment::unpadded;
use serde::Serialize;

use super::{LookError, Paper, Reading, Shown, duration, printable, table};
use crate::attach::Attached;
use crate::game::EngineTables;
use crate::limits::INPUT_COST;
use crate::status::{ShowError, away_s, events_behind};

/// Flags of `sessions show`.
#[derive(Debug, Clone, Args)]
pub struct SessionArgs {
    /// The session's id, or the player's name
    #[arg(value_name = "SESSION|NAME")]
    pub who: String,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// The sessions of an instance.
#[derive(Debug, Serialize)]
pub struct Sessions {
    /// Name of the instance.
    pub instance: String,
    /// Its sessions, by match and slot.
    pub sessions: Vec<SessionLook>,
    /// Matches whose sessions cannot be read, and why.
    pub unread: Vec<String>,
}

/// A session.
#[derive(Debug, Clone, Serialize)]
pub struct SessionLook {
    /// Its id, as `sessions kick` takes it.
    pub session: u64,
    /// The player's name.
    pub name: String,
    /// The match that it is in.
    #[serde(rename = "match")]
    pub of: String,
    /// Whether it only watches.
    pub watches: bool,
    /// The slot of the front-end that it is attached to; `None` while it has no connection.
    pub frontend: Option<u32>,
    /// How often its client has joined with it.
    pub attachment: u32,
    /// Seconds since its join, in ticks of the match.
    pub since_s: u64,
    /// Seconds without a connection, in ticks of the match; `None` while it has one.
    pub detached_s: Option<u64>,
    /// Highest input applied.
    pub input: u32,
    /// Inputs applied of the 32 before it.
    pub inputs_before: u32,
    /// The input that waits for the next tick; `None` when none does.
    pub input_waits: Option<u32>,
    /// Ticks for which the last input was repeated, 0 when the last tick had a new one.
    pub repeated: u32,
    /// Inputs that it may have applied at once.
    pub credit: f64,
    /// Highest input that was given up because the game failed on it, 0 for none.
    pub input_rejected: u32,
    /// Highest command applied.
    pub command: u32,
    /// Reliable events of the match that its client has not acknowledged, those for others among them.
    pub events_behind: u64,
    /// The first entity spawned for it, as `index.generation`; `None` without one.
    pub entity: Option<String>,
}

/// One session alone.
#[derive(Debug, Serialize)]
pub struct OneSession {
    /// It.
    #[serde(flatten)]
    pub session: SessionLook,
}

/// Looks at the sessions of all matches.
pub fn sessions(attached: &Attached) -> Sessions {
    let mut all = Sessions { instance: attached.name.clone(), sessions: Vec::new(), unread: Vec::new() };
    for (slot, entry) in Directory::new(&attached.directory).zones().filter(|(_, entry)| entry.lives()) {
        match of_match(attached, slot, &entry) {
            Ok(found) => all.sessions.extend(found),
            Err(why) => all.unread.push(format!("{}: {why}", unpadded(&entry.name))),
        }
    }
    all
}

/// Looks at one session, by its id, else by its player's name.
pub fn session(attached: &Attached, who: &str) -> Result<OneSession, LookError> {
    let all = sessions(attached).sessions;
    let by_id: Vec<_> = all.iter().filter(|session| session.session.to_string() == who).collect();
    let found = if by_id.is_empty() { all.iter().filter(|session| session.name == who).collect() } else { by_id };
    let (who, instance) = (who.to_owned(), attached.name.clone());
    match found[..] {
        [] => Err(ShowError::NoSession { who, instance }.into()),
        [session] => Ok(OneSession { session: session.clone() }),
        _ => {
            let places: Vec<String> =
                found.iter().map(|session| format!("{} in {}", session.session, printable(&session.of))).collect();
            Err(ShowError::ManySessions { who, places: places.join(", ") }.into())
        }
    }
}

fn of_match(attached: &Attached, slot: usize, entry: &ZoneEntry) -> Result<Vec<SessionLook>, String> {
    let damaged = || "the directory's entry of the match has sizes that no match has".to_owned();
    let engine = EngineTables::of_entry(entry).ok_or_else(damaged)?;
    let wanted = [&engine.meta, &engine.sessions, &engine.inputs, &engine.rejected].map(|at| at.logical_pages());
    let mut mirror = Mirror::of_pages(slot, wanted.to_vec());
    mirror.refresh(&attached.world).map_err(|error| error.to_string())?;
    let lives = |head: &&_| {
        let head: &ringfort_shm_state::layout::RootHead = head;
        head.incarnation == entry.incarnation && head.flags & RootFlags::ENDED == 0
    };
    let Some(head) = mirror.head().filter(lives) else { return Ok(Vec::new()) };
    let meta = mirror.get::<ZoneMeta>(&engine.meta, 0);
    let seconds = |since: u32| u64::from(head.tick.saturating_sub(since)) / u64::from(entry.tick_hz.max(1));
    let look = |(slot, row): (u32, SessionRow)| {
        let input: Option<SessionInput> = (slot < engine.inputs.rows).then(|| mirror.get(&engine.inputs, slot)).flatten();
        let input = input.unwrap_or(zerocopy::FromZeros::new_zeroed());
        let rejected: Option<SessionRejected> = mirror.get(&engine.rejected, slot);
        let detached_s = away_s(&row, head, entry.tick_hz);
        SessionLook {
            session: row.id,
            name: unpadded(&row.name),
            of: unpadded(&entry.name),
            watches: row.flags & SessionFlags::SPECTATOR != 0,
            frontend: detached_s.is_none().then_some(row.frontend),
            attachment: row.attachment,
            since_s: seconds(row.joined),
            detached_s,
            input: input.highest,
            inputs_before: input.bits.count_ones(),
            input_waits: (input.queued != 0).then_some(input.queued),
            repeated: input.repeated,
            credit: f64::from(input.credit) / f64::from(INPUT_COST),
            input_rejected: rejected.map_or(0, |rejected| rejected.input),
            command: row.command,
            events_behind: events_behind(&row, meta),
            entity: (row.entity_generation != 0).then(|| format!("{}.{}", row.entity_index, row.entity_generation)),
        }
    };
    Ok(mirror.iter::<SessionRow>(engine.sessions).map(look).collect())
}

impl Shown for Sessions {
    fn text(&self, paper: &Paper) -> String {
        let head = [
            "SESSION", "PLAYER", "MATCH", "FRONTEND", "JOINS", "SINCE", "AWAY", "INPUT", "REPEATED", "CREDIT", "EVENTS", "ENTITY",
        ];
        let row = |session: &SessionLook| {
            vec![
                session.session.to_string(),
                format!("{}{}", printable(&session.name), if session.watches { " (watches)" } else { "" }),
                printable(&session.of),
                session.frontend.map_or("-".to_owned(), |slot| slot.to_string()),
                session.attachment.to_string(),
                duration(session.since_s),
                session.detached_s.map_or("-".to_owned(), duration),
                session.input.to_string(),
                session.repeated.to_string(),
                format!("{:.1}", session.credit),
                session.events_behind.to_string(),
                session.entity.clone().unwrap_or("-".to_owned()),
            ]
        };
        let mut text = match self.sessions.is_empty() {
            true => "no sessions\n".to_owned(),
            false => table(paper, &head, self.sessions.iter().map(row).collect()),
        };
        for unread in &self.unread {
            text += &format!("cannot be read: {}\n", printable(unread));
        }
        text
    }
}

impl Shown for OneSession {
    fn text(&self, _paper: &Paper) -> String {
        let session = &self.session;
        let connection = match (session.frontend, session.detached_s) {
            (Some(slot), _) => format!("front-end {slot}, joined with it {} times", session.attachment),
            (None, away) => format!("none for {}, joined with it {} times", duration(away.unwrap_or(0)), session.attachment),
        };
        let waits = session.input_waits.map_or(String::new(), |input| format!("; {input} waits for the next tick"));
        let rejected = match session.input_rejected {
            0 => String::new(),
            input => format!("; {input} was given up because the game failed on it"),
        };
        let facts = [
            ("session", session.session.to_string()),
            ("player", printable(&session.name) + if session.watches { ", who watches" } else { "" }),
            ("match", printable(&session.of)),
            ("connection", connection),
            ("since", duration(session.since_s)),
            ("inputs", format!("{} applied, and {} of the 32 before{waits}{rejected}", session.input, session.inputs_before)),
            ("repeated", format!("its last input for {} ticks", session.repeated)),
            ("credit", format!("{:.1} inputs", session.credit)),
            ("commands", format!("{} applied", session.command)),
            ("events", format!("{} of the match are not acknowledged", session.events_behind)),
            ("entity", session.entity.clone().unwrap_or("none".to_owned())),
        ];
        facts.iter().map(|(what, value)| format!("{what:<12} {value}\n")).collect()
    }
}
