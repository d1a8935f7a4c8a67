//! What clients are told after a commit: whether they are in, what happened, what changed, and that it is over.

use std::time::Duration;

use ringfort_protocol::baseline::Baselines;
use ringfort_protocol::control::{Code, EndReason, ServerMsg};
use ringfort_protocol::driver::{Conn, ConnId, Driver};
use ringfort_protocol::limits::MAX_SNAPSHOT_BYTES;
use ringfort_protocol::{AckBits, ResumeToken, SessionId, TickNo};
use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::{
    RecordKind, RefusalRow, RootFlags, RootHead, SessionFlags, SessionInput, SessionRejected, SessionRow,
};
use ringfort_shm_state::mirror::Refreshed;
use ringfort_shm_state::segment::unpadded;

use super::clients::Clients;
use super::counters as count;
use super::session::{App, Live, Stage};
use super::snapshot::is_for;
use super::zones::ZoneLink;
use crate::game::Why;
use crate::limits::{
    CLIENTS_PER_PIECE, EVENT_SETTLE_SHARE, EVENTS_PER_SNAPSHOT, FILLING_BYTES, FILLING_SNAPSHOT_BYTES, FILLING_SNAPSHOTS_MAX,
    REFRESH_AT_LEAST_MS,
};

impl Clients {
    /// Whether the zones are to be looked at although no sim has called: a call may have been lost with a killed sim.
    pub(super) fn refresh_is_due(&self) -> bool {
        self.now.duration_since(self.refreshed_at) >= Duration::from_millis(REFRESH_AT_LEAST_MS)
    }

    /// Drops links to zones that are over, once the directory says so.
    pub(super) fn follow_directory(&mut self, driver: &mut Driver<App>) {
        let directory = Directory::new(&self.directory);
        let generation = directory.generation();
        if generation == self.generation {
            return;
        }
        self.follow_log_level();
        let is_open = |slot: usize, id: u64| directory.zone(slot).is_some_and(|z| z.incarnation == id && z.lives());
        let over: Vec<usize> = self.zones.values().filter(|z| !is_open(z.slot, z.entry.incarnation)).map(|z| z.slot).collect();
        for slot in over {
            if let Some(mut link) = self.zones.remove(&slot) {
                self.end_all(driver, &mut link, EndReason::MatchOver);
            }
        }
        self.generation = generation;
        self.saw_generation(generation);
    }

    /// Looks at every zone in use: who has a new commit is to tell its clients what it means for them.
    pub(super) fn look(&mut self, driver: &mut Driver<App>) {
        (self.refreshed_at, self.filling_left) = (self.now, FILLING_BYTES);
        let mut stale = std::mem::take(&mut self.stale);
        stale.extend(self.zones.values().filter(|link| self.is_stale(link)).map(|link| link.slot));
        for slot in stale.drain(..) {
            self.with_zone(driver, slot, Self::look_at);
        }
        self.stale = stale;
    }

    /// Sends snapshots to a piece of those for whom it is time to get one; the zones take turns.
    pub(super) fn serve(&mut self, driver: &mut Driver<App>) {
        let mut room = CLIENTS_PER_PIECE;
        for _ in 0..self.serving.len() {
            let Some(slot) = self.serving.pop_front() else { return };
            self.with_zone(driver, slot, |clients, driver, link| clients.serve_piece(driver, link, &mut room));
            if self.zones.get(&slot).is_some_and(|link| !link.round.is_over()) {
                self.serving.push_back(slot);
            }
        }
    }

    /// When the next client is to be told of a commit; nothing when all were.
    pub(super) fn serves_next_us(&self) -> Option<u64> {
        self.serving.iter().filter_map(|slot| self.zones.get(slot)).map(|link| link.round.due_us()).min()
    }

