//! The clients of a chaos run in one loop: inputs at fixed times, and books of everything that the server tells.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringfort_client::{Hub, JoinTarget, Session, SessionKey, Snapshot, Status, Trust, Watch};

use super::gaps::{Micros, micros};
use super::ledger::{Audit, Ledger};
use super::{ChaosArgs, ChaosError};
use crate::limits;
use crate::run::Latency;
use crate::schedule::Schedule;
use crate::tally::{Account, Ask, Numbered, Tally};

type Game = ringfort::game::Played<Tally>;

/// How often the loop turns at most while nothing arrives.
const GRAIN: Duration = Duration::from_millis(1);
/// Of so many inputs one is followed by a command.
const COMMAND_EVERY: u32 = 20;
/// How long nothing may change before what was not acknowledged is taken for refused.
const QUIET: Duration = Duration::from_secs(2);

/// All clients.
pub(super) struct Crowd {
    hub: Hub<Game>,
    bots: Vec<Bot>,
    heard: Heard,
    late: Latency,
    matches: usize,
}

/// One client.
struct Bot {
    key: SessionKey,
    /// Why its session is over, once it is.
    lost: Option<String>,
    joined: bool,
}

/// What the snapshots told.
struct Heard {
    start: Instant,
    clients: Vec<Client>,
}

#[derive(Default)]
struct Client {
    ledger: Ledger,
    arrivals: Vec<Micros>,
}

impl Watch<Game> for Heard {
    fn snapshot(&mut self, key: SessionKey, _session: &Session<Game>, snapshot: &Snapshot) {
        let client = &mut self.clients[key.index()];
        snapshot.inputs.iter().for_each(|number| client.ledger.acknowledged(number));
        client.arrivals.push(micros(snapshot.arrived.saturating_duration_since(self.start)));
    }
}

/// What is shown while it runs.
#[derive(Default)]
pub(super) struct Shown {
    /// Sessions that are over.
    pub(super) lost: AtomicU64,
    /// Inputs sent.
    pub(super) sent: AtomicU64,
    /// Inputs acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// The longest silence that a client is in at this moment, in microseconds.
    pub(super) silence_us: AtomicU64,
}

