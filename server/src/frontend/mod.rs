//! A front-end process: one loop over one UDP socket.
//!
//! receive a batch -> let quinn-proto and the connections handle it (`clients`) -> append inputs to the inboxes (`zones`) -> on a
//! commit, refresh the view (`zone_view`) and build each client's snapshot (`snapshot`) -> send a batch. No task for each
//! connection, no lock but the inbox's, no wake-up between threads. It has the world and the directory read-only.

mod admission;
mod clients;
pub mod counters;
mod cues;
mod desk;
mod drain;
mod entity_view;
mod field;
mod greet;
mod interest;
#[cfg(test)]
mod interest_tests;
mod meter;
mod owned;
mod pace;
mod post;
mod round;
mod secrets;
mod serve;
pub(crate) mod session;
pub(crate) mod shed;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
mod waiting;
pub(crate) mod zone_view;
mod zones;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringfort_protocol::control::Code;
use ringfort_protocol::driver::{Block, Driver};
use ringfort_protocol::quic::{TlsError, server_config, server_endpoint};
use ringfort_shm_state::flight::FlightRing;
use ringfort_shm_state::kill_point;
use ringfort_shm_state::layout::SegmentKind;
use ringfort_shm_state::segment::{Access, Segment, SegmentError, SegmentSpec};
use ringfort_shm_state::world::World;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{info, warn};

use crate::auth::{Auth, KeyError};
use crate::certificate::{Certificate, CertificateError};
use crate::cli::Role;
use crate::clock::now_us;
use crate::config::Config;
use crate::descriptors::Descriptors;
use crate::flight;
use crate::game::{Description, Game, ZoneLimits};
use crate::limits::{
    FRONTEND_DRAIN_EVERY_MS, FRONTEND_STANDBY, GATHER_US, GOODBYE_MS, LOOP_SLEEP_MAX_MS, RECEIVE_BATCHES_PER_LOOP,
    RECEIVE_BLOCK_BYTES, UDP_BATCH,
};
use crate::logging::{self, Source};
use crate::outlive::{OutliveError, outlive_supervisor};
use crate::run_dir::{RunDir, RunDirError};
use crate::stop_signal;
use crate::supervisor::place;
use crate::supervisor::spawn::MissingDescriptor;
use crate::udp::UdpBatch;
use crate::warm::touch_program;
use clients::Clients;
use counters as count;
pub(crate) use desk::Desk;
use drain::Drain;
use greet::Allowance;
use post::Post;

