//! The loop of a simulation: whatever is due next happens next, and each commit and each snapshot is looked at.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ringfort_client::Session;
use ringfort_protocol::AckBits;
use ringfort_protocol::driver::plain;

use super::host::Host;
use super::machine::{Machine, frontend_address};
use super::network::{Network, Packet, Traffic, Weather};
use super::oracle::Oracle;
use super::{Failed, Newly, Plan, Random, Script};
use crate::frontend::shed::LEVEL_MAX;
use crate::game::Game;

/// When a simulation begins, by its own clock.
const BEGIN_US: u64 = 1_000_000;
/// How long a client waits to be welcomed before it connects anew, as [`ringfort_client::Builder::connect`] does.
const PATIENCE_US: u64 = 5_000_000;
/// Seconds without inputs and commands after that, for the last of them to be answered.
const RESTING_SECONDS: u32 = 2;
/// Input slots that a client uses at once.
const SLOTS_AT_ONCE: u32 = 4;
/// Inputs that one session skips in a tick, as far as they are looked at: a damaged number may skip billions.
const FALLEN_MAX: usize = 1024;
/// Most events of one moment: a simulation that does not move on is stuck.
const EVENTS_PER_MOMENT: u32 = 100_000;

/// What a run came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Sessions that were begun.
    pub sessions: u64,
    /// Ticks that were committed.
    pub ticks: u64,
    /// Snapshots that clients have applied.
    pub snapshots: u64,
    /// Of these, compared with the committed world.
    pub compared: u64,
    /// Inputs that were applied.
    pub inputs: u64,
    /// Ticks that the game has failed in.
    pub failures: u64,
    /// Inputs and commands that players were told to be given up.
    pub rejected: u64,
    /// Seconds of virtual time, for all players together.
    pub client_seconds: f64,
    /// From the clients.
    pub up: Traffic,
    /// To the clients.
    pub down: Traffic,
    /// The same for two runs of one plan.
    pub trace: u64,
}

/// What one player was sent over a plain carrier.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Datagrams, whether they arrived or not.
    pub datagrams: Vec<Vec<u8>>,
    /// The control streams, one after the other.
    pub stream: Vec<u8>,
}

/// Inputs of a session that were applied so far, and those of the newest tick.
#[derive(Default)]
struct Applied {
    acks: AckBits,
}

/// One world, its front-ends and its players.
pub struct Simulation<G: Game, S: Script<G>> {
    plan: Plan,
    /// What plays.
    pub script: S,
    random: Random,
    base: Instant,
    now_us: u64,
    tick_us: u64,
    ticks_left: u32,
    machine: Machine<G>,
    hosts: Vec<Host<G>>,
    by_address: BTreeMap<SocketAddr, usize>,
    network: Network,
    oracle: Oracle,
    applied: BTreeMap<u64, Applied>,
    phase: Phase,
    summary: Summary,
    /// Nothing that a client lacks was ever put off for want of room.
    complete: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Storm,
    Healing,
    Resting,
}

impl<G: Game, S: Script<G>> Simulation<G, S> {
    /// Sets a plan up.
    pub fn new(plan: Plan, script: S) -> Result<Self, Failed> {
        let mut random = Random::new(plan.seed);
        let base = Instant::now();
        let machine = Machine::<G>::new(&plan, base, BEGIN_US)?;
        let mut network = Network::new(plan.carrier, random.fork());
        let mut hosts = Vec::new();
        for who in 0..plan.clients {
            let address = SocketAddr::from(([10, 1, (who / 250) as u8, (who % 250) as u8], 40_000 + who as u16));
            let mut host = Host::new(address, plan.carrier, base)?;
            host.damaged = random.chance(plan.chaos.damaged_players);
            host.again_us = Some(BEGIN_US + random.below(300_000));
            let damaged = if host.damaged { plan.weather.damaged } else { 0.0 };
            network.set_weather(address, Weather { damaged, ..plan.weather });
            hosts.push(host);
        }
        let oracle = Oracle::new(0, machine.description(), plan.tick_hz);
        let mut simulation = Self {
            by_address: hosts.iter().enumerate().map(|(who, host)| (host.address, who)).collect(),
            ticks_left: plan.ticks,
            script,
            random,
            base,
            now_us: BEGIN_US,
            tick_us: BEGIN_US,
            machine,
            hosts,
            network,
            oracle,
            applied: BTreeMap::new(),
            phase: Phase::Storm,
            summary: Summary::default(),
            complete: true,
            plan,
        };
        simulation.look_at_commit()?;
        Ok(simulation)
    }

