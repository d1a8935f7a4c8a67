//! Who comes: hello, credential, and the join of a match, up to the record in the zone's inbox whose commit answers it.

use std::time::Duration;

use ringfort_protocol::control::{Code, Credential, JoinTarget, Resume, ServerMsg};
use ringfort_protocol::driver::{Conn, ConnId, Driver};
use ringfort_protocol::limits::PROTOCOL_VERSION;
use ringfort_protocol::token::hash_secret;
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{JoinRecord, RecordKind, ResumeRecord, RootFlags, ZoneEntry, ZoneState};
use ringfort_shm_state::limits::JOIN_CODE_BYTES;
use ringfort_shm_state::segment::{padded, unpadded};
use zerocopy::IntoBytes;

use super::clients::{Clients, Handled, NO_ZONE, Refusal};
use super::counters as count;
use super::meter::Metered;
use super::session::{App, Joining, Resuming, Stage};
use super::zones::ZoneLink;
use crate::auth::{self, Pass, TokenError};
use crate::flight;
use crate::limits::{HELLO_TIMEOUT_MS, JOIN_TIMEOUT_MS, JOIN_TRIES_MAX, JOIN_WAIT_MS, WRONG_CODES_MAX};

/// A match that a join may go to, with its slot, or why there is none.
type Found = Result<(usize, ZoneEntry), Code>;

/// A match by its slot and its id, as the flight recorder names it.
type MatchAt = (usize, u64);

impl Clients {
    pub(super) fn hello(
        &mut self,
        conn: &mut Conn<App>,
        version: u16,
        schema_hash: u64,
        credential: Credential,
        resume: Option<Resume>,
    ) -> Handled {
        if version != PROTOCOL_VERSION {
            self.counts.one(count::HELLOS_REFUSED);
            return Err(Refusal::new(
                Code::VersionMismatch,
                "the protocol's version is another one here: update the older of the two",
            ));
        }
        let pass = match self.auth.judge(&credential, resume.is_some()) {
            Ok(pass) => pass,
            Err(refused) => {
                self.counts.one(count::HELLOS_REFUSED);
                self.count_refused(refused);
                return Err(Refusal(Code::Refused, refused.to_string().into()));
            }
        };
        if conn.write_control(&self.welcome).is_err() {
            return Err(Refusal::new(Code::Internal, "the welcome could not be sent"));
        }
        if schema_hash != self.schema_hash {
            // The welcome's schema lets the client say which field differs. It may do nothing else, and a second hello is a fault:
            // otherwise it could have the schema again and again, and never end.
            conn.app.stage = Stage::OtherGame;
            self.counts.one(count::HELLOS_REFUSED);
            conn.app.deadline = self.after(HELLO_TIMEOUT_MS);
            let reason = format!("the games differ: schema {:016x} here, {schema_hash:016x} there", self.schema_hash);
            let _ = conn.send_control(&ServerMsg::Error { code: Code::SchemaMismatch.into(), reason });
            return Ok(());
        }
        conn.app.stage = Stage::Welcomed { pass };
        conn.app.matchless_since = self.now;
        conn.app.deadline = Some(conn.app.idle_deadline(self.now));
        resume.map_or(Ok(()), |resume| self.resume(conn, &resume))
    }

    fn count_refused(&mut self, refused: auth::Refused) {
        match refused {
            auth::Refused::Name | auth::Refused::NameWanted => {}
            auth::Refused::TokenWanted => self.counts.one(count::TOKENS_MISSING),
            auth::Refused::Token(TokenError::Expired) => self.counts.one(count::TOKENS_EXPIRED),
            auth::Refused::Token(_) => self.counts.one(count::TOKENS_BAD),
        }
    }

