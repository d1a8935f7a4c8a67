//! What the processes of an instance have noted in their flight recorders, and what their matches have committed, as lines in the order of time.

use std::collections::BTreeMap;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::flight::{FlightRing, Flown};
use ringfort_shm_state::layout::{FlightKind, FlightRecord, PauseReason, Role, RootHead, ZoneEntry};
use ringfort_shm_state::limits::WINDOW;
use ringfort_shm_state::segment::{Segment, unpadded};
use serde::Serialize;

use super::{Paper, printable};
use crate::attach::Attached;
use crate::game::Why;
use crate::limits::FRONTEND_STANDBY;

/// What a commit is called among the kinds of notes.
pub const COMMIT: &str = "commit";
/// What notes that were overwritten before anybody read them are called.
pub const LOST: &str = "lost";

/// One line of the log. Serialised it is the contract of `--json`: keys may be added, none is renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// When, in RFC 3339, UTC.
    pub time: String,
    /// The same in microseconds of the machine's CLOCK_MONOTONIC.
    pub time_us: u64,
    /// Who says so: "supervisor", "sim.0", "frontend.1", ..
    pub process: String,
    /// What has happened, as `--kind` names it.
    pub kind: &'static str,
    /// The match's name, if it is about one; its id alone is known of one that is long gone.
    #[serde(rename = "match")]
    pub of: Option<String>,
    /// The match's id.
    pub match_id: Option<u64>,
    /// The session.
    pub session: Option<u64>,
    /// Two numbers; the kind says which.
    pub a: u64,
    /// See `a`.
    pub b: u64,
    /// All of it in words.
    pub text: String,
}

/// A ring that is followed.
struct Source {
    segment: Option<Segment>,
    ring: FlightRing,
    seen: u64,
}

/// All rings of an instance, and how far each was read.
#[derive(Default)]
pub struct Flights {
    sources: BTreeMap<String, Source>,
    /// Names of matches that were seen, by id.
    names: BTreeMap<u64, String>,
    /// Sequence up to which a slot's commits were told, with the match.
    commits: BTreeMap<usize, (u64, u64)>,
    /// What is added to CLOCK_MONOTONIC to have the time of day there.
    to_wall_us: Option<u64>,
}

impl Flights {
    /// What was noted since the last look, of any kind, oldest first. `commits` adds those of the matches.
    pub fn look(&mut self, attached: &Attached, commits: bool) -> Vec<Line> {
        self.attach(attached);
        let (moment, to_wall_us) = (&attached.moment, self.to_wall_us);
        self.to_wall_us = to_wall_us.or_else(|| moment.wall_us().checked_sub(moment.now_us()));
        let directory = Directory::new(&attached.directory);
        let zones: Vec<(usize, ZoneEntry)> = directory.zones().collect();
        self.names.extend(zones.iter().map(|(_, entry)| (entry.incarnation, printable(&unpadded(&entry.name)))));
        let mut lines = Vec::new();
        let mut sources = std::mem::take(&mut self.sources);
        for (process, source) in &mut sources {
            let memory = source.segment.as_ref().unwrap_or(&attached.directory).memory();
            let (numbers, mut lost) = source.ring.since(memory, source.seen);
            let last = *numbers.end();
            let before = lines.len();
            for number in numbers {
                match source.ring.read(memory, number) {
                    Flown::Record(record) => lines.extend(self.line(process, &record)),
                    Flown::Overwritten => lost += 1,
                    Flown::NotYet => {}
                }
            }
            // The first look at a ring finds it as it is.
            if lost > 0 && source.seen > 0 {
                let time_us = lines.get(before).map_or_else(|| moment.now_us(), |line| line.time_us.saturating_sub(1));
                lines.push(self.lost(process, time_us, lost));
            }
            source.seen = last;
        }
        self.sources = sources;
        if commits {
            zones.iter().for_each(|(slot, entry)| self.commits_of(attached, *slot, entry, &mut lines));
        }
        lines.sort_by_key(|line| line.time_us);
        lines
    }