impl Crowd {
    /// Connects all clients, spread evenly over the matches, and waits until each sees its account.
    pub(super) fn join(args: &ChaosArgs, server: SocketAddr) -> Result<Crowd, ChaosError> {
        let now = Instant::now();
        let hub = Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any)?;
        let heard = Heard { start: now, clients: Vec::new() };
        let mut crowd = Crowd { hub, bots: Vec::new(), heard, late: Latency::default(), matches: args.matches };
        let ramp = Duration::from_secs_f64(args.clients as f64 / limits::CONNECTS_PER_SECOND);
        let mut starts = Schedule::new(now, ramp, args.clients);
        let patience = now + ramp + limits::CONNECT_PATIENCE;
        while Instant::now() < patience {
            let now = Instant::now();
            while crowd.bots.len() < args.clients && starts.take_due(now).is_some() {
                let number = crowd.bots.len();
                let key = crowd.hub.connect(now, server, "localhost", &format!("bot-{number}"))?;
                crowd.hub.join(key, JoinTarget::Named(match_name(number % args.matches)));
                crowd.bots.push(Bot { key, lost: None, joined: false });
                crowd.heard.clients.push(Client::default());
            }
            crowd.turn((now + GRAIN).max(starts.next_due().min(patience)))?;
            crowd.take_news();
            let there = crowd.bots.iter().filter(|bot| bot.joined && account(&crowd.hub, bot).is_some()).count();
            if there == args.clients {
                return Ok(crowd);
            }
        }
        let joined = crowd.bots.iter().filter(|bot| bot.joined).count();
        let reason = crowd.bots.iter().find_map(|bot| bot.lost.clone()).unwrap_or_else(|| "it takes too long".to_owned());
        Err(ChaosError::NotJoined { joined, clients: args.clients, reason })
    }

    /// Sends inputs at their times from `start` to `end`, whatever happens.
    pub(super) fn play(&mut self, rate: f64, start: Instant, end: Instant, shown: &Shown) -> Result<(), ChaosError> {
        self.heard.start = start;
        self.heard.clients.iter_mut().for_each(|client| client.arrivals.clear());
        let mut schedule = Schedule::new(start, Duration::from_secs_f64(1.0 / rate), self.bots.len());
        let mut next_shown = start;
        while Instant::now() < end {
            let now = Instant::now();
            while let Some((client, due)) = schedule.take_due(now) {
                self.late.record(now.saturating_duration_since(due));
                self.send_input(client, now);
            }
            self.hub.flush(now);
            self.turn(schedule.next_due().max(now + GRAIN).min(end))?;
            if now >= next_shown {
                next_shown = now + super::PROGRESS_EVERY;
                self.show(now, shown);
            }
        }
        Ok(())
    }

    fn send_input(&mut self, client: usize, now: Instant) {
        let Crowd { hub, bots, heard, .. } = self;
        let (bot, ledger) = (&mut bots[client], &mut heard.clients[client].ledger);
        take_news(hub, bot, ledger);
        if bot.lost.is_some() {
            return;
        }
        if let Some(number) = hub.send(now, bot.key, Numbered { number: ledger.sent + 1 }) {
            // The client's library counts as we do; if not, the game's sums show it.
            ledger.sent = number;
        }
        if ledger.sent.is_multiple_of(COMMAND_EVERY) {
            let ask = Ask::Count { number: ledger.commands + 1 };
            // One that is not taken, because too many wait, was never sent.
            ledger.commands += u32::from(hub.session_mut(bot.key).command(&ask).is_ok());
        }
    }

    /// Waits until nothing is under way any more, or nothing changes any more. Whoever hears nothing for all that time is lost: its match
    /// stands still for good.
    pub(super) fn settle(&mut self) -> Result<(), ChaosError> {
        let begin = Instant::now();
        let patience = begin + limits::CHAOS_SETTLE;
        let (mut before, mut since) = (Vec::new(), Instant::now());
        while Instant::now() < patience {
            self.turn(Instant::now() + GRAIN)?;
            self.take_news();
            let books: Vec<(u64, u64, u32)> = self.living().map(|(client, account)| books(client, account)).collect();
            if before != books {
                (before, since) = (books, Instant::now());
            }
            let all_told = self.living().all(|(client, account)| client.ledger.is_settled(&account));
            // Silence alone does not settle anything.
            if all_told && self.deaf_since(begin).is_empty() || since.elapsed() > QUIET && self.deaf_since(since).is_empty() {
                break;
            }
        }
        for bot in self.deaf_since(begin) {
            self.bots[bot].lost = Some("no snapshot came any more".to_owned());
        }
        Ok(())
    }

    /// The living clients that have had no snapshot since that time.
    fn deaf_since(&self, since: Instant) -> Vec<usize> {
        let hears = |bot: &Bot| self.hub.session(bot.key).snapshot_at().is_some_and(|at| at > since);
        let all = self.bots.iter().enumerate();
        all.filter(|(_, bot)| bot.lost.is_none() && !hears(bot)).map(|(bot, _)| bot).collect()
    }

    /// The clients whose session lives, with their accounts as they see them.
    fn living(&self) -> impl Iterator<Item = (&Client, Account)> {
        let all = self.bots.iter().zip(&self.heard.clients);
        all.filter(|(bot, _)| bot.lost.is_none()).filter_map(|(bot, client)| Some((client, account(&self.hub, bot)?)))
    }

    /// Holds all books against the accounts. Whoever lives and sees no account is wrong, too.
    pub(super) fn audit(&self) -> Audit {
        let living = self.bots.iter().filter(|bot| bot.lost.is_none()).count();
        let mut sum = Audit { accounts_wrong: (living - self.living().count()) as u64, ..Audit::default() };
        self.living().for_each(|(client, account)| sum.add(&client.ledger.audit(&account)));
        sum
    }

    /// Inputs sent, and inputs acknowledged.
    pub(super) fn inputs(&self) -> (u64, u64) {
        let ledgers = self.heard.clients.iter().map(|client| &client.ledger);
        ledgers.fold((0, 0), |(sent, acked), ledger| (sent + u64::from(ledger.sent), acked + ledger.acknowledged_count()))
    }

    /// How many sessions are over, and why.
    pub(super) fn lost(&self) -> Vec<&str> {
        self.bots.iter().filter_map(|bot| bot.lost.as_deref()).collect()
    }

    /// Each client's match, and when its snapshots arrived.
    pub(super) fn arrivals(&self) -> impl Iterator<Item = (usize, &[Micros])> {
        self.heard.clients.iter().enumerate().map(|(client, heard)| (client % self.matches, &heard.arrivals[..]))
    }

    /// How late inputs left this process.
    pub(super) fn late(&self) -> &Latency {
        &self.late
    }

    /// Leaves all matches.
    pub(super) fn leave(&mut self) -> Result<(), ChaosError> {
        for bot in self.bots.iter().filter(|bot| bot.lost.is_none()) {
            self.hub.session_mut(bot.key).leave();
        }
        let patience = Instant::now() + limits::FAREWELL;
        while Instant::now() < patience && !self.bots.iter().all(|bot| self.hub.session(bot.key).is_ended()) {
            self.hub.flush(Instant::now());
            self.turn(patience)?;
        }
        Ok(())
    }

    fn turn(&mut self, until: Instant) -> Result<(), ChaosError> {
        self.hub.wait(Some(until))?;
        self.hub.pump(Instant::now(), &mut self.heard)?;
        Ok(())
    }

    fn take_news(&mut self) {
        for (bot, client) in self.bots.iter_mut().zip(&mut self.heard.clients) {
            take_news(&mut self.hub, bot, &mut client.ledger);
        }
    }

    fn show(&self, now: Instant, shown: &Shown) {
        let (sent, acknowledged) = self.inputs();
        let silences = self.bots.iter().filter_map(|bot| self.hub.session(bot.key).snapshot_at());
        let silence = silences.map(|at| now.saturating_duration_since(at)).max().unwrap_or_default();
        shown.lost.store(self.lost().len() as u64, Ordering::Relaxed);
        shown.sent.store(sent, Ordering::Relaxed);
        shown.acknowledged.store(acknowledged, Ordering::Relaxed);
        shown.silence_us.store(u64::from(micros(silence)), Ordering::Relaxed);
    }
}

