//! The clients of a chaos run in one loop: inputs at fixed times, and books of everything that the server tells.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ringfort_client::{Hub, JoinTarget, Session, SessionKey, Snapshot, Status, Trust, Watch};
use ringfort_protocol::SessionId;

use super::ChaosError;
use super::args::Scenario;
use super::gaps::{Micros, Track, micros};
use super::ledger::{Audit, Ledger};
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

/// All clients: behind one socket, or each behind its own.
pub(super) struct Crowd {
    hubs: Vec<Hub<Game>>,
    bots: Vec<Bot>,
    heard: Heard,
    late: Latency,
    matches: usize,
    /// When which client gets another address, if it does.
    rebinds: Option<Schedule>,
    rebound: u64,
}

/// One client.
struct Bot {
    hub: usize,
    key: SessionKey,
    /// Why its session is over, once it is.
    lost: Option<String>,
    /// Its session, once it has one.
    session: Option<SessionId>,
    /// Times that it was told another session than its first.
    changed: u64,
    /// Inputs that were due and were not taken, because too many are unacknowledged.
    skipped: u64,
}

/// What the snapshots told.
struct Heard {
    start: Instant,
    clients: Vec<Client>,
    /// The first client of the hub that is being pumped.
    first: usize,
    troubles: Vec<Trouble>,
}

#[derive(Default)]
struct Client {
    ledger: Ledger,
    track: Track,
}

impl Watch<Game> for Heard {
    fn snapshot(&mut self, key: SessionKey, _session: &Session<Game>, snapshot: &Snapshot) {
        let Client { ledger, track } = &mut self.clients[self.first + key.index()];
        snapshot.inputs.iter().for_each(|number| ledger.acknowledged(number));
        track.arrivals.push(micros(snapshot.arrived.saturating_duration_since(self.start)));
        track.acknowledged.push(snapshot.inputs.highest);
    }
}

/// What is shown while it runs.
#[derive(Default)]
pub(super) struct Shown {
    /// Sessions that are over.
    pub(super) lost: AtomicU64,
    /// Times that a client came back over another connection.
    pub(super) resumed: AtomicU64,
    /// Inputs sent.
    pub(super) sent: AtomicU64,
    /// Inputs acknowledged.
    pub(super) acknowledged: AtomicU64,
    /// The longest silence that a client is in at this moment, in microseconds.
    pub(super) silence_us: AtomicU64,
}

/// What went wrong, or is to be told of all clients.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) skipped: u64,
    pub(super) resumed: u64,
    pub(super) changed: u64,
    pub(super) rebound: u64,
}

/// Something that went wrong with a client.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) client: usize,
    /// When, if it was seen at once and not only at the end.
    pub(super) at: Option<Micros>,
    pub(super) what: String,
}