    /// Has a zone taken out while something is done with it, so that a refused join may look for another match meanwhile.
    fn with_zone(
        &mut self,
        driver: &mut Driver<App>,
        slot: usize,
        work: impl FnOnce(&mut Self, &mut Driver<App>, &mut ZoneLink),
    ) {
        let Some(mut link) = self.zones.remove(&slot) else { return };
        work(self, driver, &mut link);
        if !link.in_use() {
            return;
        }
        match self.zones.entry(slot) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(link)),
            // A join for this very zone came while it was away: what was queued there is queued here.
            std::collections::btree_map::Entry::Occupied(mut place) => {
                link.absorb(place.get_mut());
                place.insert(link);
            }
        }
    }

    fn serve_piece(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, room: &mut usize) {
        while *room > 0 && !link.round.is_over() {
            let next = link.round.take(self.now_us, &link.sessions);
            if let Some((slot, id)) = next {
                self.serve_client(driver, link, slot, id);
                *room -= 1;
            }
            // It is also over when those who were left have gone.
            if link.round.is_over() {
                self.served.push((link.published_us + link.round.spread_us(), link.period_us()));
            } else if next.is_none() {
                return;
            }
        }
    }

    /// Begins to tell of a new commit: everybody, or as large a part of them as this front-end can keep up with. The last one is for all.
    fn begin_round(&mut self, link: &mut ZoneLink, head: &RootHead) {
        if !link.round.is_over() {
            self.served.push((link.published_us, link.period_us()));
        }
        link.published_us = head.published_us;
        let all = link.sessions.len();
        let part = if head.flags & RootFlags::CLOSING != 0 { all } else { self.shed.part(all) };
        self.counts.add(count::SNAPSHOTS_SKIPPED, (all - part) as u64);
        link.round.begin(part, self.now_us, link.period_us());
    }

    /// Whether a zone has committed since it was looked at, or is not needed any more.
    fn is_stale(&self, link: &ZoneLink) -> bool {
        let shown = link.view.head().map(|h| h.sequence);
        shown != Some(self.world.published(link.slot).sequence) || !link.in_use()
    }

    fn look_at(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink) {
        let known = link.view.head().is_some_and(|h| h.incarnation == link.entry.incarnation);
        if !known && !self.world.newest(link.slot).is_ok_and(|r| r.head.incarnation == link.entry.incarnation) {
            return;
        }
        let refreshed = match link.view.refresh(&self.world) {
            Ok(refreshed) => refreshed,
            Err(error) => {
                if self.counts.0[count::MIRROR_ERRORS] == 0 {
                    tracing::error!(zone = link.slot, "{error}");
                }
                self.counts.one(count::MIRROR_ERRORS);
                return;
            }
        };
        let Some(head) = link.view.head().copied().filter(|_| refreshed != Refreshed::Same) else { return };
        self.counts.one(count::MIRROR_REFRESHES);
        if head.incarnation != link.entry.incarnation || head.flags & RootFlags::ENDED != 0 {
            return self.end_all(driver, link, EndReason::MatchOver);
        }
        if link.view.sessions_changed() || !link.joins.is_empty() {
            self.settle_sessions(driver, link, &head);
        }
        self.begin_queued(driver, link);
        self.begin_round(link, &head);
        if head.flags & RootFlags::CLOSING != 0 {
            link.round.hurry();
            self.serve_piece(driver, link, &mut { usize::MAX });
            self.end_all(driver, link, EndReason::MatchOver);
        } else if !self.serving.contains(&link.slot) {
            self.serving.push_back(link.slot);
        }
    }

    /// Compares the committed session table with who is here: new rows go live, rows without a connection are told to leave,
    /// clients without a row have left, and joins that the commit has passed over are refused.
    fn settle_sessions(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, head: &RootHead) {
        let table = link.view.description().engine.sessions;
        let (frontend, incarnation) = (self.slot, self.incarnation);
        let is_ours = |row: &SessionRow| row.frontend == frontend && row.incarnation == incarnation;
        let rows: Vec<SessionRow> = link.view.mirror().iter::<SessionRow>(table).map(|(_, row)| row).filter(is_ours).collect();
        let row_of = |link: &ZoneLink, slot: u32| link.view.mirror().get::<SessionRow>(&table, slot).filter(is_ours);
        let mut parting = std::mem::take(&mut link.parting);
        parting.retain(|(id, attachment)| {
            row_of(link, *id as u32).is_some_and(|row| row.id == *id && row.attachment == *attachment)
        });
        link.parting = parting;
        let drains = self.is_to_drain();
        for row in &rows {
            let id = ConnId { index: row.connection as u32, generation: (row.connection >> 32) as u32 };
            let plays =
                |conn: &Conn<App>| conn.is_open() && matches!(&conn.app.stage, Stage::Live(live) if live.session == row.id);
            let served = link.sessions.get(&(row.id as u32)) == Some(&id) && driver.get(id).is_some_and(plays);
            if !served && !self.go_live(driver, link, row, id, head) && link.parting.insert((row.id, row.attachment)) {
                match link.quits.remove(&row.resume_hash) {
                    Some(_) => link.push_leave(row.id, row.attachment, Why::Quit),
                    // Its client was asked to resume over another front-end.
                    None if drains => {}
                    None => link.push_detach(row.id, row.attachment),
                }
            }
        }
        // A slot may have been taken by another session meanwhile, whose connection is lost as well.
        let plays = |id: ConnId, row: SessionRow| {
            driver.get(id).is_none_or(|conn| !matches!(&conn.app.stage, Stage::Live(live) if live.session != row.id))
        };
        let gone = link.sessions.iter().filter(|(slot, id)| !row_of(link, **slot).is_some_and(|row| plays(**id, row)));
        let gone: Vec<(u32, ConnId)> = gone.map(|(slot, id)| (*slot, *id)).collect();
        for (slot, id) in gone {
            link.sessions.remove(&slot);
            self.tell_gone(driver, link, slot, id);
        }
        self.refuse_passed_joins(driver, link, head);
        link.forget_quits();
    }

    fn go_live(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, row: &SessionRow, id: ConnId, head: &RootHead) -> bool {
        let Some(conn) = driver.connection(id).filter(|c| c.is_open()) else { return false };
        let Stage::Joining(joining) = &mut conn.app.stage else { return false };
        if joining.token_hash != row.resume_hash || joining.zone != link.slot {
            return false;
        }
        kill_point!("attach:committed");
        let token = ResumeToken::new(link.entry.incarnation, SessionId(row.id), &joining.secret);
        let wire = &link.view.description().wire;
        let baselines = Baselines::new(wire.columns.len(), wire.globals.len());
        let pass = std::mem::take(&mut joining.pass);
        let newest = link.view.meta().map_or(0, |meta| meta.next_event);
        let has = joining.resumes.map_or(0, |resumes| resumes.events.min(newest));
        let mut live = Live::new(pass, link.slot, row.id, row.attachment, row.event_cursor.max(has), baselines);
        live.event_settled = row.event_cursor;
        (live.command_acked, live.command_appended) = (row.command, row.command);
        live.appended = inputs_of(link, row);
        conn.app.joins = conn.app.joins.wrapping_add(1);
        live.stay = conn.app.joins;
        live.spectator = row.flags & SessionFlags::SPECTATOR != 0;
        if conn.app.rounds {
            conn.round_timers(Duration::from_secs(1) / link.entry.tick_hz.max(1));
        }
        let (spectator, next_input) = (live.spectator, live.appended.highest.wrapping_add(1));
        conn.app.stage = Stage::Live(Box::new(live));
        conn.app.deadline = None;
        let joined = ServerMsg::Joined {
            session: SessionId(row.id),
            stay: conn.app.joins,
            match_id: link.entry.incarnation,
            name: unpadded(&link.entry.name),
            tick_hz: link.entry.tick_hz,
            max_entities: link.entry.max_entities,
            capacity: link.entry.capacity,
            spectator,
            tick: TickNo(head.tick),
            token,
            grace_ms: link.entry.grace_ms,
            next_input,
            next_command: row.command.wrapping_add(1),
        };
        let _ = conn.send_control(&joined);
        kill_point!("attach:told");
        link.joins.retain(|(joining, _)| *joining != id);
        // The session was resumed, or joined again, over another connection of ours: the older one plays no more.
        if let Some(before) = link.sessions.insert(row.id as u32, id).filter(|before| *before != id) {
            self.tell_gone(driver, link, row.id as u32, before);
        }
        true
    }

    /// Tells a client why its session is none of this front-end's any more.
    fn tell_gone(&mut self, driver: &mut Driver<App>, link: &ZoneLink, slot: u32, id: ConnId) {
        let table = link.view.description().engine.sessions;
        let session = driver.get(id).and_then(|conn| match &conn.app.stage {
            Stage::Live(live) => Some(live.session),
            _ => None,
        });
        match link.view.mirror().get::<SessionRow>(&table, slot).filter(|row| Some(row.id) == session) {
            Some(row) if row.detached == 0 => {
                self.counts.one(count::SESSIONS_TAKEN_OVER);
                self.tell_left(driver, id, Some(EndReason::TakenOver));
            }
            // Its match was told that we are dead, or that this connection is: it is not, and its client can have the session back.
            Some(_) => {
                if let Some(conn) = driver.connection(id) {
                    conn.close(Code::Reconnect, "the session was taken from its connection: resume it");
                }
            }
            None => {
                let overflow = self.has_overflowed(driver, link, id);
                self.tell_left(driver, id, overflow.then_some(EndReason::EventOverflow));
            }
        }
    }

    /// Whether a session that is gone had left its events unacknowledged for as long as the log is.
    fn has_overflowed(&self, driver: &Driver<App>, link: &ZoneLink, id: ConnId) -> bool {
        let newest = link.view.meta().map_or(0, |m| m.next_event);
        let rows = u64::from(link.view.description().engine.events.rows);
        let late = |live: &Live| live.event_acked < live.event_told && newest.saturating_sub(live.event_acked) >= rows;
        driver.get(id).is_some_and(|conn| matches!(&conn.app.stage, Stage::Live(live) if late(live)))
    }

    fn refuse_passed_joins(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, head: &RootHead) {
        let passed: Vec<ConnId> =
            link.joins.iter().filter(|(_, at)| at.is_some_and(|at| at <= head.net_cursor)).map(|(id, _)| *id).collect();
        link.joins.retain(|(_, at)| at.is_none_or(|at| at > head.net_cursor));
        // The words of a refusal are overwritten by later ones; a front-end that is so late does not guess them.
        let unsaid = if head.flags & RootFlags::CLOSING != 0 { Code::MatchOver } else { Code::Busy };
        let of = (link.slot, link.entry.incarnation);
        for id in passed {
            let Some(conn) = driver.connection(id).filter(|c| c.is_open()) else { continue };
            if let Stage::Joining(joining) = std::mem::replace(&mut conn.app.stage, Stage::Closed) {
                let said = refusal_of(link, &joining.nonce);
                // A resume that was neither refused nor has a row of ours came before another one that has it.
                let unsaid = if joining.resumes.is_some() { Code::ResumeRefused } else { unsaid };
                self.counts.add(count::RESUMES_REFUSED, u64::from(joining.resumes.is_some()));
                let words = said.map(|row| unpadded(&row.text)).filter(|words| !words.is_empty());
                let code = said.and_then(|row| Code::from_u64(row.code.into())).unwrap_or(unsaid);
                self.try_next(conn, *joining, of, code, words.as_deref());
            }
        }
    }

    fn serve_client(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, slot: u32, id: ConnId) {
        let table = link.view.description().engine.sessions;
        let Some(row) = link.view.mirror().get::<SessionRow>(&table, slot) else { return };
        let Some(conn) = driver.connection(id).filter(|c| c.is_open()) else { return };
        let room = conn.max_datagram().min(MAX_SNAPSHOT_BYTES);
        let Stage::Live(live) = &mut conn.app.stage else { return };
        let filling = live.filling;
        let budget = self.budget(live, link.view.least_bytes, room);
        (live.inputs_since_snapshot, live.commands_since_snapshot) = (0, 0);
        let snapshot = self.builder.build(&link.view, live, &row, budget, self.now_us, &mut self.counts);
        self.counts.one(count::SNAPSHOTS);
        #[cfg(feature = "simulator")]
        self.told.push(live.session);
        self.counts.add(count::SNAPSHOT_BYTES, snapshot.len() as u64);
        if filling {
            self.filling_left = self.filling_left.saturating_sub(snapshot.len());
        }
        if conn.send_datagram(self.block.cut_frozen(snapshot)).is_err() {
            self.counts.one(count::SNAPSHOTS_UNSENT);
        }
        self.tell_rejected(conn);
        self.tell_events(conn, link, &row);
        if let Stage::Live(live) = &mut conn.app.stage {
            settle_events(live, link);
        }
    }

    /// Bytes of a client's next snapshot. Its connection takes so many at most, and the game's widest entity so many at least.
    fn budget(&mut self, live: &mut Live, least: usize, room: usize) -> usize {
        // However little there is to be, what the widest takes is not cut: it would never be sent.
        let least = least.min(room);
        let whole = self.snapshot_bytes.min(room);
        let budget = self.shed.cut(whole).max(least);
        self.counts.add(count::SNAPSHOTS_CUT, u64::from(budget < whole));
        if live.filling && self.filling_left < budget {
            self.counts.one(count::SNAPSHOTS_SHORTENED);
            return budget.min(FILLING_SNAPSHOT_BYTES.max(least));
        }
        if live.filling {
            live.filled += 1;
            live.filling = live.filled < FILLING_SNAPSHOTS_MAX;
        }
        budget
    }

    /// What was given up because the game failed on it; a later command's acknowledgement comes after that.
    fn tell_rejected(&mut self, conn: &mut Conn<App>) {
        let Stage::Live(live) = &mut conn.app.stage else { return };
        if let Some((message, news)) = live.tell_rejected() {
            self.counts.add(count::REJECTED_TOLD, news);
            let _ = conn.send_control(&message);
        }
    }

    /// Reliable events that the client was not told yet, and commands that are committed.
    fn tell_events(&mut self, conn: &mut Conn<App>, link: &ZoneLink, row: &SessionRow) {
        let newest = link.view.meta().map_or(0, |m| m.next_event);
        let Stage::Live(live) = &mut conn.app.stage else { return };
        let mut messages = Vec::new();
        let first = live.event_sent + 1;
        for number in first..=newest.min(live.event_sent + EVENTS_PER_SNAPSHOT) {
            live.event_sent = number;
            let Some(event) = link.view.event(number).filter(|e| is_for(e, &link.view, live)) else { continue };
            live.event_told = number;
            let payload = event.payload.get(..event.bytes as usize).unwrap_or_default().to_vec();
            messages.push(ServerMsg::Event { number, tick: TickNo(event.tick), payload });
        }
        if row.command > live.command_acked {
            live.command_acked = row.command;
            messages.push(ServerMsg::CommandAck { number: row.command });
        }
        let unacknowledged = live.event_told > live.event_acked;
        self.counts.add(count::EVENTS, messages.len() as u64);
        for message in messages {
            // A peer that does not read is closed by the driver, and counted there.
            if conn.send_control(&message).is_err() {
                return;
            }
        }
        if unacknowledged {
            conn.repair_soon(true);
        }
    }

    /// Ends every session and join of a zone at this front-end.
    pub(super) fn end_all(&mut self, driver: &mut Driver<App>, link: &mut ZoneLink, reason: EndReason) {
        for (_, id) in std::mem::take(&mut link.sessions) {
            self.tell_left(driver, id, Some(reason));
        }
        let queued = std::mem::take(&mut link.queued);
        let of = (link.slot, link.entry.incarnation);
        for id in std::mem::take(&mut link.joins).into_iter().map(|(id, _)| id).chain(queued) {
            let Some(conn) = driver.connection(id).filter(|c| c.is_open()) else { continue };
            if let Stage::Joining(joining) = std::mem::replace(&mut conn.app.stage, Stage::Closed) {
                self.try_next(conn, *joining, of, Code::MatchOver, None);
            }
        }
    }

    /// Tells a client that its session has ended; the connection may join again. Without a reason it is what the client asked
    /// for, or else the game or an operator.
    fn tell_left(&mut self, driver: &mut Driver<App>, id: ConnId, reason: Option<EndReason>) {
        let Some(conn) = driver.connection(id).filter(|c| c.is_open()) else { return };
        let Stage::Live(live) = std::mem::replace(&mut conn.app.stage, Stage::Closed) else { return };
        let own = if live.leaving { EndReason::Left } else { EndReason::Kicked };
        let _ = conn.send_control(&ServerMsg::Left { reason: reason.unwrap_or(own) });
        conn.exact_timers();
        conn.app.stage = Stage::Welcomed { pass: live.pass };
        conn.app.matchless_since = self.now;
        conn.app.deadline = Some(conn.app.idle_deadline(self.now));
    }
}

