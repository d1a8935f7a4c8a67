//! One generator process: a socket full of bots, one loop, inputs at fixed times.
//!
//! Clients play from the moment they have a place. The process prints [`super::CONNECTED`] when all have one or have failed, waits to be told
//! that the measured time begins if it is to, plays, waits a moment for the last acknowledgements, and prints its figures as one line of JSON.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use ringfort_client::JoinTarget;

use super::bot::Bot;
use super::figures::Figures;
use super::net::Net;
use super::partial::{Process, Progress};
use super::player::{Player, Stage};
use super::{CONNECTED, PLAYED, PROGRESS, RunError};
use crate::netem::Conditions;
use crate::schedule::Schedule;
use crate::{children, cpu, limits};

/// How often the loop turns at most while nothing arrives: inputs due within a millisecond leave together.
const GRAIN: Duration = Duration::from_millis(1);
/// How often a client that sends nothing is looked after: far below the time in which its events are too many for its session.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One process's share of a run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// How many clients.
    #[arg(long)]
    clients: usize,
    /// How many clients beside them only watch.
    #[arg(long, default_value_t = 0)]
    spectators: usize,
    /// Number of the first of those that play, for names and seeds.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Number of the first of those that watch, for names.
    #[arg(long, default_value_t = 0)]
    first_spectator: usize,
    /// Inputs a second and client.
    #[arg(long)]
    rate: f64,
    /// Seconds of sending inputs.
    #[arg(long)]
    duration: f64,
    /// Seconds over which the clients connect.
    #[arg(long)]
    ramp: Option<f64>,
    /// Seconds that clients may take to get a place after the ramp.
    #[arg(long)]
    patience: Option<f64>,
    /// Seconds after which everything is over, however far it is.
    #[arg(long)]
    within: Option<f64>,
    /// The match that they join, or "any".
    #[arg(long = "match", default_value = "any")]
    match_name: String,
    /// What the bots' moves are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Half a side of the square that the bots stay in, in metres.
    #[arg(long, default_value_t = 200.0)]
    home: f32,
    /// Inputs of which one may press the trigger.
    #[arg(long, default_value_t = 3)]
    trigger_every: u32,
    /// Clients that leave and come again, a second.
    #[arg(long)]
    churn: Option<f64>,
    /// The server's instance, if clients' worlds are to be compared with the committed one.
    #[arg(long)]
    instance: Option<String>,
    /// Clients whose freshness is told.
    #[arg(long, default_value_t = 0)]
    freshness: usize,
    /// Whether every client's world is compared.
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    network: Conditions,
    /// Wait, playing, until the parent says that the measured time begins.
    #[arg(long)]
    wait: bool,
    /// Print progress.
    #[arg(long)]
    progress: bool,
}

/// Plays one share and prints its figures.
pub(crate) fn run(args: &WorkerArgs) -> Result<(), RunError> {
    let mut worker = Worker::new(args)?;
    worker.come()?;
    tell(CONNECTED)?;
    while args.wait && !children::told_to_go() {
        worker.play_on(Instant::now() + GRAIN)?;
    }
    worker.play()?;
    if args.progress {
        tell(PLAYED)?;
    }
    worker.wait_for_acknowledgements()?;
    worker.leave()?;
    (worker.figures.partial.packets, worker.figures.partial.packets_lost) = worker.net.injected();
    tell(&serde_json::to_string(&worker.figures.partial).map_err(RunError::Report)?)
}

struct Worker<'a> {
    args: &'a WorkerArgs,
    net: Net,
    /// Those that play, and behind them those that watch.
    players: Vec<Player>,
    figures: Figures,
    /// When each player's inputs are due, from the beginning to the end.
    inputs: Schedule,
    /// When each spectator is looked after.
    looks: Schedule,
    /// Clients that come, or that leave to come again.
    unsettled: Vec<usize>,
    began: Instant,
    /// Processor time of ours at the last sign of life, and when that was.
    cpu: (Duration, Instant),
}