    /// Attaches the rings of all workers that the directory lists: one that was made anew is read from its start.
    fn attach(&mut self, attached: &Attached) {
        let supervisor = Source { segment: None, ring: FlightRing::DIRECTORY, seen: 0 };
        self.sources.entry("supervisor".to_owned()).or_insert(supervisor);
        for entry in Directory::new(&attached.directory).workers() {
            let Some(role) = Role::from_u32(entry.role).filter(|role| *role != Role::Supervisor) else { continue };
            let name = match role {
                Role::Standby if entry.slot == FRONTEND_STANDBY => Role::Frontend.name(),
                Role::Standby => Role::Sim.name(),
                other => other.name(),
            };
            let Some(segment) = attached.worker(role, entry.slot) else { continue };
            let source = Source { segment: None, ring: FlightRing::WORKER, seen: 0 };
            self.sources.entry(format!("{name}.{}", entry.slot)).or_insert(source).segment = Some(segment);
        }
    }

    fn line(&mut self, process: &str, record: &FlightRecord) -> Option<Line> {
        let kind = FlightKind::from_u32(record.kind)?;
        let to_wall_us = record.wall_us.checked_sub(record.time_us);
        self.to_wall_us = to_wall_us.or(self.to_wall_us);
        let match_id = Some(record.incarnation).filter(|id| *id != 0);
        Some(Line {
            time: rfc3339(record.wall_us),
            time_us: record.time_us,
            process: process.to_owned(),
            kind: kind.name(),
            of: match_id.and_then(|id| self.names.get(&id).cloned()),
            match_id,
            session: Some(record.session).filter(|session| *session != 0),
            a: record.a,
            b: record.b,
            text: in_words(kind, record),
        })
    }

    fn lost(&self, process: &str, time_us: u64, lost: u64) -> Line {
        let text = format!("{lost} records of {process} were overwritten before they were read");
        Line { a: lost, ..self.blank(process, LOST, time_us, text) }
    }

    fn blank(&self, process: &str, kind: &'static str, time_us: u64, text: String) -> Line {
        Line {
            time: rfc3339(time_us.saturating_add(self.to_wall_us.unwrap_or(0))),
            time_us,
            process: process.to_owned(),
            kind,
            of: None,
            match_id: None,
            session: None,
            a: 0,
            b: 0,
            text,
        }
    }

    /// The commits of a match that are still in its ring of roots and were not told yet.
    fn commits_of(&mut self, attached: &Attached, slot: usize, entry: &ZoneEntry, lines: &mut Vec<Line>) {
        let newest = attached.world.published(slot).sequence;
        let seen = self.commits.get(&slot).filter(|(id, _)| *id == entry.incarnation).map(|(_, seen)| *seen);
        let oldest = newest.saturating_sub(WINDOW - 1);
        let first = seen.map_or(oldest, |seen| seen.saturating_add(1).max(oldest));
        let process = format!("sim.{}", entry.owner_sim);
        let about = |line: Line| Line { of: Some(printable(&unpadded(&entry.name))), match_id: Some(entry.incarnation), ..line };
        let lost = seen.map_or(0, |seen| first.saturating_sub(seen.saturating_add(1)));
        let mut lost_at = None;
        for sequence in first..=newest {
            let Ok(root) = attached.world.root(slot, sequence) else { continue };
            if root.head.incarnation != entry.incarnation {
                continue;
            }
            lost_at = lost_at.or(Some(root.head.published_us));
            let line = self.blank(&process, COMMIT, root.head.published_us, commit_in_words(&root.head));
            let (took, late) = (u64::from(root.head.took_us), late_us(&root.head));
            lines.push(about(Line { a: took, b: late, ..line }));
        }
        if let Some(at) = lost_at.filter(|_| lost > 0) {
            let text = format!("{lost} commits were overwritten before they were read");
            lines.push(about(Line { a: lost, ..self.blank(&process, LOST, at.saturating_sub(1), text) }));
        }
        self.commits.insert(slot, (entry.incarnation, newest));
    }
}

/// How long after its time the tick of a root began.
fn late_us(head: &RootHead) -> u64 {
    head.published_us.saturating_sub(head.due_us).saturating_sub(head.took_us.into())
}

fn commit_in_words(head: &RootHead) -> String {
    let (tick, took, late) = (head.tick, head.took_us, late_us(head));
    format!("tick {tick} took {took} µs, began {late} µs late; {} sessions, {} entities", head.sessions, head.entities)
}