    /// Keeps the packets to one player, to be looked at afterwards.
    pub fn record(&mut self, who: usize) {
        self.network.recorded = Some((self.hosts[who].address, Vec::new()));
    }

    /// What was sent to the player whose packets are kept.
    pub fn recorded(&self) -> Recorded {
        let packets = self.network.recorded.as_ref().map_or(&[][..], |(_, packets)| packets);
        let (datagrams, streams): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| plain::is_datagram(packet));
        let carried = |packet: &Vec<u8>| packet[plain::HEADER_BYTES..].to_vec();
        Recorded {
            datagrams: datagrams.into_iter().map(carried).collect(),
            stream: streams.into_iter().flat_map(carried).collect(),
        }
    }

    /// What was committed.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// All sessions that a player has had, the last one last.
    pub fn sessions_of(&self, who: usize) -> &[u64] {
        &self.hosts[who].stays
    }

    /// From now on the front-ends find what they send to leave so much too late.
    pub fn overload(&mut self, late_us: u64) {
        self.machine.offices.iter_mut().for_each(|office| office.late_us = late_us);
    }

    /// How much the front-ends do without: the level of the one that does without the most.
    pub fn shed_level(&self) -> u64 {
        self.machine.offices.iter().map(|office| office.desk.shed_level()).max().unwrap_or(0)
    }

    /// Snapshots that a player has applied so far.
    pub fn snapshots_of(&self, who: usize) -> u64 {
        self.hosts[who].snapshots
    }

    /// Whether a player is in the match.
    pub fn plays(&self, who: usize) -> bool {
        self.hosts[who].session().is_some_and(Session::is_live)
    }

    /// A player leaves; it comes again soon.
    pub fn leave(&mut self, who: usize) {
        self.hosts[who].leave(self.now_us);
    }

    /// Runs it to its end.
    pub fn run(&mut self) -> Result<Summary, Failed> {
        self.run_ticks(self.plan.ticks)?;
        self.heal()?;
        self.run_ticks(self.plan.healing_ticks())?;
        self.phase = Phase::Resting;
        self.run_ticks(RESTING_SECONDS * self.plan.tick_hz)?;
        self.check_end()?;
        let mut summary = self.summary.clone();
        summary.trace = self.network.trace;
        summary.compared = self.oracle.compared;
        summary.sessions = self.hosts.iter().map(|host| host.connections).sum();
        summary.snapshots = self.hosts.iter().map(|host| host.snapshots).sum();
        summary.rejected = self.hosts.iter().map(|host| host.rejected).sum();
        for (address, traffic) in &self.network.traffic {
            let to = if self.by_address.contains_key(address) { &mut summary.up } else { &mut summary.down };
            (to.packets, to.bytes) = (to.packets + traffic.packets, to.bytes + traffic.bytes);
        }
        summary.client_seconds = (self.now_us - BEGIN_US) as f64 / 1e6 * self.hosts.len() as f64;
        Ok(summary)
    }

    /// Runs it up to where the network heals, and not to its end.
    pub fn storm(&mut self) -> Result<(), Failed> {
        self.run_ticks(self.plan.ticks)
    }

    fn run_ticks(&mut self, ticks: u32) -> Result<(), Failed> {
        self.ticks_left = ticks;
        let mut events = (self.now_us, 0);
        while self.ticks_left > 0 {
            self.now_us = self.next_us().max(self.now_us);
            events = if events.0 == self.now_us { (events.0, events.1 + 1) } else { (self.now_us, 0) };
            if events.1 > EVENTS_PER_MOMENT {
                return Err(Failed(format!("time stands still at {} us", self.now_us)));
            }
            self.happen()?;
        }
        Ok(())
    }

    fn next_us(&self) -> u64 {
        let offices = self.machine.offices.iter().map(|office| office.due_us);
        let hosts = self.hosts.iter().map(|host| match host.again_us {
            Some(again) => again.min(host.timer_us),
            None => host.timer_us.min(host.input_us).min(host.patience_us),
        });
        let next = offices.chain(hosts).min().unwrap_or(u64::MAX).min(self.tick_us);
        self.network.next_us().map_or(next, |at| at.min(next))
    }

    /// Everything that is due now, in a fixed order.
    fn happen(&mut self) -> Result<(), Failed> {
        while let Some(packet) = self.network.arrived(self.now_us) {
            self.deliver(packet);
        }
        if self.tick_us <= self.now_us {
            self.tick()?;
        }
        for slot in 0..self.machine.offices.len() {
            if self.machine.offices[slot].due_us <= self.now_us {
                self.turn_office(slot);
            }
        }
        for who in 0..self.hosts.len() {
            self.turn_host(who)?;
        }
        Ok(())
    }

    fn deliver(&mut self, packet: Packet) {
        let (network, now_us) = (&mut self.network, self.now_us);
        let Packet { from, to, bytes } = packet;
        if let Some(who) = self.by_address.get(&to) {
            let mut out = |transmit: &quinn_proto::Transmit, bytes: &[u8]| send(network, now_us, to, to, transmit, bytes);
            return self.hosts[*who].receive(self.base, now_us, from, &bytes, &mut out);
        }
        let Some(slot) = (0..self.machine.offices.len()).find(|slot| frontend_address(*slot) == to) else { return };
        let office = &mut self.machine.offices[slot];
        let mut out = |transmit: &quinn_proto::Transmit, bytes: &[u8]| send(network, now_us, from, to, transmit, bytes);
        let now = self.base + Duration::from_micros(now_us);
        office.desk.driver.handle_datagram(now, from, None, None, BytesMut::from(&bytes[..]), &mut out);
        // Packets that come one by one are taken together.
        office.due_us = office.due_us.min(now_us + self.random.below(500));
    }

    fn tick(&mut self) -> Result<(), Failed> {
        let period = 1_000_000 / u64::from(self.plan.tick_hz);
        self.ticks_left = self.ticks_left.saturating_sub(1);
        self.tick_us += period;
        if self.phase == Phase::Storm {
            self.chaos(period)?;
        }
        let frontends = self.machine.tick(self.now_us)?;
        self.look_at_commit()?;
        let lost = self.phase == Phase::Storm && self.random.chance(self.plan.chaos.call_lost);
        for (slot, office) in self.machine.offices.iter_mut().enumerate() {
            if frontends >> slot & 1 == 1 && !lost {
                office.woken = true;
                office.due_us = office.due_us.min(self.now_us + self.random.below(800));
            }
        }
        if self.phase != Phase::Resting {
            self.commands();
        }
        Ok(())
    }

    fn chaos(&mut self, period: u64) -> Result<(), Failed> {
        let chaos = self.plan.chaos;
        if self.random.chance(chaos.stalls) {
            self.tick_us += self.random.below(period * 2);
        }
        if self.random.chance(chaos.sim_dies) {
            self.machine.kill_sim();
            self.tick_us += self.random.below(period * 4);
        }
        if chaos.game_fails > 0.0 && self.random.chance(chaos.game_fails) {
            for _ in 0..=self.random.below(2) {
                self.machine.fail_game(self.now_us)?;
                self.summary.failures += 1;
            }
        }
        if chaos.overloads > 0.0 && self.random.chance(chaos.overloads) {
            let slot = self.random.below(self.machine.offices.len() as u64) as usize;
            self.machine.offices[slot].desk.shed_to(self.random.below(LEVEL_MAX as u64 + 1) as usize);
        }
        if self.random.chance(chaos.frontend_dies) {
            let slot = self.random.below(self.machine.offices.len() as u64) as usize;
            self.machine.replace_frontend(slot, self.now_us)?;
        }
        for who in 0..self.hosts.len() {
            if self.random.chance(chaos.leaves) {
                self.hosts[who].leave(self.now_us);
            }
        }
        Ok(())
    }

    fn commands(&mut self) {
        for who in 0..self.hosts.len() {
            let number = self.hosts[who].commands + 1;
            if let Some(command) = self.script.command(who, number, &mut self.random) {
                self.hosts[who].command(self.now_us, &command);
            }
        }
    }

    /// The oracle and the script look at what was committed.
    fn look_at_commit(&mut self) -> Result<(), Failed> {
        let Some(hash) = self.oracle.committed(self.machine.world())? else { return Ok(()) };
        self.network.mix(hash);
        self.summary.ticks += 1;
        let committed = self.oracle.newest().expect("it was just looked at");
        let mut newly = Newly::default();
        for (session, stay) in &committed.stays {
            let applied = self.applied.entry(*session).or_default();
            let fresh = stay.inputs.without(applied.acks);
            newly.applied.extend(fresh.map(|sequence| (*session, sequence)));
            let fallen = stay.inputs.fallen_since(applied.acks).take(FALLEN_MAX);
            newly.perhaps.extend(fallen.map(|sequence| (*session, sequence)));
            applied.acks = stay.inputs;
        }
        self.summary.inputs += newly.applied.len() as u64;
        let tainted: Vec<u64> =
            self.hosts.iter().filter(|host| host.tainted).filter_map(|host| Some(host.session()?.id().0)).collect();
        let damaged_world = self.plan.chaos.damaged_players > 0.0;
        let known: Vec<u64> = self.hosts.iter().filter_map(|host| Some(host.session()?.id().0)).collect();
        // A session that no client knows of yet, or any more, may be one of a damaged network.
        let sound = |session: u64| !damaged_world || known.contains(&session) && !tainted.contains(&session);
        self.script.committed(committed, &newly, &sound)
    }

    fn turn_office(&mut self, slot: usize) {
        let (network, now_us) = (&mut self.network, self.now_us);
        let from = frontend_address(slot);
        let office = &mut self.machine.offices[slot];
        let mut out =
            |transmit: &quinn_proto::Transmit, bytes: &[u8]| send(network, now_us, transmit.destination, from, transmit, bytes);
        office.turn(self.base, now_us, &mut out);
        self.oracle.served(slot as u32, office.incarnation, &office.desk.take_told());
        self.complete &= !self.machine.put_off();
    }

    fn turn_host(&mut self, who: usize) -> Result<(), Failed> {
        let (now_us, base) = (self.now_us, self.base);
        let carrier = self.machine.carrier();
        let host = &mut self.hosts[who];
        if host.again_us.is_some_and(|at| at <= now_us) {
            let slot = self.random.below(self.machine.offices.len() as u64) as usize;
            host.connect(base, now_us, frontend_address(slot), carrier, &mut self.random, self.script.settings())?;
            host.input_us = now_us + self.random.below(20_000);
            host.patience_us = now_us + PATIENCE_US;
        }
        if host.patience_us <= now_us {
            host.patience_us = u64::MAX;
            if host.session().is_some_and(|session| !session.is_welcomed()) {
                host.give_up(now_us);
            }
        }
        if host.playing.is_some() {
            self.act(who)?;
        } else if host.again_us.is_none() && host.input_us <= now_us {
            // A client's clock is a little off, and its program does not come on time.
            let period = 1_000_000 / u64::from(self.plan.tick_hz);
            host.input_us += period - period / 50 + self.random.below(period / 25 + 1);
            if let Some(session) = host.session().filter(|session| session.is_joined() && self.phase != Phase::Resting) {
                let input = self.script.input(who, session, host.sent + 1, &mut self.random);
                host.play(base, now_us, input);
            }
        }
        self.turn_of(who)
    }

    /// Handles what has arrived for a player, or is due.
    fn turn_of(&mut self, who: usize) -> Result<(), Failed> {
        let (now_us, base) = (self.now_us, self.base);
        let host = &mut self.hosts[who];
        if host.timer_us > now_us {
            return Ok(());
        }
        let (network, from) = (&mut self.network, host.address);
        let mut out = |transmit: &quinn_proto::Transmit, bytes: &[u8]| send(network, now_us, from, from, transmit, bytes);
        let ended = host.turn(base, now_us, &mut self.oracle, self.complete, &mut out)?;
        let events: Vec<_> = host.playing.as_mut().map_or_else(Vec::new, |playing| playing.events().collect());
        for event in events {
            self.script.heard(who, &event, &self.oracle)?;
        }
        let host = &mut self.hosts[who];
        if ended && host.again_us.is_none() {
            host.again_us = Some(now_us + 20_000 + self.random.below(200_000));
        }
        Ok(())
    }

    /// A whole client gives the inputs that its own clock asks for, at the sight of this very moment.
    fn act(&mut self, who: usize) -> Result<(), Failed> {
        let (now_us, base) = (self.now_us, self.base);
        if self.hosts[who].input_us > now_us {
            return Ok(());
        }
        self.hosts[who].input_us = u64::MAX;
        self.hosts[who].timer_us = now_us;
        self.turn_of(who)?;
        let now = base + Duration::from_micros(now_us);
        for _ in 0..SLOTS_AT_ONCE {
            let due = self.hosts[who].playing.as_mut().is_some_and(|playing| playing.take_slot(now));
            let host = &self.hosts[who];
            let (true, Some(playing), Some(session)) = (due, &host.playing, host.session()) else { break };
            if self.phase == Phase::Resting {
                continue;
            }
            let id = session.id().0;
            let (input, predicted) = self.script.act(who, playing, session, &mut self.random);
            if let Some(sequence) = self.hosts[who].act(base, now_us, input, &predicted) {
                self.script.sent(who, id, sequence);
            }
        }
        Ok(())
    }

    /// From here on nothing is lost, doubled or damaged.
    fn heal(&mut self) -> Result<(), Failed> {
        self.phase = Phase::Healing;
        self.machine.offices.iter_mut().for_each(|office| office.desk.shed_to(0));
        for host in &mut self.hosts {
            self.network.set_weather(host.address, Weather::FAIR);
            host.damaged = false;
            // What was damaged is not to be believed any more: these come back with a new session.
            if host.tainted {
                host.give_up(self.now_us);
            }
        }
        Ok(())
    }

    /// Everybody plays, shows the newest tick that can have arrived, and has everything of it.
    fn check_end(&mut self) -> Result<(), Failed> {
        self.machine.check()?;
        let newest = self.oracle.newest().expect("ticks were committed").clone();
        for who in 0..self.hosts.len() {
            let stuck = |what: String| Failed(format!("player {who} is stuck at the end (tick {}): {what}", newest.tick));
            let host = &self.hosts[who];
            let session = host.session().ok_or_else(|| stuck("it never connected".to_owned()))?;
            if host.tainted {
                return Err(stuck("it did not come back after its network had healed".to_owned()));
            }
            if !session.is_live() {
                let stage = (session.is_welcomed(), session.is_joined(), session.ended());
                let place = newest.stays.get(&session.id().0).map(|stay| (stay.row.frontend, stay.row.incarnation));
                let (at, again) = (host.server, host.again_us);
                return Err(stuck(format!(
                    "at {at}, not live (welcomed, joined, ended: {stage:?}; again at {again:?}, now {}; place {place:?}; {} sessions of {})",
                    self.now_us,
                    newest.stays.len(),
                    self.plan.capacity
                )));
            }
            let (id, tick) = (session.id().0, session.view().tick().0);
            if tick + 3 < newest.tick {
                return Err(stuck(format!("it shows tick {tick}")));
            }
            self.oracle.compare(id, session.world().expect("it is live"), true).map_err(|e| stuck(e.0))?;
            let left = self.oracle.watched.get(&id).map_or(0, |watched| watched.to_hear.len());
            // A whole client keeps its events for its program, which hears them in `Script::heard`.
            if left > 0 && host.playing.is_none() {
                return Err(stuck(format!("it has not heard {left} reliable events")));
            }
            if newest.command(id) != Some(host.commands) {
                return Err(stuck(format!("{:?} commands of {} are committed", newest.command(id), host.commands)));
            }
            if newest.rejected(id).map(|[inputs, _]| inputs) != Some(session.inputs_rejected()) {
                let (known, noted) = (session.inputs_rejected(), newest.rejected(id));
                return Err(stuck(format!("it knows of {known:?} as given up, and {noted:?} are")));
            }
            self.script.settled(&newest, id, host.commands)?;
        }
        Ok(())
    }
}

fn send(
    network: &mut Network,
    now_us: u64,
    client: SocketAddr,
    from: SocketAddr,
    transmit: &quinn_proto::Transmit,
    bytes: &[u8],
) {
    let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
    for packet in bytes.chunks(segment) {
        network.send(now_us, client, from, transmit.destination, packet);
    }
}