impl<'a> Worker<'a> {
    fn new(args: &'a WorkerArgs) -> Result<Worker<'a>, RunError> {
        let local: SocketAddr = match args.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let now = Instant::now();
        let mut figures = Figures::new(args.clients, args.spectators);
        (figures.partial.requested, figures.partial.watchers.requested) = (args.clients, args.spectators);
        figures.partial.freshness.clients = args.freshness.min(args.clients);
        figures.comparison.instance.clone_from(&args.instance);
        (figures.comparison.fresh_clients, figures.comparison.verify) = (args.freshness, args.verify);
        let period = Duration::from_secs_f64(1.0 / args.rate);
        Ok(Worker {
            args,
            net: Net::bind(local, args.network, args.seed ^ args.first as u64)?,
            players: Vec::with_capacity(args.clients + args.spectators),
            figures,
            inputs: Schedule::new(now, period, args.clients),
            looks: Schedule::new(now, LOOK_EVERY, args.spectators),
            unsettled: Vec::new(),
            began: now,
            cpu: (cpu::used_by_self().map_err(RunError::Io)?, now),
        })
    }

    /// Starts every client at its time on the ramp and plays until each has a place or has failed.
    fn come(&mut self) -> Result<(), RunError> {
        let all = self.args.clients + self.args.spectators;
        let ramp = self.args.ramp.unwrap_or(all as f64 / limits::CONNECTS_PER_SECOND);
        let ramp = Duration::from_secs_f64(ramp);
        let mut starts = Schedule::new(self.began, ramp, all);
        let patience = self.args.patience.map_or(limits::CONNECT_PATIENCE, Duration::from_secs_f64);
        let patience = self.over_at(self.began + ramp + patience);
        while (self.players.len() < all || !self.unsettled.is_empty()) && Instant::now() < patience {
            let now = Instant::now();
            while self.players.len() < all && starts.take_due(now).is_some() {
                self.start_client(now)?;
            }
            let next = (self.players.len() < all).then(|| starts.next_due());
            self.play_on(next.unwrap_or(patience))?;
        }
        self.figures.partial.all_in_s = self.began.elapsed().as_secs_f64();
        for client in self.players.len()..all {
            self.figures.failed(client, "there was no time to connect it".to_owned());
        }
        for client in std::mem::take(&mut self.unsettled) {
            self.players[client].fails(&mut self.figures, client, "no place in a match in time".to_owned());
        }
        Ok(())
    }

    /// The moment, or an earlier one when everything is to be over before it.
    fn over_at(&self, moment: Instant) -> Instant {
        let over = self.args.within.map(|within| self.began + Duration::from_secs_f64(within));
        over.map_or(moment, |over| over.min(moment))
    }

    fn start_client(&mut self, now: Instant) -> Result<(), RunError> {
        let client = self.players.len();
        let args = self.args;
        let plays = client < args.clients;
        let key = self.net.connect(now, args.server, &args.name_of(client), target(args), !plays)?;
        self.figures.client_has(client, key);
        let bot = plays.then(|| Bot::new(args.seed, args.first + client, args.home, args.trigger_every));
        self.players.push(Player { bot, key, started: now, stage: Stage::Coming, was_in: false });
        self.unsettled.push(client);
        Ok(())
    }

    /// The measured time: inputs at their times, whatever happens, until the duration is over.
    fn play(&mut self) -> Result<(), RunError> {
        if !self.players.iter().any(Player::is_in) {
            return Ok(());
        }
        let start = Instant::now();
        let end = self.over_at(start + Duration::from_secs_f64(self.args.duration));
        self.inputs.skip_to(start);
        let used = cpu::used_by_self().map_err(RunError::Io)?;
        self.figures.play_begins();
        let mut churn = self.args.churn.map(|rate| Schedule::new(start, Duration::from_secs_f64(1.0 / rate), 1));
        let mut next_to_leave = 0;
        while Instant::now() < end {
            let now = Instant::now();
            while churn.as_mut().and_then(|churn| churn.take_due(now)).is_some() {
                self.leave_to_come_again(&mut next_to_leave);
            }
            let next = churn.as_ref().map_or(end, Schedule::next_due);
            self.play_on(next.min(end))?;
        }
        self.figures.measuring = false;
        let now = Instant::now();
        for (client, player) in self.players.iter().enumerate() {
            if player.is_in() && self.net.session(player.key).is_live() {
                self.figures.play_over(client, now);
            }
        }
        let used = cpu::used_by_self().map_err(RunError::Io)? - used;
        let partial = &mut self.figures.partial;
        partial.seconds = start.elapsed().as_secs_f64();
        partial.cpu_percent = 100.0 * used.as_secs_f64() / start.elapsed().as_secs_f64();
        let late_ms_p99 = partial.late.ms_at(0.99);
        partial.processes = vec![Process { clients: self.args.clients, cpu_percent: partial.cpu_percent, late_ms_p99 }];
        Ok(())
    }

    /// Sends what is due, and handles what there is, at the latest at `until`.
    fn play_on(&mut self, until: Instant) -> Result<(), RunError> {
        let now = Instant::now();
        if !self.figures.measuring {
            // What was missed while all came at once would be a flood now, and is in no figure.
            self.inputs.skip_to(now.checked_sub(self.inputs.period()).unwrap_or(now));
        }
        while let Some((client, due)) = self.inputs.take_due(now) {
            self.send_input(client, due, now);
        }
        self.looks.skip_to(now.checked_sub(LOOK_EVERY).unwrap_or(now));
        while let Some((watcher, _)) = self.looks.take_due(now) {
            self.look_after(self.args.clients + watcher);
        }
        self.net.flush(now);
        self.turn(self.inputs.next_due().max(now + GRAIN).min(until))?;
        self.settle()
    }

    /// Takes what a client has been told, and brings one whose match is over into another; false when it is in none now.
    fn look_after(&mut self, client: usize) -> bool {
        let Worker { args, net, players, figures, .. } = self;
        let Some(player) = players.get_mut(client) else { return false };
        player.note_disconnect(net, client, figures);
        if !player.is_in() {
            return false;
        }
        if !net.session(player.key).is_joined() {
            player.rejoin(net, client, target(args), figures);
            return false;
        }
        player.stage = Stage::Playing;
        figures.partial.events += net.session_mut(player.key).events().count() as u64;
        true
    }

    fn send_input(&mut self, client: usize, due: Instant, now: Instant) {
        if !self.look_after(client) {
            return;
        }
        let Worker { net, players, figures, .. } = self;
        let Player { bot: Some(bot), key, .. } = &mut players[client] else { return };
        let (key, input) = (*key, bot.input(net.session(*key).view()));
        if let Some(sequence) = net.send(now, key, input) {
            figures.sent(client, sequence, due, now);
        }
    }

    /// Looks after those who come, and lets those come again who have left.
    fn settle(&mut self) -> Result<(), RunError> {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        let mut outcome = Ok(());
        unsettled.retain(|&client| {
            let Worker { args, net, players, figures, .. } = self;
            let player = &mut players[client];
            if player.stage != Stage::Leaving {
                return !player.has_settled(net, client, figures);
            }
            if net.session(player.key).is_ended() {
                net.forget(player.key);
                let now = Instant::now();
                match net.connect(now, args.server, &args.name_of(client), target(args), player.watches()) {
                    Ok(key) => {
                        figures.client_has(client, key);
                        (player.key, player.started, player.stage) = (key, now, Stage::Coming);
                    }
                    Err(error) => outcome = Err(error.into()),
                }
            }
            true
        });
        self.unsettled = unsettled;
        outcome
    }

    /// The next of those who play leaves.
    fn leave_to_come_again(&mut self, next: &mut usize) {
        for _ in 0..self.args.clients {
            let client = *next % self.args.clients;
            *next += 1;
            let player = &mut self.players[client];
            player.note_disconnect(&self.net, client, &mut self.figures);
            if player.stage == Stage::Playing {
                player.stage = Stage::Leaving;
                self.net.session_mut(player.key).leave();
                self.figures.out_of_match(client);
                self.figures.partial.churned += 1;
                self.unsettled.push(client);
                return;
            }
        }
    }

    /// Inputs that are still under way when sending stops are not lost yet.
    fn wait_for_acknowledgements(&mut self) -> Result<(), RunError> {
        let patience = Instant::now() + limits::GRACE;
        while self.figures.outstanding() && Instant::now() < patience {
            self.turn(patience)?;
            self.settle()?;
        }
        for (client, player) in self.players.iter_mut().enumerate() {
            player.note_disconnect(&self.net, client, &mut self.figures);
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<(), RunError> {
        for player in self.players.iter().filter(|player| player.is_in()) {
            self.net.session_mut(player.key).leave();
        }
        self.net.flush(Instant::now());
        let patience = Instant::now() + limits::FAREWELL;
        while Instant::now() < patience {
            let mut leaving = self.players.iter().filter(|player| player.is_in());
            if leaving.all(|player| self.net.session(player.key).is_ended()) {
                break;
            }
            self.turn(patience)?;
        }
        Ok(())
    }

    /// Sleeps until something arrives or `until`, handles what there is, and gives a sign of life when a second is over.
    fn turn(&mut self, until: Instant) -> Result<(), RunError> {
        self.net.wait(until).map_err(RunError::Io)?;
        let now = Instant::now();
        self.net.pump(now, &mut self.figures)?;
        if self.figures.clerk.is_over(now) {
            self.second_is_over(now)?;
        }
        Ok(())
    }

    fn second_is_over(&mut self, now: Instant) -> Result<(), RunError> {
        let cpu = cpu::used_by_self().map_err(RunError::Io)?;
        let cpu_percent = 100.0 * (cpu - self.cpu.0).as_secs_f64() / (now - self.cpu.1).as_secs_f64();
        self.cpu = (cpu, now);
        let in_match = |watches| self.players.iter().filter(|player| player.is_in() && player.watches() == watches).count();
        let (live, watching) = (in_match(false), in_match(true));
        let Figures { partial, clerk, .. } = &mut self.figures;
        clerk.close(now, (live, watching), cpu_percent, &mut partial.series);
        if !self.args.progress {
            return Ok(());
        }
        let progress = Progress {
            live: live + watching,
            gone: partial.failed + partial.disconnected + partial.watchers.failed + partial.watchers.disconnected,
            sent: partial.sent,
            snapshots: partial.snapshots + partial.watchers.snapshots,
            p50_ms: partial.input_to_snapshot.ms_at(0.5),
            p99_ms: partial.input_to_snapshot.ms_at(0.99),
            cpu_percent,
        };
        let text = serde_json::to_string(&progress).map_err(RunError::Report)?;
        tell(&format!("{PROGRESS}{text}"))
    }
}

impl WorkerArgs {
    /// What a client is called.
    fn name_of(&self, client: usize) -> String {
        match client.checked_sub(self.clients) {
            None => format!("bot-{}", self.first + client),
            Some(watcher) => format!("watcher-{}", self.first_spectator + watcher),
        }
    }
}

fn target(args: &WorkerArgs) -> JoinTarget {
    match args.match_name.as_str() {
        "any" => JoinTarget::Any,
        name => JoinTarget::Named(name.to_owned()),
    }
}

fn tell(line: &str) -> Result<(), RunError> {
    println!("{line}");
    io::stdout().flush().map_err(RunError::Io)
}
