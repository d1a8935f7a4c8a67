//! One client of a generator process, which plays or watches: where it is between its first packet and the end.

use std::time::Instant;

use ringfort_client::{JoinTarget, SessionKey, Status};

use super::bot::Bot;
use super::figures::Figures;
use super::net::Net;

/// A client.
pub(super) struct Player {
    /// Its mind; nothing for one that only watches.
    pub(super) bot: Option<Bot>,
    pub(super) key: SessionKey,
    /// When its newest connection began.
    pub(super) started: Instant,
    pub(super) stage: Stage,
    /// It has had a place before: what it does now is not its first coming.
    pub(super) was_in: bool,
}

/// How far a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// It connects, or asks for a place.
    Coming,
    /// It plays.
    Playing,
    /// Its match is over and it has asked for another.
    Rejoining,
    /// It has given up its place, to come again.
    Leaving,
    /// It never got a place, or lost its session for good.
    Gone,
}

impl Player {
    /// Whether it only watches.
    pub(super) fn watches(&self) -> bool {
        self.bot.is_none()
    }

    /// Whether it has a place, or had one until its match was over.
    pub(super) fn is_in(&self) -> bool {
        matches!(self.stage, Stage::Playing | Stage::Rejoining)
    }

    /// Takes a coming client's statuses; true when it has a place or has failed.
    pub(super) fn has_settled(&mut self, net: &mut Net, client: usize, figures: &mut Figures) -> bool {
        // Looking is free; taking makes the hub look after the session.
        if self.stage != Stage::Coming || !net.session(self.key).has_status() {
            return self.stage != Stage::Coming;
        }
        for status in net.session_mut(self.key).statuses() {
            match status {
                Status::Joined { match_name, .. } => {
                    self.stage = Stage::Playing;
                    figures.in_match(client, &match_name);
                    *figures.partial.matches.entry(match_name).or_default() += 1;
                }
                Status::Refused { code, reason } => {
                    self.fails(figures, client, format!("the join was refused ({code}): {reason}"))
                }
                Status::Ended(ended) => self.fails(figures, client, ended.to_string()),
                Status::Connecting | Status::Live | Status::Rejected { .. } | Status::MatchOver => {}
                Status::Resuming { .. } | Status::Resumed { .. } => {}
            }
        }
        if self.stage == Stage::Playing {
            figures.came(client, self.started.elapsed(), !self.was_in);
            self.was_in = true;
        }
        self.stage != Stage::Coming
    }

    /// It gets no place.
    pub(super) fn fails(&mut self, figures: &mut Figures, client: usize, reason: String) {
        if self.stage != Stage::Gone {
            self.stage = Stage::Gone;
            figures.failed(client, reason);
        }
    }

    /// Counts it as disconnected if its session has ended since it was last looked at.
    pub(super) fn note_disconnect(&mut self, net: &Net, client: usize, figures: &mut Figures) {
        if self.is_in()
            && let Some(ended) = net.session(self.key).ended()
        {
            self.is_lost(figures, client, ended.to_string());
        }
    }

    fn is_lost(&mut self, figures: &mut Figures, client: usize, reason: String) {
        self.stage = Stage::Gone;
        figures.lost(client, reason);
    }

    /// Its match is over: it asks for another once, and counts as disconnected when it is refused.
    pub(super) fn rejoin(&mut self, net: &mut Net, client: usize, target: JoinTarget, figures: &mut Figures) {
        let mut refused = None;
        for status in net.session_mut(self.key).statuses() {
            match status {
                Status::Refused { code, reason } => refused = Some(format!("another join was refused ({code}): {reason}")),
                Status::Joined { match_name, .. } => figures.in_match(client, &match_name),
                _ => {}
            }
        }
        if let Some(reason) = refused {
            self.is_lost(figures, client, reason);
        } else if self.stage != Stage::Rejoining {
            self.stage = Stage::Rejoining;
            figures.match_over(client);
            net.join(self.key, target, self.watches());
        }
    }
}