    pub(super) fn join(&mut self, conn: &mut Conn<App>, target: JoinTarget, nonce: [u8; 16], spectate: bool) -> Handled {
        // Looked at before it is taken: the session of a client that joins twice must still be there to be ended.
        let Stage::Welcomed { pass } = &mut conn.app.stage else {
            return Err(Refusal::new(Code::BadMessage, "a join out of its order"));
        };
        let pass = std::mem::take(pass);
        if pass.has_expired(auth::unix_s) {
            self.counts.one(count::TOKENS_EXPIRED);
            return Err(Refusal(Code::Refused, TokenError::Expired.to_string().into()));
        }
        // A token for one match means that one when its player does not care.
        let target = match (target, &pass.only) {
            (JoinTarget::Any, Some(only)) => JoinTarget::Named(only.clone()),
            (target, _) => target,
        };
        let metered = conn.app.meter.join(&self.limits, self.now_us);
        if metered != Metered::Yes {
            self.counts.one(count::JOINS_LIMITED);
            if metered == Metered::Flood {
                return Err(Refusal::new(Code::Flooding, "more joins than a client may ask for"));
            }
            self.refuse_join(conn, pass, None, Code::Busy);
            return Ok(());
        }
        if self.is_closing_down() {
            self.refuse_join(conn, pass, None, Code::ServerStopping);
            return Ok(());
        }
        if self.shed.puts_off_joins() {
            self.counts.one(count::JOINS_PUT_OFF);
            self.refuse_join(conn, pass, None, Code::Busy);
            return Ok(());
        }
        let secret = self.secrets.make();
        let mut joining = Joining {
            pass,
            nonce: half(hash_secret(&nonce)),
            secret,
            token_hash: hash_secret(&secret),
            resumes: None,
            zone: 0,
            any: target == JoinTarget::Any,
            spectate,
            tried: Vec::new(),
            until: self.now + Duration::from_millis(JOIN_WAIT_MS),
        };
        let found = match &target {
            JoinTarget::Any => self.any_zone(&joining),
            JoinTarget::Named(wanted) => {
                let invited = joining.pass.only.as_ref() == Some(wanted);
                self.zones_that_live().find(|(_, z)| is_named(z, wanted, invited)).ok_or(Code::NoSuchMatch)
            }
            JoinTarget::Code(code) => self.zone_of_code(conn, code)?,
        };
        match found {
            Ok((slot, entry)) if joining.pass.only.as_ref().is_some_and(|only| *only != unpadded(&entry.name)) => {
                self.counts.one(count::TOKENS_WRONG_MATCH);
                let of = Some((slot, entry.incarnation));
                self.refuse_join_saying(conn, joining.pass, of, Code::Refused, "the token is for another match");
            }
            Ok((slot, entry)) if entry.state == ZoneState::Paused as u32 => {
                let of = Some((slot, entry.incarnation));
                self.refuse_join_saying(conn, joining.pass, of, Code::Refused, "the match is paused");
            }
            Ok((slot, entry)) => {
                joining.zone = slot;
                self.begin_join(conn, joining, entry);
            }
            Err(Code::MatchFull) if joining.any => self.await_room(conn, joining),
            Err(code) => self.refuse_join(conn, joining.pass, None, code),
        }
        Ok(())
    }

    /// Puts the client's wish to have its session back into the inbox of the session's match.
    fn resume(&mut self, conn: &mut Conn<App>, resume: &Resume) -> Handled {
        let Stage::Welcomed { pass } = &mut conn.app.stage else { return Ok(()) };
        let pass = std::mem::take(pass);
        let Some((zone, entry)) = self.zones_that_live().find(|(_, zone)| zone.incarnation == resume.token.match_id()) else {
            self.counts.one(count::RESUMES_REFUSED);
            self.refuse_join(conn, pass, None, Code::ResumeRefused);
            return Ok(());
        };
        let of = Some((zone, entry.incarnation));
        if pass.only.as_ref().is_some_and(|only| *only != unpadded(&entry.name)) {
            self.counts.one(count::TOKENS_WRONG_MATCH);
            self.refuse_join_saying(conn, pass, of, Code::Refused, "the token is for another match");
            return Ok(());
        }
        if entry.state == ZoneState::Paused as u32 {
            // Its client tries again for as long as it likes.
            self.refuse_join_saying(conn, pass, of, Code::Busy, "the match is paused");
            return Ok(());
        }
        let secret = self.secrets.make();
        let token_hash = hash_secret(&secret);
        let resumes =
            Some(Resuming { session: resume.token.session().0, shown_hash: resume.token.hash(), events: resume.events });
        let (any, spectate, tried, until) = (false, false, Vec::new(), self.now);
        let joining = Joining { pass, nonce: half(token_hash), secret, token_hash, resumes, zone, any, spectate, tried, until };
        self.begin_join(conn, joining, entry);
        Ok(())
    }

    /// No match has room just now, as far as this front-end knows. Joins on their way through another one may come to nothing, so
    /// the client waits a little before it is refused.
    pub(super) fn await_room(&mut self, conn: &mut Conn<App>, mut joining: Joining) {
        joining.zone = NO_ZONE;
        joining.tried.clear();
        self.waiting.add(conn.id(), joining.spectate, joining.until);
        conn.app.stage = Stage::Joining(Box::new(joining));
        conn.app.deadline = self.after(JOIN_TIMEOUT_MS);
    }

