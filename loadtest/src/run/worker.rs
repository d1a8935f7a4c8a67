//! One generator process: a hub full of bots, one loop, inputs at fixed times.
//!
//! It prints [`super::CONNECTED`] when all clients are in their matches or have failed, plays, waits a moment for the
//! last acknowledgements, and prints its figures as one line of JSON.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringfort_client::{Hub, JoinTarget, SessionKey, Status, Trust};

use super::bot::{Bot, Game};
use super::figures::Figures;
use super::partial::Progress;
use super::{CONNECTED, PROGRESS, PROGRESS_EVERY, RunError};
use crate::schedule::Schedule;
use crate::{cpu, limits};

/// How often the loop turns at most while nothing arrives: inputs due within a millisecond leave together.
const GRAIN: Duration = Duration::from_millis(1);

/// One process's share of a run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// How many clients.
    #[arg(long)]
    clients: usize,
    /// Number of the first of them, for names and seeds.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Inputs a second and client.
    #[arg(long)]
    rate: f64,
    /// Seconds of sending inputs.
    #[arg(long)]
    duration: f64,
    /// Seconds over which the clients connect.
    #[arg(long)]
    ramp: Option<f64>,
    /// The match that they join, or "any".
    #[arg(long = "match", default_value = "any")]
    match_name: String,
    /// What the bots' moves are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print progress.
    #[arg(long)]
    progress: bool,
}

/// Plays one share and prints its figures.
pub(crate) fn run(args: &WorkerArgs) -> Result<(), RunError> {
    let mut worker = Worker::new(args)?;
    worker.connect()?;
    tell(CONNECTED)?;
    worker.play()?;
    worker.wait_for_acknowledgements()?;
    worker.leave()?;
    tell(&serde_json::to_string(&worker.figures.partial).map_err(RunError::Report)?)
}

struct Worker<'a> {
    args: &'a WorkerArgs,
    hub: Hub<Game>,
    players: Vec<Player>,
    figures: Figures,
    signs: Signs,
}

struct Player {
    bot: Bot,
    key: SessionKey,
    started: Instant,
    live: bool,
    /// Its match is over and it has asked for another.
    rejoining: bool,
}

/// Signs of life for the parent.
struct Signs {
    next: Instant,
    cpu: Duration,
    at: Instant,
}

impl<'a> Worker<'a> {
    fn new(args: &'a WorkerArgs) -> Result<Worker<'a>, RunError> {
        let local: SocketAddr = match args.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let now = Instant::now();
        let mut figures = Figures::new(args.clients);
        figures.partial.requested = args.clients;
        Ok(Worker {
            args,
            hub: Hub::bind(local, Trust::Any)?,
            players: Vec::with_capacity(args.clients),
            figures,
            signs: Signs { next: now + PROGRESS_EVERY, cpu: Duration::ZERO, at: now },
        })
    }

    /// Starts every client at its time on the ramp and waits until each has a place or has failed.
    fn connect(&mut self) -> Result<(), RunError> {
        let ramp = self.args.ramp.unwrap_or(self.args.clients as f64 / limits::CONNECTS_PER_SECOND);
        let ramp = Duration::from_secs_f64(ramp);
        let mut starts = Schedule::new(Instant::now(), ramp, self.args.clients);
        let patience = Instant::now() + ramp + limits::CONNECT_PATIENCE;
        let mut pending: Vec<usize> = Vec::new();
        while (self.players.len() < self.args.clients || !pending.is_empty()) && Instant::now() < patience {
            let now = Instant::now();
            while self.players.len() < self.args.clients && starts.take_due(now).is_some() {
                pending.push(self.players.len());
                self.start_client(now)?;
            }
            self.hub.flush(now);
            let next = (self.players.len() < self.args.clients).then(|| starts.next_due());
            self.turn(next.unwrap_or(patience))?;
            let Worker { hub, players, figures, .. } = self;
            pending.retain(|&client| !settled(hub, &mut players[client], figures));
        }
        for _ in pending {
            self.figures.partial.failed += 1;
            self.figures.partial.count_reason("no place in a match in time".to_owned());
        }
        Ok(())
    }

    fn start_client(&mut self, now: Instant) -> Result<(), RunError> {
        let client = self.args.first + self.players.len();
        let key = self.hub.connect(now, self.args.server, "localhost", &format!("bot-{client}"))?;
        self.hub.join(key, target(self.args));
        self.players.push(Player { bot: Bot::new(self.args.seed, client), key, started: now, live: false, rejoining: false });
        Ok(())
    }

    /// Sends inputs at their times, whatever happens, until the duration is over.
    fn play(&mut self) -> Result<(), RunError> {
        if !self.players.iter().any(|player| player.live) {
            return Ok(());
        }
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.args.duration);
        let period = Duration::from_secs_f64(1.0 / self.args.rate);
        let mut schedule = Schedule::new(start, period, self.players.len());
        let used = cpu::used_by_self().map_err(RunError::Io)?;
        self.figures.play_begins();
        while Instant::now() < end {
            let now = Instant::now();
            while let Some((client, due)) = schedule.take_due(now) {
                self.send_input(client, due, now);
            }
            self.hub.flush(now);
            self.turn(schedule.next_due().max(now + GRAIN).min(end))?;
        }
        self.figures.measuring = false;
        let now = Instant::now();
        for (client, player) in self.players.iter().enumerate() {
            if player.live && self.hub.session(player.key).is_live() {
                self.figures.play_over(client, now);
            }
        }
        let used = cpu::used_by_self().map_err(RunError::Io)? - used;
        self.figures.partial.seconds = start.elapsed().as_secs_f64();
        self.figures.partial.cpu_percent = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
        Ok(())
    }

