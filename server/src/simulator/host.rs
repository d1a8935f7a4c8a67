//! A client's machine in a simulation: the sessions of one player after another, each over its own connection.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::Transmit;
use ringfort_client::{JoinTarget, Session, SessionKey, Sessions, Snapshot, Start, Status, Trust, Watch};
use ringfort_protocol::control::Credential;
use ringfort_protocol::driver::Driver;
use ringfort_protocol::{Message, quic};

use super::once::Once;
use super::oracle::{Oracle, Told};
use super::{Carrier, Failed, Random};
use crate::client::{self, Playing, Settings};
use crate::game::{Game, Played};

/// One player's machine.
pub(super) struct Host<G: Game> {
    pub(super) address: SocketAddr,
    pub(super) server: SocketAddr,
    sessions: Sessions<Played<G>>,
    key: Option<SessionKey>,
    once: Once,
    /// What a whole client has of its session.
    pub(super) playing: Option<Playing<G>>,
    /// Inputs sent in this stay.
    pub(super) sent: u32,
    /// Commands sent in this stay.
    pub(super) commands: u32,
    /// When its next input is due.
    pub(super) input_us: u64,
    /// When it is to look although nothing has arrived.
    pub(super) timer_us: u64,
    /// Until when it waits to be welcomed.
    pub(super) patience_us: u64,
    /// When it connects again.
    pub(super) again_us: Option<u64>,
    /// Its network damages what it sends and gets, so it may believe anything.
    pub(super) damaged: bool,
    /// Its network is damaged no more, but this session's history is.
    pub(super) tainted: bool,
    /// Sessions that it has had.
    pub(super) stays: Vec<u64>,
    /// Connections made.
    pub(super) connections: u64,
    /// Ticks of the snapshots that it has applied.
    pub(super) snapshots: u64,
    /// Inputs and commands that it was told to be given up.
    pub(super) rejected: u64,
}

/// Looks at each snapshot in the moment in which it is applied.
struct Eyes<'o, G: Game> {
    oracle: Option<&'o mut Oracle>,
    playing: Option<&'o mut Playing<G>>,
    once: &'o mut Once,
    complete: bool,
    ticks: Vec<u32>,
    failed: Option<Failed>,
}

impl<G: Game> Watch<Played<G>> for Eyes<'_, G> {
    fn snapshot(&mut self, _: SessionKey, session: &Session<Played<G>>, snapshot: &Snapshot) {
        self.ticks.push(snapshot.tick.0);
        if let Some(playing) = &mut self.playing {
            playing.snapshot(session, snapshot);
        }
        let (Some(oracle), Some(world)) = (&mut self.oracle, session.world()) else { return };
        let compared = oracle.compare(session.id().0, world, self.complete);
        if let Err(failed) = compared.and_then(|()| self.once.look(oracle, session.id().0, world)) {
            self.failed.get_or_insert(failed);
        }
    }
}

impl<G: Game> Host<G> {
    pub(super) fn new(address: SocketAddr, carrier: Carrier, now: Instant) -> Result<Self, Failed> {
        let driver = match carrier {
            Carrier::Plain => Driver::plain_client(now),
            Carrier::Quic => Driver::client(now, quic::client_endpoint()),
        };
        let mut sessions = Sessions::new(driver, Start { now, unix_ms: 0, seed: 0 }).map_err(|e| Failed(e.to_string()))?;
        // Who is lost joins anew here, with a session of its own.
        sessions.give_up_after(Duration::ZERO);
        Ok(Self {
            address,
            server: address,
            sessions,
            key: None,
            once: Once::new(carrier),
            playing: None,
            sent: 0,
            commands: 0,
            input_us: 0,
            timer_us: 0,
            patience_us: u64::MAX,
            again_us: Some(0),
            damaged: false,
            tainted: false,
            stays: Vec::new(),
            connections: 0,
            snapshots: 0,
            rejected: 0,
        })
    }

    pub(super) fn session(&self) -> Option<&Session<Played<G>>> {
        self.key.map(|key| self.sessions.session(key))
    }