    /// Gives those who wait for room in any match another try.
    pub(super) fn retry_waiting(&mut self, driver: &mut Driver<App>) {
        while let Some((id, found)) = self.next_waiting(driver) {
            let Some(conn) = driver.connection(id) else { continue };
            let Stage::Joining(mut joining) = std::mem::replace(&mut conn.app.stage, Stage::Closed) else { continue };
            match found {
                Ok((slot, entry)) => {
                    joining.zone = slot;
                    self.begin_join(conn, *joining, entry);
                }
                Err(code) => self.refuse_join(conn, joining.pass, None, code),
            }
        }
    }

    fn next_waiting(&mut self, driver: &Driver<App>) -> Option<(ConnId, Found)> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let next = waiting.next(self.now, |id| match driver.get(id) {
            Some(conn) if conn.is_open() => match &conn.app.stage {
                Stage::Joining(joining) if joining.zone == NO_ZONE => Some(self.any_zone(joining)),
                _ => None,
            },
            _ => None,
        });
        self.waiting = waiting;
        next
    }

    /// The private match of a code. Who gets many wrong is guessing, and is closed.
    pub(super) fn zone_of_code(&mut self, conn: &mut Conn<App>, code: &str) -> Result<Found, Refusal> {
        let found = self.zones_that_live().find(|(_, z)| is_private(z) && code.as_bytes().eq_ignore_ascii_case(&z.code));
        if found.is_none() {
            self.counts.one(count::CODES_WRONG);
            conn.app.wrong_codes += 1;
            if conn.app.wrong_codes > WRONG_CODES_MAX {
                return Err(Refusal::new(Code::Flooding, "too many codes of no match: ask whoever made the match for its code"));
            }
        }
        Ok(found.ok_or(Code::NoSuchMatch))
    }

    fn zones_that_live(&self) -> impl Iterator<Item = (usize, ZoneEntry)> {
        Directory::new(&self.directory).zones().filter(|(_, z)| z.lives())
    }

    fn open_zones(&self) -> impl Iterator<Item = (usize, ZoneEntry)> {
        Directory::new(&self.directory).zones().filter(|(_, z)| z.state == ZoneState::Open as u32)
    }

    /// The fullest zone that has room: matches fill one after the other. Whether there really is room its commit decides.
    pub(super) fn any_zone(&self, joining: &Joining) -> Found {
        let mut any = false;
        let with_room = self.open_zones().filter(|(_, z)| !is_private(z)).filter_map(|(slot, z)| {
            any = true;
            // A match that has not committed its opening yet has all its room; the join waits for it.
            let head = self.world.newest(slot).ok().map(|r| r.head).filter(|h| h.incarnation == z.incarnation);
            let (sessions, spectators, flags) = head.map_or((0, 0, 0), |h| (h.sessions, h.spectators, h.flags));
            let under_way = self.zones.get(&slot).map_or(0, |link| (link.joins.len() + link.queued.len()) as u32);
            let taken = sessions.saturating_sub(spectators) + under_way;
            let has_room = if joining.spectate { spectators < z.spectators } else { taken < z.capacity };
            let shut = RootFlags::CLOSING | if joining.spectate { 0 } else { RootFlags::LOCKED };
            (flags & shut == 0 && has_room && !joining.tried.contains(&slot)).then_some((taken, slot, z))
        });
        let found = with_room.max_by_key(|(taken, slot, _)| (*taken, std::cmp::Reverse(*slot)));
        found.map(|(_, slot, z)| (slot, z)).ok_or(if any { Code::MatchFull } else { Code::NoSuchMatch })
    }

    /// Puts the join into the zone's inbox, where its next commit answers; or lets it wait, when many are there already.
    pub(super) fn begin_join(&mut self, conn: &mut Conn<App>, joining: Joining, entry: ZoneEntry) {
        let (id, attempt) = (conn.id(), conn.app.attempt);
        let (frontend, incarnation) = (self.slot, self.incarnation);
        let new = joining.resumes.is_none();
        let Some(link) = self.link(joining.zone, entry).filter(|l| !(l.is_backed_up() || new && l.has_full_queue())) else {
            self.refuse_join(conn, joining.pass, Some((joining.zone, entry.incarnation)), Code::Busy);
            return;
        };
        // Who has played before comes first: only new ones wait.
        let waits = new && !(link.queued.is_empty() && link.takes_join());
        if waits {
            link.queued.push_back(id);
        } else {
            push_join(link, (frontend, incarnation), (id, attempt), &joining);
        }
        self.counts.add(count::JOINS_PUT_OFF, u64::from(waits));
        self.counts.one(if joining.resumes.is_some() { count::RESUMES } else { count::JOINS });
        conn.app.stage = Stage::Joining(Box::new(joining));
        conn.app.deadline = self.after(JOIN_TIMEOUT_MS);
    }

    /// Tells a match of as many joins that wait as it has answered meanwhile.
    pub(super) fn begin_queued(&self, driver: &Driver<App>, link: &mut ZoneLink) {
        while link.takes_join() {
            let Some(id) = link.queued.pop_front() else { return };
            let Some(conn) = driver.get(id).filter(|conn| conn.is_open()) else { continue };
            if let Stage::Joining(joining) = &conn.app.stage
                && joining.zone == link.slot
            {
                push_join(link, (self.slot, self.incarnation), (id, conn.app.attempt), joining);
            }
        }
    }

    /// Tells a client that its join came to nothing, of a match if it was to a certain one; it may try another.
    pub(super) fn refuse_join(&mut self, conn: &mut Conn<App>, pass: Pass, of: Option<MatchAt>, code: Code) {
        let reason = match code {
            Code::MatchFull => "the match is full",
            Code::NoSuchMatch => "there is no such match",
            Code::MatchOver => "the match is over",
            Code::MatchStarted => "the match has begun and takes no new players",
            Code::Kicked => "an operator has ended this player's session here",
            Code::ResumeRefused => "there is no such session any more",
            Code::Busy => "the match takes no more requests just now: try again",
            _ => "the match did not admit the player",
        };
        self.refuse_join_saying(conn, pass, of, code, reason);
    }

    fn refuse_join_saying(&mut self, conn: &mut Conn<App>, pass: Pass, of: Option<MatchAt>, code: Code, reason: &str) {
        self.counts.one(count::JOINS_REFUSED);
        flight::refuse(of, code.into(), reason);
        let _ = conn.send_control(&ServerMsg::Error { code: code.into(), reason: reason.to_owned() });
        conn.app.stage = Stage::Welcomed { pass };
        conn.app.deadline = Some(conn.app.idle_deadline(self.now));
    }

    /// After a refusal: the next match with room for a client that wants any, or the answer, in the game's words if it has some.
    pub(super) fn try_next(&mut self, conn: &mut Conn<App>, mut joining: Joining, of: MatchAt, code: Code, words: Option<&str>) {
        joining.tried.push(joining.zone);
        let again = joining.any && joining.tried.len() < JOIN_TRIES_MAX;
        match self.any_zone(&joining) {
            Ok((slot, entry)) if again => {
                joining.zone = slot;
                self.begin_join(conn, joining, entry);
            }
            _ if joining.any && code == Code::MatchFull && self.now < joining.until => self.await_room(conn, joining),
            _ => match words {
                Some(words) => self.refuse_join_saying(conn, joining.pass, Some(of), code, words),
                None => self.refuse_join(conn, joining.pass, Some(of), code),
            },
        }
    }
}