/// The name of match number `number`, from 0 on.
pub(super) fn match_name(number: usize) -> String {
    format!("match-{}", number + 1)
}

/// A client's account as it sees it.
fn account(hub: &Hub<Game>, bot: &Bot) -> Option<Account> {
    let view = hub.session(bot.key).view();
    view.get(view.mine()?, Tally::ACCOUNTS)
}

/// What changes as long as something of a client is under way.
fn books(client: &Client, account: Account) -> (u64, u64, u32) {
    (client.ledger.acknowledged_count(), u64::from(account.inputs), account.newest_command)
}

/// Takes a client's events and statuses.
fn take_news(hub: &mut Hub<Game>, bot: &mut Bot, ledger: &mut Ledger) {
    if bot.lost.is_some() {
        return;
    }
    // Looking is free; taking makes the hub look after the session.
    hub.session_mut(bot.key).events().for_each(|event| ledger.event(event.what));
    if !hub.session(bot.key).has_status() {
        return;
    }
    for status in hub.session_mut(bot.key).statuses() {
        match status {
            Status::Joined { .. } => bot.joined = true,
            Status::Refused { code, reason } => bot.lost = Some(format!("the join was refused ({code}): {reason}")),
            Status::MatchOver => bot.lost = Some("its match is over".to_owned()),
            Status::Ended(ended) => bot.lost = Some(ended.to_string()),
            Status::Rejected { inputs, commands } => ledger.rejected(inputs, commands),
            Status::Connecting | Status::Live => {}
        }
    }
}
