//! `ringfort roots`: the commits of a match that can be looked at.

use clap::Args;
use serde::Serialize;

use super::world::window;
use super::{LookError, OneMatch, Paper, Reading, Shown, printable, table};
use crate::attach::Attached;

/// Flags of `roots`.
#[derive(Debug, Clone, Args)]
pub struct RootsArgs {
    /// The match's name, or its id
    #[arg(value_name = "MATCH")]
    pub of: String,
    /// How to look.
    #[command(flatten)]
    pub reading: Reading,
}

/// What `roots` tells.
#[derive(Debug, Serialize)]
pub struct Roots {
    /// The match's name.
    #[serde(rename = "match")]
    pub name: String,
    /// Its id.
    pub id: u64,
    /// The epoch of its owner: it grows with each hand-over and each takeover.
    pub epoch: u16,
    /// Its commits, the newest first.
    pub roots: Vec<RootShown>,
}

/// A commit.
#[derive(Debug, Serialize)]
pub struct RootShown {
    /// Its number in the match's slot.
    pub sequence: u64,
    /// The tick that it committed.
    pub tick: u32,
    /// Milliseconds since it was published.
    pub age_ms: u64,
    /// Microseconds from the start of the tick to its publication.
    pub took_us: u32,
    /// Microseconds by which the tick began late.
    pub late_us: u64,
    /// Pages that it has changed; null for the oldest, whose predecessor has left.
    pub pages_changed: Option<usize>,
    /// Pages of the arena that the match held with it.
    pub pages: u32,
    /// Sessions.
    pub sessions: u32,
    /// Entities alive.
    pub entities: u32,
    /// Bytes of players' records that were part of it, since the match began.
    pub net_cursor: u64,
    /// Operators' records that were part of it.
    pub mail_cursor: u64,
    /// The hash of the world, in hexadecimal.
    pub hash: String,
}

/// Looks at the window.
pub fn roots(attached: &Attached, args: &RootsArgs) -> Result<Roots, LookError> {
    let game = attached.game()?;
    let mut one = OneMatch::open(attached, &game, &args.of, None, |_| Vec::new())?;
    let epoch = attached.world.published(one.slot).epoch;
    let (now, newest) = (attached.moment.now_us(), one.head().sequence);
    let mut roots = Vec::new();
    let mut before = None;
    for head in window(attached, one.slot, one.entry.incarnation).into_iter().filter(|head| head.sequence <= newest) {
        match one.turn_to(attached, Some(head.tick)) {
            Ok(()) => {}
            Err(error) if error.has_left() => continue,
            Err(error) => return Err(error),
        }
        let follows = before == Some(head.sequence.wrapping_sub(1)) && one.head().sequence == head.sequence;
        before = Some(one.head().sequence);
        roots.push(RootShown {
            sequence: head.sequence,
            tick: head.tick,
            age_ms: now.saturating_sub(head.published_us) / 1000,
            took_us: head.took_us,
            late_us: head.published_us.saturating_sub(head.took_us.into()).saturating_sub(head.due_us),
            pages_changed: follows.then(|| one.mirror.changes().len()),
            pages: head.pages_used,
            sessions: head.sessions,
            entities: head.entities,
            net_cursor: head.net_cursor,
            mail_cursor: head.mail_cursor,
            hash: format!("{:016x}", head.state_hash),
        });
    }
    roots.reverse();
    Ok(Roots { name: one.name(), id: one.entry.incarnation, epoch, roots })
}

impl Shown for Roots {
    fn text(&self, paper: &Paper) -> String {
        let head = ["ROOT", "TICK", "AGE ms", "TOOK us", "LATE us", "CHANGED", "PAGES", "SESSIONS", "ENTITIES", "HASH"];
        let row = |root: &RootShown| {
            let changed = root.pages_changed.map_or_else(|| "-".to_owned(), |pages| pages.to_string());
            let numbers =
                [root.sequence, root.tick.into(), root.age_ms, root.took_us.into(), root.late_us].map(|n| n.to_string());
            let rest = [root.pages, root.sessions, root.entities].map(|n| n.to_string());
            numbers.into_iter().chain([changed]).chain(rest).chain([root.hash.clone()]).collect()
        };
        let rows = table(paper, &head, self.roots.iter().map(row).collect());
        format!("match {}, epoch {}\n{rows}", printable(&self.name), self.epoch)
    }
}