/// Puts a join or a resume into what is appended to its zone's inbox: of this incarnation of a front-end, over this connection.
fn push_join(link: &mut ZoneLink, (frontend, incarnation): (u32, u32), (id, attempt): (ConnId, u64), joining: &Joining) {
    let connection = u64::from(id.generation) << 32 | u64::from(id.index);
    let (token_hash, name) = (joining.token_hash, padded(&joining.pass.name));
    match joining.resumes {
        None => {
            let (nonce, spectate) = (joining.nonce, u32::from(joining.spectate));
            let record =
                JoinRecord { nonce, token_hash, attempt, connection, frontend, incarnation, spectate, reserved: 0, name };
            link.push(RecordKind::Join, 0, 0, 0, record.as_bytes());
        }
        Some(Resuming { session, shown_hash, .. }) => {
            let record = ResumeRecord { shown_hash, token_hash, attempt, connection, frontend, incarnation, name };
            link.push(RecordKind::Resume, session, 0, 0, record.as_bytes());
        }
    }
    link.joins.push((id, None));
    kill_point!("attach:queued");
}

/// What stands for a nonce in shared memory.
fn half(hash: [u8; 32]) -> [u8; 16] {
    std::array::from_fn(|i| hash[i])
}

/// Whether a match is the one of a name. A private one has no name for those who join, unless their tokens invite them to it.
fn is_named(entry: &ZoneEntry, name: &str, invited: bool) -> bool {
    (invited || !is_private(entry)) && unpadded(&entry.name) == name
}

/// Whether a match is joined by its code only.
fn is_private(entry: &ZoneEntry) -> bool {
    entry.code != [0; JOIN_CODE_BYTES]
}