impl Crowd {
    /// Connects all clients, spread evenly over the matches, and waits until each sees its account.
    pub(super) fn join(scenario: &Scenario, server: SocketAddr) -> Result<Crowd, ChaosError> {
        let (now, clients, matches) = (Instant::now(), scenario.clients, scenario.common.matches);
        let mut crowd = Crowd {
            hubs: Vec::new(),
            bots: Vec::new(),
            heard: Heard { start: now, clients: Vec::new(), first: 0, troubles: Vec::new() },
            late: Latency::default(),
            matches,
            rebinds: None,
            rebound: 0,
        };
        let ramp = Duration::from_secs_f64(clients as f64 / limits::CONNECTS_PER_SECOND);
        let mut starts = Schedule::new(now, ramp, clients);
        let patience = now + ramp + limits::CONNECT_PATIENCE;
        while Instant::now() < patience {
            let now = Instant::now();
            while crowd.bots.len() < clients && starts.take_due(now).is_some() {
                let number = crowd.bots.len();
                if crowd.hubs.is_empty() || scenario.rebind.is_some() {
                    crowd.hubs.push(Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any)?);
                }
                let hub = crowd.hubs.len() - 1;
                let key = crowd.hubs[hub].connect(now, server, "localhost", &client_name(number))?;
                crowd.hubs[hub].join(key, JoinTarget::Named(match_name(number % matches)));
                crowd.bots.push(Bot { hub, key, lost: None, session: None, changed: 0, skipped: 0 });
                crowd.heard.clients.push(Client::default());
            }
            crowd.turn((now + GRAIN).max(starts.next_due().min(patience)))?;
            crowd.take_news();
            let there = |bot: &&Bot| bot.session.is_some() && account(&crowd.hubs, bot).is_some();
            if crowd.bots.iter().filter(there).count() == clients {
                return Ok(crowd);
            }
        }
        let joined = crowd.bots.iter().filter(|bot| bot.session.is_some()).count();
        let reason = crowd.bots.iter().find_map(|bot| bot.lost.clone()).unwrap_or_else(|| "it takes too long".to_owned());
        Err(ChaosError::NotJoined { joined, clients, reason })
    }

    /// Sends inputs at their times from `start` to `end`, whatever happens.
    pub(super) fn play(&mut self, scenario: &Scenario, start: Instant, end: Instant, shown: &Shown) -> Result<(), ChaosError> {
        self.heard.start = start;
        self.heard.clients.iter_mut().for_each(|client| client.track = Track::default());
        let clients = self.bots.len();
        let mut schedule = Schedule::new(start, Duration::from_secs_f64(1.0 / scenario.common.rate), clients);
        let rebinds_begin = start + scenario.common.calm;
        // What is due at the very end is the first one of a time that is not asked for.
        let rebinds_end = rebinds_begin + scenario.duration - Duration::from_nanos(1);
        self.rebinds = scenario.rebind.map(|every| Schedule::new(rebinds_begin, every, clients));
        let mut next_shown = start;
        while Instant::now() < end {
            let now = Instant::now();
            while let Some((client, due)) = schedule.take_due(now) {
                self.late.record(now.saturating_duration_since(due));
                self.send_input(client, now);
            }
            self.rebind(now.min(rebinds_end))?;
            self.hubs.iter_mut().for_each(|hub| hub.flush(now));
            self.turn(schedule.next_due().max(now + GRAIN).min(end))?;
            if now >= next_shown {
                next_shown = now + super::PROGRESS_EVERY;
                self.show(now, shown);
            }
        }
        Ok(())
    }

    fn send_input(&mut self, client: usize, now: Instant) {
        let Crowd { hubs, bots, heard, .. } = self;
        let bot = &mut bots[client];
        take_news(hubs, bot, client, heard);
        if bot.lost.is_some() {
            return;
        }
        let Client { ledger, track } = &mut heard.clients[client];
        let hub = &mut hubs[bot.hub];
        let numbered = Numbered { number: ledger.sent + 1 };
        let sent = if ledger.has_room() { hub.send(now, bot.key, numbered) } else { None };
        let Some(number) = sent else { return bot.skipped += 1 };
        // The client's library counts as we do; if not, the game's sums show it.
        ledger.sent = number;
        track.sent.push(micros(now.saturating_duration_since(heard.start)));
        if ledger.sent.is_multiple_of(COMMAND_EVERY) {
            let ask = Ask::Count { number: ledger.commands + 1 };
            // One that is not taken, because too many wait, was never sent.
            ledger.commands += u32::from(hub.session_mut(bot.key).command(&ask).is_ok());
        }
    }

    /// Waits until nothing is under way any more, or nothing changes any more, and there is a supervisor. Whoever hears nothing for all that time is lost: its match
    /// stands still for good.
    pub(super) fn settle(&mut self, is_supervised: impl Fn() -> bool) -> Result<(), ChaosError> {
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
            let quiet =
                all_told && self.deaf_since(begin).is_empty() || since.elapsed() > QUIET && self.deaf_since(since).is_empty();
            if quiet && is_supervised() {
                break;
            }
        }
        for bot in self.deaf_since(begin) {
            let what = "no snapshot came any more".to_owned();
            self.heard.troubles.push(Trouble { client: bot, at: None, what: what.clone() });
            self.bots[bot].lost = Some(what);
        }
        Ok(())
    }

    /// The living clients that have had no snapshot since that time.
    fn deaf_since(&self, since: Instant) -> Vec<usize> {
        let hears = |bot: &Bot| session(&self.hubs, bot).snapshot_at().is_some_and(|at| at > since);
        let all = self.bots.iter().enumerate();
        all.filter(|(_, bot)| bot.lost.is_none() && !hears(bot)).map(|(bot, _)| bot).collect()
    }

    /// The clients whose session lives, with their accounts as they see them.
    fn living(&self) -> impl Iterator<Item = (&Client, Account)> {
        let all = self.bots.iter().zip(&self.heard.clients);
        all.filter(|(bot, _)| bot.lost.is_none()).filter_map(|(bot, client)| Some((client, account(&self.hubs, bot)?)))
    }

    /// Holds all books against the accounts. Whoever lives and sees no account is wrong, too.
    pub(super) fn audit(&self) -> Audit {
        let living = self.bots.iter().filter(|bot| bot.lost.is_none()).count();
        let mut sum = Audit { accounts_wrong: (living - self.living().count()) as u64, ..Audit::default() };
        self.living().for_each(|(client, account)| sum.add(&client.ledger.audit(&account)));
        sum
    }

    /// Everything that went wrong: what was seen at once first.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = self.heard.troubles.clone();
        let all = self.bots.iter().zip(&self.heard.clients).enumerate().filter(|(_, (bot, _))| bot.lost.is_none());
        for (number, (bot, client)) in all {
            let audit = account(&self.hubs, bot).map(|account| (client.ledger.audit(&account), account));
            let what = match audit {
                Some((audit, _)) if audit.is_clean() => continue,
                Some((audit, account)) => format!("{audit:?} of {account:?}"),
                None => "it sees no account of its own".to_owned(),
            };
            troubles.push(Trouble { client: number, at: None, what });
        }
        troubles
    }

    /// What all clients did.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals { rebound: self.rebound, ..Totals::default() };
        for (bot, client) in self.bots.iter().zip(&self.heard.clients) {
            totals.sent += u64::from(client.ledger.sent);
            totals.acknowledged += client.ledger.acknowledged_count();
            totals.skipped += bot.skipped;
            totals.resumed += u64::from(session(&self.hubs, bot).resumes());
            totals.changed += bot.changed;
        }
        totals
    }

    /// How many sessions are over, and why.
    pub(super) fn lost(&self) -> Vec<&str> {
        self.bots.iter().filter_map(|bot| bot.lost.as_deref()).collect()
    }

    /// Each client's match, and what it lived through.
    pub(super) fn tracks(&self) -> impl Iterator<Item = (usize, &Track)> {
        self.heard.clients.iter().enumerate().map(|(client, heard)| (client % self.matches, &heard.track))
    }

    /// How late inputs left this process.
    pub(super) fn late(&self) -> &Latency {
        &self.late
    }

    /// Leaves all matches.
    pub(super) fn leave(&mut self) -> Result<(), ChaosError> {
        for bot in self.bots.iter().filter(|bot| bot.lost.is_none()) {
            self.hubs[bot.hub].session_mut(bot.key).leave();
        }
        let patience = Instant::now() + limits::FAREWELL;
        while Instant::now() < patience && !self.bots.iter().all(|bot| session(&self.hubs, bot).is_ended()) {
            self.hubs.iter_mut().for_each(|hub| hub.flush(Instant::now()));
            self.turn(patience)?;
        }
        Ok(())
    }

    /// Sleeps until something arrives or that time, and handles what has arrived. Many hubs take turns instead.
    fn turn(&mut self, until: Instant) -> Result<(), ChaosError> {
        match &self.hubs[..] {
            [hub] => _ = hub.wait(Some(until))?,
            _ => thread::sleep(until.saturating_duration_since(Instant::now()).min(GRAIN)),
        }
        let alone = self.hubs.len() > 1;
        for (at, hub) in self.hubs.iter_mut().enumerate() {
            self.heard.first = if alone { at } else { 0 };
            hub.pump(Instant::now(), &mut self.heard)?;
        }
        Ok(())
    }

    fn take_news(&mut self) {
        for (client, bot) in self.bots.iter_mut().enumerate() {
            take_news(&mut self.hubs, bot, client, &mut self.heard);
        }
    }

    /// Gives those clients another address whose time it is.
    fn rebind(&mut self, now: Instant) -> Result<(), ChaosError> {
        let Crowd { hubs, bots, rebinds: Some(rebinds), rebound, .. } = self else { return Ok(()) };
        while let Some((client, _)) = rebinds.take_due(now) {
            hubs[bots[client].hub].rebind()?;
            *rebound += 1;
        }
        Ok(())
    }

    fn show(&self, now: Instant, shown: &Shown) {
        let totals = self.totals();
        let silences = self.bots.iter().filter_map(|bot| session(&self.hubs, bot).snapshot_at());
        let silence = silences.map(|at| now.saturating_duration_since(at)).max().unwrap_or_default();
        shown.lost.store(self.lost().len() as u64, Ordering::Relaxed);
        shown.resumed.store(totals.resumed, Ordering::Relaxed);
        shown.sent.store(totals.sent, Ordering::Relaxed);
        shown.acknowledged.store(totals.acknowledged, Ordering::Relaxed);
        shown.silence_us.store(u64::from(micros(silence)), Ordering::Relaxed);
    }
}