    fn send_input(&mut self, client: usize, due: Instant, now: Instant) {
        let Worker { args, hub, players, figures, .. } = self;
        let player = &mut players[client];
        note_disconnect(hub, player, figures);
        if !player.live {
            return;
        }
        if !hub.session(player.key).is_joined() {
            return rejoin(args, hub, player, client, figures);
        }
        player.rejoining = false;
        figures.partial.events += hub.session_mut(player.key).events().count() as u64;
        let input = player.bot.input(hub.session(player.key).view());
        if let Some(sequence) = hub.send(now, player.key, input) {
            figures.sent(client, sequence, due, now);
        }
    }

    /// Inputs that are still under way when sending stops are not lost yet.
    fn wait_for_acknowledgements(&mut self) -> Result<(), RunError> {
        let patience = Instant::now() + limits::GRACE;
        while self.figures.outstanding() && Instant::now() < patience {
            self.turn(patience)?;
        }
        for client in 0..self.players.len() {
            let player = &mut self.players[client];
            if player.live
                && let Some(ended) = self.hub.session(player.key).ended()
            {
                player.live = false;
                self.figures.partial.disconnected += 1;
                self.figures.partial.count_reason(ended.to_string());
            }
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), RunError> {
        for player in self.players.iter().filter(|player| player.live) {
            self.hub.session_mut(player.key).leave();
        }
        self.hub.flush(Instant::now());
        let patience = Instant::now() + limits::FAREWELL;
        while Instant::now() < patience {
            let mut leaving = self.players.iter().filter(|player| player.live);
            if leaving.all(|player| self.hub.session(player.key).is_ended()) {
                break;
            }
            self.turn(patience)?;
        }
        Ok(())
    }

    /// Sleeps until something arrives or `until`, handles what there is, and gives a sign of life when one is due.
    fn turn(&mut self, until: Instant) -> Result<(), RunError> {
        self.hub.wait(Some(until)).map_err(RunError::Io)?;
        let now = Instant::now();
        self.hub.pump(now, &mut self.figures)?;
        if self.args.progress && now >= self.signs.next {
            self.sign(now)?;
        }
        Ok(())
    }

    fn sign(&mut self, now: Instant) -> Result<(), RunError> {
        let cpu = cpu::used_by_self().map_err(RunError::Io)?;
        let partial = &self.figures.partial;
        let progress = Progress {
            live: self.players.iter().filter(|player| player.live).count(),
            gone: partial.failed + partial.disconnected,
            sent: partial.sent,
            snapshots: partial.snapshots,
            p50_ms: partial.input_to_snapshot.ms_at(0.5),
            p99_ms: partial.input_to_snapshot.ms_at(0.99),
            cpu_percent: 100.0 * (cpu - self.signs.cpu).as_secs_f64() / (now - self.signs.at).as_secs_f64(),
        };
        self.signs = Signs { next: now + PROGRESS_EVERY, cpu, at: now };
        let text = serde_json::to_string(&progress).map_err(RunError::Report)?;
        tell(&format!("{PROGRESS}{text}"))
    }
}

/// Takes a connecting client's statuses; true when it has a place or has failed.
fn settled(hub: &mut Hub<Game>, player: &mut Player, figures: &mut Figures) -> bool {
    // Looking is free; taking makes the hub look after the session.
    let session = hub.session(player.key);
    if !session.has_status() {
        return false;
    }
    let (mut settled, mut reason) = (false, None);
    for status in hub.session_mut(player.key).statuses() {
        match status {
            Status::Joined { .. } => {
                player.live = true;
                settled = true;
            }
            Status::Refused { code, reason: text } => reason = Some(format!("the join was refused ({code}): {text}")),
            Status::Ended(ended) => reason = Some(ended.to_string()),
            Status::Connecting | Status::Live | Status::Rejected { .. } | Status::MatchOver => {}
            Status::Resuming { .. } | Status::Resumed { .. } => {}
        }
    }
    if player.live {
        figures.partial.connected += 1;
        figures.partial.connect.record(player.started.elapsed());
    } else if let Some(reason) = reason {
        figures.partial.failed += 1;
        figures.partial.count_reason(reason);
        settled = true;
    }
    settled
}

/// The player's match is over: it asks for another once, and counts as disconnected when it is refused.
fn rejoin(args: &WorkerArgs, hub: &mut Hub<Game>, player: &mut Player, client: usize, figures: &mut Figures) {
    let refused = hub.session_mut(player.key).statuses().find_map(|status| match status {
        Status::Refused { code, reason } => Some(format!("another join was refused ({code}): {reason}")),
        _ => None,
    });
    if let Some(reason) = refused {
        player.live = false;
        figures.partial.disconnected += 1;
        figures.partial.count_reason(reason);
    } else if !player.rejoining {
        player.rejoining = true;
        figures.match_over(client);
        hub.join(player.key, target(args));
    }
}

fn target(args: &WorkerArgs) -> JoinTarget {
    match args.match_name.as_str() {
        "any" => JoinTarget::Any,
        name => JoinTarget::Named(name.to_owned()),
    }
}

/// Counts a player whose session has ended since it was last looked at.
fn note_disconnect(hub: &Hub<Game>, player: &mut Player, figures: &mut Figures) {
    if player.live
        && let Some(ended) = hub.session(player.key).ended()
    {
        player.live = false;
        figures.partial.disconnected += 1;
        figures.partial.count_reason(ended.to_string());
    }
}

fn tell(line: &str) -> Result<(), RunError> {
    println!("{line}");
    io::stdout().flush().map_err(RunError::Io)
}