    /// Begins a session with a front-end.
    pub(super) fn connect(
        &mut self,
        base: Instant,
        now_us: u64,
        server: SocketAddr,
        carrier: Carrier,
        random: &mut Random,
        settings: Option<Settings<G>>,
    ) -> Result<(), Failed> {
        let now = base + Duration::from_micros(now_us);
        let playing = settings.map(|settings| Playing::new(now, settings)).transpose();
        self.playing = playing.map_err(|e| Failed(e.to_string()))?;
        let key = match carrier {
            Carrier::Plain => self.sessions.connect_plain(now, server, "ada"),
            Carrier::Quic => {
                let config = quic::client_config(Trust::Any).map_err(|e| Failed(e.to_string()))?;
                self.sessions.connect(now, config, server, "localhost", Credential::Name("ada".to_owned()))
            }
        };
        let key = key.map_err(|e| Failed(e.to_string()))?;
        let mut nonce = [0; 16];
        nonce.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&random.next_u64().to_ne_bytes()));
        self.sessions.join(key, JoinTarget::Any, nonce);
        self.connections += 1;
        self.once = Once::new(carrier);
        (self.key, self.server, self.again_us, self.tainted) = (Some(key), server, None, self.damaged);
        (self.sent, self.commands, self.timer_us) = (0, 0, now_us);
        Ok(())
    }

    /// Takes in what has arrived.
    pub(super) fn receive(
        &mut self,
        base: Instant,
        now_us: u64,
        from: SocketAddr,
        bytes: &[u8],
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) {
        let now = base + Duration::from_micros(now_us);
        self.sessions.handle_datagram(now, from, None, None, BytesMut::from(bytes), out);
        self.timer_us = now_us;
    }

    /// Gives an input; its sequence, if there is a match to play in.
    pub(super) fn play(&mut self, base: Instant, now_us: u64, input: G::Input) -> Option<u32> {
        let now = base + Duration::from_micros(now_us);
        let sequence = self.sessions.send(now, self.key?, input)?;
        self.sent = sequence;
        self.timer_us = now_us;
        Some(sequence)
    }

    /// Gives the input of a slot of a whole client, at the sight of what it draws; its sequence, if there is a match to play in.
    pub(super) fn act(&mut self, base: Instant, now_us: u64, input: G::Input, predicted: &[G::Event]) -> Option<u32> {
        let now = base + Duration::from_micros(now_us);
        let (key, playing) = (self.key?, self.playing.as_mut()?);
        self.timer_us = now_us;
        let (sequence, input) = self.sessions.send_seen(now, key, input, playing.seen())?;
        playing.sent(sequence, input, predicted);
        self.sent = sequence;
        Some(sequence)
    }

    pub(super) fn command(&mut self, now_us: u64, command: &G::Command) -> bool {
        let Some(key) = self.key.filter(|key| self.sessions.session(*key).is_joined()) else { return false };
        let taken = self.sessions.session_mut(key).command(command).is_ok();
        self.commands += u32::from(taken);
        self.timer_us = now_us;
        taken
    }

    pub(super) fn leave(&mut self, now_us: u64) {
        if let Some(key) = self.key {
            self.sessions.session_mut(key).leave();
            self.timer_us = now_us;
        }
    }

    /// Closes the connection, whatever it has come to.
    pub(super) fn give_up(&mut self, now_us: u64) {
        if let Some(key) = self.key {
            self.sessions.session_mut(key).refuse("the network was damaged");
            self.timer_us = now_us;
        }
    }

    /// Handles what has arrived or is due, and checks what comes of it. Returns whether the session has ended.
    pub(super) fn turn(
        &mut self,
        base: Instant,
        now_us: u64,
        oracle: &mut Oracle,
        complete: bool,
        out: &mut impl FnMut(&Transmit, &[u8]),
    ) -> Result<bool, Failed> {
        let now = base + Duration::from_micros(now_us);
        let checked = !self.tainted;
        let (oracle_of, playing) = (checked.then_some(&mut *oracle), self.playing.as_mut());
        let mut eyes = Eyes { oracle: oracle_of, playing, once: &mut self.once, complete, ticks: Vec::new(), failed: None };
        self.sessions.poll(now, &mut eyes, out);
        let Eyes { ticks, failed, .. } = eyes;
        self.snapshots += ticks.len() as u64;
        let timer = self.sessions.next_timeout().map_or(u64::MAX, |at| at.saturating_duration_since(base).as_micros() as u64);
        self.timer_us = timer.max(now_us + 1);
        failed.map_or(Ok(()), Err)?;
        let Some(key) = self.key else { return Ok(false) };
        if let Some(playing) = &mut self.playing {
            playing.settle(now, self.sessions.session_mut(key));
            let mut ended = false;
            for status in playing.statuses() {
                match status {
                    client::Status::Joined { session, .. } => self.stays.push(session.0),
                    client::Status::Rejected { inputs, commands } => {
                        self.rejected += inputs.iter().chain(commands.iter()).count() as u64
                    }
                    _ => {}
                }
                ended |= matches!(status, client::Status::Ended(_) | client::Status::Refused { .. } | client::Status::MatchOver);
            }
            // Its clock begins with the first slot, which is due as soon as it has joined.
            let joined = self.sessions.session(key).is_joined();
            let next = playing.next_slot().map(|at| at.saturating_duration_since(base).as_micros() as u64 + 1);
            self.input_us = next.unwrap_or(if joined { now_us } else { u64::MAX });
            return Ok(ended);
        }
        self.hear(key, oracle, &ticks, complete)?;
        self.check_commands(key, oracle)?;
        let mut ended = false;
        for status in self.sessions.session_mut(key).statuses() {
            match status {
                Status::Joined { session, .. } => self.stays.push(session.0),
                Status::Rejected { inputs, commands } => self.rejected += inputs.iter().chain(commands.iter()).count() as u64,
                _ => {}
            }
            ended |= matches!(status, Status::Ended(_) | Status::Refused { .. } | Status::MatchOver);
        }
        Ok(ended)
    }

    /// No command is acknowledged that is not committed.
    fn check_commands(&self, key: SessionKey, oracle: &Oracle) -> Result<(), Failed> {
        let session = self.sessions.session(key);
        let committed = oracle.newest().and_then(|newest| newest.command(session.id().0)).filter(|_| !self.tainted);
        let acknowledged = self.commands - (session.commands_waiting() as u32).min(self.commands);
        match committed.filter(|committed| acknowledged > *committed) {
            Some(committed) => {
                Err(Failed(format!("{acknowledged} commands of {:x} are acknowledged, {committed} committed", session.id().0)))
            }
            None => Ok(()),
        }
    }

    /// Events: reliable ones are the next that the oracle has for the session; others came with the snapshots just applied.
    fn hear(&mut self, key: SessionKey, oracle: &mut Oracle, ticks: &[u32], complete: bool) -> Result<(), Failed> {
        let checked = !self.tainted;
        let session = self.sessions.session_mut(key);
        let id = session.id().0;
        let mut cues: Vec<Told> = Vec::new();
        let events: Vec<_> = session.events().collect();
        for event in events {
            let mut encoded = Vec::new();
            event.what.to_wire(&mut encoded);
            if !event.reliable {
                cues.push((event.tick.0, encoded));
                continue;
            }
            let next = oracle.watched.get_mut(&id).and_then(|watched| watched.to_hear.pop_front());
            if checked && next.as_ref() != Some(&(event.tick.0, encoded)) {
                return Err(Failed(format!(
                    "session {id:x} hears {:?} of tick {}, and {next:?} is next",
                    event.what.variant(),
                    event.tick.0
                )));
            }
        }
        for tick in ticks.iter().filter(|_| checked) {
            let heard: Vec<Vec<u8>> = cues.iter().filter(|(of, _)| of == tick).map(|(_, cue)| cue.clone()).collect();
            oracle.compare_cues(id, *tick, &heard, complete)?;
        }
        Ok(())
    }
}