/// A front-end could not begin.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// A segment is not there or not ours.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The supervisor did not pass a descriptor.
    #[error(transparent)]
    Descriptor(#[from] MissingDescriptor),
    /// The run directory or the keys in it cannot be read.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// There is no usable certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is no usable key for tokens.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate does not make a TLS configuration.
    #[error("the certificate cannot be used: {0}")]
    Tls(#[from] TlsError),
    /// The socket refuses.
    #[error("the UDP socket cannot be used: {0}")]
    Socket(#[from] std::io::Error),
    /// It can't outlive its supervisor.
    #[error(transparent)]
    Outlive(#[from] OutliveError),
}

/// A front-end process's whole state.
struct Frontend {
    desk: Desk,
    udp: UdpBatch,
    socket: &'static OwnedFd,
    wake: &'static OwnedFd,
    /// Where received datagrams are cut from.
    block: Block,
    /// When packets were last taken in.
    received_at: Instant,
    /// Its clients are asked to go elsewhere.
    drain: Option<Drain>,
    /// The time that newcomers may take.
    allowance: Allowance,
}

/// Runs a front-end until its process is ended.
pub fn run<G: Game>(instance: &str, slot: u32, config: &Config) -> Result<Infallible, FrontendError> {
    let own = post::claim(instance, slot)?;
    stop_signal::catch();
    let passed = Descriptors::take()?;
    let directory = Segment::from_fd(instance, SegmentSpec::DIRECTORY, passed.directory.try_clone()?, Access::ReadOnly)?;
    let world = World::new(Segment::from_fd(instance, SegmentSpec::world(0), passed.world.try_clone()?, Access::ReadOnly)?);
    let inbox = Segment::open(instance, SegmentSpec::inbox(SegmentKind::InboxNet, 0), Access::ReadWrite)?;
    let run_dir = RunDir::open(instance)?;
    let incarnation = outlive_supervisor(&run_dir, &directory, place(Role::Frontend, slot), passed)?.incarnation;
    kill_point::identify(if slot == FRONTEND_STANDBY { "standby" } else { "frontend" }, slot, incarnation);
    let keys = run_dir.keys()?;
    let certificate = Certificate::load(&config.tls, &run_dir)?;
    let auth = Auth::of(config)?;
    let quic = server_config(certificate.chain, certificate.key, &keys.token, &keys.ticket)?;
    touch_program();
    let (own, Post { slot, incarnation }) = match slot {
        FRONTEND_STANDBY => {
            let wake = &passed.frontend_wakes[slot as usize];
            take_over(instance, post::stand_by(&own, &directory, &world, wake), &run_dir)?
        }
        slot => (own, Post { slot, incarnation }),
    };
    record(instance, slot, incarnation)?;
    let socket = &passed.sockets[slot as usize];
    let describe = |limits: ZoneLimits| Description::of::<G>(limits);
    let mut frontend = Frontend {
        desk: Desk {
            driver: Driver::server(Instant::now(), server_endpoint(slot as u8, &keys.reset), quic),
            clients: Clients::new(
                slot,
                incarnation,
                Rc::new(world),
                Rc::new(directory),
                Rc::new(inbox),
                own,
                describe,
                Description::schema_of::<G>(),
                Instant::now(),
                auth,
            ),
        },
        udp: UdpBatch::new(std::os::fd::AsFd::as_fd(socket))?,
        wake: &passed.frontend_wakes[slot as usize],
        block: Block::new(RECEIVE_BLOCK_BYTES),
        received_at: Instant::now(),
        drain: None,
        allowance: Allowance::new(Instant::now()),
        socket,
    };
    frontend.desk.limit(config.limits);
    frontend.desk.bound(config.interest, config.snapshot_bytes as usize);
    frontend.desk.clients.set_ready();
    info!("front-end {slot} is ready");
    loop {
        if stop_signal::requested() {
            frontend.say_goodbye();
        }
        frontend.turn(false)?;
    }
}

/// Notes in the slot's flight recorder what happens from here on.
fn record(instance: &str, slot: u32, incarnation: u32) -> Result<(), SegmentError> {
    flight::start(instance, SegmentSpec::worker(SegmentKind::Frontend, slot), FlightRing::WORKER, incarnation)
}

/// Leaves the place of who stands by, which its own successor may have taken already, for a slot and its log.
fn take_over(instance: &str, post: Post, run_dir: &RunDir) -> Result<(Segment, Post), FrontendError> {
    let own = post::claim(instance, post.slot)?;
    kill_point::identify("frontend", post.slot, post.incarnation);
    let file = run_dir.worker_log(Role::Frontend, post.slot);
    if let Err(error) = logging::rename(Source::Worker(Role::Frontend, post.slot), &file) {
        warn!("front-end {} goes on with the log that it has: {error}", post.slot);
    }
    Ok((own, post))
}

impl Frontend {
    fn turn(&mut self, stopping: bool) -> Result<(), FrontendError> {
        let woken = self.wait();
        self.receive()?;
        let sender = &mut self.udp.sender;
        let looked = self.desk.turn(Instant::now(), now_us(), woken, stopping, &mut |t, b| sender.push(t, b));
        sender.flush();
        self.desk.sent(now_us());
        if looked {
            self.follow_orders();
        }
        if let Some(drain) = &mut self.drain {
            drain.ask(Instant::now(), &mut self.desk.driver);
        }
        if !stopping {
            self.greet();
        }
        self.desk.clients.publish_counters(&self.desk.driver, &self.udp);
        Ok(())
    }

    /// Begins to ask the clients to go elsewhere, or leaves off, as the directory says.
    fn follow_orders(&mut self) {
        let drains = self.desk.clients.is_to_drain();
        if drains != self.drain.is_some() {
            info!("clients are {} to go elsewhere", if drains { "asked" } else { "no longer asked" });
            self.drain = drains.then(|| Drain::begin(Instant::now()));
            if !drains {
                self.desk.clients.end_drain();
            }
        }
    }

    /// Waits for a packet, a commit or a timer. `true` when a sim has committed.
    fn wait(&mut self) -> bool {
        let now = Instant::now();
        let serves_in = self.desk.clients.serves_next_us().map(|at| Duration::from_micros(at.saturating_sub(now_us())));
        if serves_in == Some(Duration::ZERO) {
            return self.woken_within(Duration::ZERO, false);
        }
        let most = Duration::from_millis(match &self.drain {
            _ if self.desk.clients.has_backlog() => 1,
            Some(_) if self.desk.driver.open_connections() > 0 => FRONTEND_DRAIN_EVERY_MS,
            _ => LOOP_SLEEP_MAX_MS,
        });
        let most = serves_in.map_or(most, |serves_in| serves_in.min(most));
        let timer = self.desk.driver.next_timeout().map_or(most, |at| at.saturating_duration_since(now).min(most));
        // Packets that come one by one are taken together: a wake-up costs more than handling one. A commit cuts this short.
        let gather = Duration::from_micros(GATHER_US).saturating_sub(now.duration_since(self.received_at));
        let woken = !gather.is_zero() && self.woken_within(gather, false);
        woken || self.woken_within(timer.saturating_sub(gather), true)
    }

    /// [`Frontend::poll_fds`], after which the next commit wakes again.
    fn woken_within(&mut self, timeout: Duration, packets: bool) -> bool {
        let woken = self.poll_fds(timeout, packets);
        if woken {
            let _ = rustix::io::read(self.wake, &mut [0u8; 8]);
        }
        self.received_at = Instant::now();
        woken
    }

    /// Sleeps until a commit, the time-out, or, if asked for, a packet. `true` when a sim has committed.
    fn poll_fds(&self, timeout: Duration, packets: bool) -> bool {
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        let mut fds = [PollFd::new(self.wake, PollFlags::IN), PollFd::new(self.socket, PollFlags::IN)];
        let looked_at = if packets { 2 } else { 1 };
        // Interrupted or not: the loop looks at everything again.
        let _ = poll(&mut fds[..looked_at], Some(&timeout));
        fds[0].revents().contains(PollFlags::IN)
    }

    fn receive(&mut self) -> Result<(), FrontendError> {
        let (driver, block, UdpBatch { receiver, sender }) = (&mut self.desk.driver, &mut self.block, &mut self.udp);
        for _ in 0..RECEIVE_BATCHES_PER_LOOP {
            let received = receiver.receive()?;
            let now = Instant::now();
            for (from, bytes) in receiver.datagrams() {
                driver.handle_datagram(now, from, None, None, block.cut(bytes), &mut |t, b| sender.push(t, b));
            }
            if received < UDP_BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Tells every client that the server stops, gives the packets time to leave, and ends the process.
    fn say_goodbye(&mut self) -> ! {
        info!("stopping: telling {} clients", self.desk.driver.open_connections());
        match self.desk.clients.is_to_drain() {
            true => self.desk.driver.close_all(Code::Reconnect, drain::REASON),
            false => self.desk.driver.close_all(Code::ServerStopping, "the server is stopping"),
        }
        let until = Instant::now() + Duration::from_millis(GOODBYE_MS);
        while Instant::now() < until && self.turn(true).is_ok() {}
        std::process::exit(0)
    }
}

/// Adds a share of the driver's figures to the counters.
fn copy_driver(counts: &mut count::Counters, driver: ringfort_protocol::driver::DriverStats, udp: crate::udp::UdpCounters) {
    for (counter, n) in [
        (count::UDP_IN, driver.udp_in),
        (count::UDP_OUT, driver.udp_out),
        (count::UDP_DROPPED, udp.dropped),
        (count::HANDSHAKES_FAILED, driver.handshake_failed),
        (count::HANDSHAKES_REFUSED, driver.refused_full),
        (count::HANDSHAKES_PUT_OFF, driver.handshakes_put_off),
        (count::BACKLOG_OVERFLOWS, driver.backlog_overflow),
        (count::TIMEOUTS, driver.timeouts),
        (count::ANSWERS, driver.responses),
        (count::UDP_TRUNCATED, udp.truncated),
        (count::PACKETS_LIMITED, driver.packets_limited),
        (count::PACKETS_UNUSABLE, driver.packets_unusable),
        (count::FRAMES_CUT, driver.cut_frames),
        (count::HANDSHAKES_RETRIED, driver.retried),
        (count::HANDSHAKES_LIMITED, driver.handshakes_limited),
        (count::ADDRESSES_FULL, driver.addresses_full),
        (count::STRANGERS_LIMITED, driver.strangers_limited),
        (count::CONTROL_BAD, driver.bad_control + driver.stray_streams),
    ] {
        counts.0[counter] = n;
    }
}