/// The inputs that a session's committed row has: applied, given up, or waiting.
fn inputs_of(link: &ZoneLink, row: &SessionRow) -> AckBits {
    let (engine, mirror, slot) = (&link.view.description().engine, link.view.mirror(), row.id as u32);
    let Some(inputs) = mirror.get::<SessionInput>(&engine.inputs, slot) else { return AckBits::NONE };
    let mut all = AckBits { highest: inputs.highest, bits: inputs.bits };
    if let Some(rejected) = mirror.get::<SessionRejected>(&engine.rejected, slot) {
        AckBits { highest: rejected.input, bits: rejected.input_bits }.iter().for_each(|sequence| {
            all.insert(sequence);
        });
    }
    if inputs.queued != 0 {
        all.insert(inputs.queued);
    }
    all
}

/// What the zone has said last of the joins with a nonce.
fn refusal_of(link: &ZoneLink, nonce: &[u8; 16]) -> Option<RefusalRow> {
    let table = link.view.description().engine.refusals;
    let rows = link.view.mirror().iter::<RefusalRow>(table).map(|(_, row)| row);
    rows.filter(|row| row.nonce == *nonce).max_by_key(|row| row.number)
}

/// Tells the zone how far a session is done with the log: what the client has acknowledged, and what was not meant for it. The
/// latter alone is told only now and then, since every event of the zone would otherwise be a record of every session.
fn settle_events(live: &mut Live, link: &mut ZoneLink) {
    let all_acked = live.event_acked >= live.event_told;
    let done = if all_acked { live.event_sent } else { live.event_acked };
    let stride = u64::from(link.view.description().engine.events.rows) / EVENT_SETTLE_SHARE;
    let acked_something = live.event_acked > live.event_settled;
    // Before the client has its token, an acknowledgement of ours would make the token before it open nothing any more.
    if live.has_token
        && done > live.event_settled
        && (acked_something || done - live.event_settled >= stride)
        && !link.is_backed_up()
    {
        live.event_settled = done;
        link.push(RecordKind::EventAck, live.session, live.attachment, 0, &done.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests;