fn in_words(kind: FlightKind, record: &FlightRecord) -> String {
    let FlightRecord { a, b, session, .. } = *record;
    let text = printable(&unpadded(&record.text));
    match kind {
        FlightKind::Start => format!("process {a} begins"),
        FlightKind::Join => format!("\"{text}\" is session {session}"),
        FlightKind::Leave => match Why::from_u64(a) {
            Why::Quit => format!("session {session} has left"),
            Why::Kicked => format!("session {session} was thrown out"),
            Why::TimedOut => format!("session {session} has lost its connection for too long"),
        },
        FlightKind::Detach => format!("session {session} has lost its connection, and may come back"),
        FlightKind::Resume => format!("session {session} is back"),
        FlightKind::Refusal if b > 0 => format!("a client is refused (code {a}): {text}; {b} more before it"),
        FlightKind::Refusal => format!("a client is refused (code {a}): {text}"),
        FlightKind::Kick => format!("an operator ends session {session}"),
        FlightKind::Repair => format!("repaired: {text}"),
        FlightKind::Takeover => format!("taken over, epoch {a}"),
        FlightKind::Retry => format!("tick {a} is run {text}"),
        FlightKind::Fault => format!("the game has failed in tick {a}: {text}"),
        FlightKind::Pause => match PauseReason::from_u32(a as u32) {
            Some(PauseReason::Deaths) => "paused: its sims die in one tick, and nobody knows of what".to_owned(),
            _ => "paused: its game fails in one tick again and again".to_owned(),
        },
        FlightKind::Move => format!("moved to sim {a}"),
        FlightKind::Death | FlightKind::Operator => text,
        FlightKind::Hang => format!("{text} (process {a}) was silent for {b} ms and is killed"),
        FlightKind::Shed => format!("clients are sent {text}"),
        FlightKind::Open => "open".to_owned(),
        FlightKind::End => "over".to_owned(),
    }
}

/// A moment in RFC 3339, UTC, to the microsecond.
pub fn rfc3339(wall_us: u64) -> String {
    let seconds = i64::try_from(wall_us / 1_000_000).unwrap_or(i64::MAX);
    let Ok(time) = time::OffsetDateTime::from_unix_timestamp(seconds) else { return format!("@{seconds}") };
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", wall_us % 1_000_000)
}

impl Line {
    /// For people: time of day, who, which match, what.
    pub fn text(&self, paper: &Paper) -> String {
        // Without the date and with milliseconds: `--json` has the rest.
        let time = self.time.get(11..23).unwrap_or(&self.time);
        let of = self.of.clone().or_else(|| self.match_id.map(|id| format!("#{id}"))).unwrap_or_default();
        let line = format!("{time}  {:<12}  {:<8}  {of:<14}  {}", self.process, self.kind, self.text);
        let grave = matches!(self.kind, "death" | "fault" | "pause" | "hang" | "repair" | "lost");
        if paper.colours && grave { format!("\x1b[31m{line}\x1b[0m") } else { line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::look::stage::Stage;
    use crate::saved::{Moment, SavedMoment};

    #[test]
    fn a_commit_in_a_file_has_the_time_of_day_of_the_machine_that_it_was_saved_on() {
        let stage = Stage::new();
        let mut attached = stage.attach();
        let saved = SavedMoment { unix_s: 1_000_000_000, now_us: stage.now_us, ..SavedMoment::default() };
        attached.moment = Moment::Saved(saved);
        let lines = Flights::default().look(&attached, true);
        let times: Vec<&str> = lines.iter().filter(|line| line.kind == COMMIT).map(|line| line.time.as_str()).collect();
        assert_eq!(times, ["2001-09-09T01:46:40.000000Z"]);
    }

    #[test]
    fn moments_are_written_as_rfc_3339_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(1_709_164_799_000_007), "2024-02-28T23:59:59.000007Z");
        assert_eq!(rfc3339(1_709_164_800_000_000), "2024-02-29T00:00:00.000000Z");
        assert!(rfc3339(u64::MAX).starts_with('@') || rfc3339(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn whatever_a_record_holds_is_a_line_without_control_characters() {
        for kind in FlightKind::ALL {
            let record = FlightRecord {
                kind: kind as u32,
                a: u64::MAX,
                b: u64::MAX,
                text: *b"\x1b[2J\xff\xfe and so on without an end.................................",
                ..ringfort_shm_state::flight::blank()
            };
            let line = Flights::default().line("sim.0", &record).expect("its kind is known");
            let text = line.text(&Paper::default());
            assert!(!text.contains('\x1b') && text.contains(kind.name()), "{text}");
        }
        let unknown = FlightRecord { kind: 99, ..ringfort_shm_state::flight::blank() };
        assert_eq!(Flights::default().line("sim.0", &unknown), None);
    }
}