/// The name of match number `number`, from 0 on.
pub(super) fn match_name(number: usize) -> String {
    format!("match-{}", number + 1)
}

/// The name of the player of client number `number`, from 0 on.
fn client_name(number: usize) -> String {
    format!("bot-{number}")
}

/// The number of the client with this player's name.
pub(super) fn client_number(name: &str) -> Option<usize> {
    name.strip_prefix("bot-")?.parse().ok()
}

fn session<'a>(hubs: &'a [Hub<Game>], bot: &Bot) -> &'a Session<Game> {
    hubs[bot.hub].session(bot.key)
}

/// A client's account as it sees it.
fn account(hubs: &[Hub<Game>], bot: &Bot) -> Option<Account> {
    let view = session(hubs, bot).view();
    view.get(view.mine()?, Tally::ACCOUNTS)
}

/// What changes as long as something of a client is under way.
fn books(client: &Client, account: Account) -> (u64, u64, u32) {
    (client.ledger.acknowledged_count(), u64::from(account.inputs), account.newest_command)
}

/// Takes a client's events and statuses.
fn take_news(hubs: &mut [Hub<Game>], bot: &mut Bot, number: usize, heard: &mut Heard) {
    if bot.lost.is_some() {
        return;
    }
    let hub = &mut hubs[bot.hub];
    let at = Some(micros(heard.start.elapsed()));
    let mut trouble = |what: String| heard.troubles.push(Trouble { client: number, at, what });
    let ledger = &mut heard.clients[number].ledger;
    // Looking is free; taking makes the hub look after the session.
    for event in hub.session_mut(bot.key).events() {
        if !ledger.event(event.what) {
            trouble(format!("the event {:?} is not the next one", event.what));
        }
    }
    if !hub.session(bot.key).has_status() {
        return;
    }
    for status in hub.session_mut(bot.key).statuses() {
        match status {
            Status::Joined { session, .. } => _ = bot.session.get_or_insert(session),
            Status::Refused { code, reason } => bot.lost = Some(format!("the join was refused ({code}): {reason}")),
            Status::MatchOver => bot.lost = Some("its match is over".to_owned()),
            Status::Ended(ended) => bot.lost = Some(ended.to_string()),
            Status::Rejected { inputs, commands } => ledger.rejected(inputs, commands),
            Status::Connecting | Status::Live | Status::Resuming { .. } | Status::Resumed { .. } => {}
        }
    }
    let now = hub.session(bot.key).id();
    if let Some(first) = bot.session.filter(|first| *first != now && bot.lost.is_none()) {
        bot.changed += 1;
        bot.session = Some(now);
        trouble(format!("its session was {first:?} and is {now:?}"));
    }
    if let Some(reason) = &bot.lost {
        trouble(reason.clone());
    }
}
