//! Front-ends that die at named places of an attachment, their successors at named places of the recovery, and supervisors that die as they
//! replace them: nobody is disconnected for good, every input that was acknowledged counts once, and so does every command.
//!
//! With one front-end, whatever it dies of is its successor's: the order of events does not depend on whom the kernel steers to.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ringfort::game::Played;
use ringfort_client::{Credential, Hub, JoinTarget, Session, SessionKey, Snapshot, Status, Trust, Watch};
use ringfort_protocol::ResumeToken;
use ringfort_shm_state::kill_point::{ADOPTION, FRONTEND, HAND, PROMOTION};
use ringfort_tests::{Instance, PATIENCE, processes};

use crate::book::{Ask, Book, Noted, Numbered, Page};

type Game = Played<Book>;

/// Players of each instance.
const PLAYERS: usize = 3;
/// Inputs that each must have acknowledged before and after its program is started again.
const INPUTS: usize = 8;
/// Commands that each gives, one for so many inputs.
const COMMAND_EVERY: u32 = 4;
/// Time between two inputs of a player.
const INPUT_EVERY: Duration = Duration::from_millis(33);
/// How often a player's program is started again at most, for the deaths that need it.
const RESTARTS: usize = 4;
/// Instances at work at the same time: they wait more than they work.
const AT_ONCE: usize = 6;

/// One player, whose program may be started again.
struct Player {
    name: String,
    hub: Hub<Game>,
    key: SessionKey,
    server: SocketAddr,
    next_input: Instant,
    session: Option<u64>,
    token: Option<ResumeToken>,
    book: Acknowledged,
    sent: u32,
    commands: u32,
    answered: u32,
    /// Answers up to this one were heard by an earlier run of the program, and may be told again.
    retold: u32,
}

/// The inputs that were acknowledged.
#[derive(Default)]
struct Acknowledged(BTreeSet<u32>);

impl Watch<Game> for Acknowledged {
    fn snapshot(&mut self, _key: SessionKey, _session: &Session<Game>, snapshot: &Snapshot) {
        self.0.extend(snapshot.inputs.iter());
    }
}

impl Player {
    fn new(server: SocketAddr, name: &str) -> Player {
        let (mut hub, now) = (hub(), Instant::now());
        let key = hub.connect(now, server, "localhost", name).expect("a connection can be started");
        hub.join(key, JoinTarget::Any);
        Player {
            name: name.to_owned(),
            hub,
            key,
            server,
            next_input: now,
            session: None,
            token: None,
            book: Acknowledged::default(),
            sent: 0,
            commands: 0,
            answered: 0,
            retold: 0,
        }
    }

    /// Its program ends, and is started again with the token that it was given last.
    fn start_again(&mut self) {
        let token = self.token.expect("it is in the match");
        self.retold = self.answered;
        std::mem::replace(&mut self.hub, hub()).detach();
        let credential = Credential::Name(self.name.clone());
        let resumed = self.hub.resume(Instant::now(), self.server, "localhost", credential, token);
        self.key = resumed.expect("a connection can be started");
    }

    fn turn(&mut self, gives: bool) {
        let now = Instant::now();
        self.hub.pump(now, &mut self.book).expect("the socket works");
        for event in self.hub.session_mut(self.key).events() {
            let Noted::Done { number } = event.what;
            let is_next = number == self.answered + 1;
            assert!(is_next || number <= self.retold, "{}: {number} after {}", self.name, self.answered);
            self.answered = self.answered.max(number);
        }
        for status in self.hub.session_mut(self.key).statuses() {
            match status {
                Status::Joined { session, token, .. } => {
                    assert_eq!(*self.session.get_or_insert(session.0), session.0, "{} has another session", self.name);
                    self.token = Some(token);
                }
                Status::Resumed { token, .. } => self.token = Some(token),
                Status::Refused { .. } | Status::MatchOver | Status::Ended(_) | Status::Rejected { .. } => {
                    panic!("{}: {status:?}", self.name)
                }
                Status::Connecting | Status::Live | Status::Resuming { .. } => {}
            }
        }
        if gives && self.next_input <= now && self.hub.session(self.key).is_joined() {
            self.next_input = now + INPUT_EVERY;
            if let Some(number) = self.hub.send(now, self.key, Numbered { number: self.sent + 1 }) {
                assert_eq!(number, self.sent + 1, "{}: numbers go on", self.name);
                self.sent = number;
                if number.is_multiple_of(COMMAND_EVERY) {
                    self.commands += 1;
                    self.hub.session_mut(self.key).command(&Ask::Note { number: self.commands }).expect("it is taken");
                }
            }
        }
        self.hub.flush(now);
    }

    fn page(&self) -> Option<Page> {
        let view = self.hub.session(self.key).view();
        view.get(view.mine()?, Book::PAGES)
    }

    /// Whether the game has counted all that was acknowledged, and all commands.
    fn is_settled(&self) -> bool {
        let is_heard = self.book.0.last().is_none_or(|newest| *newest == self.sent) && self.answered == self.commands;
        is_heard && self.page().is_some_and(|page| page.command == self.commands && page.inputs as usize == self.book.0.len())
    }

    fn check(&self) {
        let page = self.page().expect("it sees its page");
        let numbers = || self.book.0.iter().copied();
        let told = (self.book.0.len() as u32, numbers().sum::<u32>(), numbers().map(|n| u64::from(n).pow(2)).sum::<u64>());
        assert_eq!((page.inputs, page.sum, page.squares), told, "{}: {:?}", self.name, self.book.0);
        assert_eq!((page.command, page.disorder), (self.commands, 0), "{}", self.name);
    }
}

fn hub() -> Hub<Game> {
    Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any).expect("a client's socket")
}

/// Some players, and what is to be done meanwhile.
struct Play<'a> {
    instance: &'a mut Instance,
    players: Vec<Player>,
    /// With which kill points the next supervisors are started.
    ups: Vec<String>,
}

impl Play<'_> {
    /// Plays on until it is so.
    fn until(&mut self, what: &str, gives: bool, mut done: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "waited in vain until {what}: {:#}", self.instance.status());
            self.players.iter_mut().for_each(|player| player.turn(gives));
            // A supervisor that has died is started again, with the next place to die at.
            if self.instance.has_ended() {
                assert_eq!(self.instance.exit_code(), None, "a supervisor was not killed: {}", self.instance.log());
                let points = (!self.ups.is_empty()).then(|| self.ups.remove(0));
                self.instance.start_again_armed(points.as_deref());
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn inputs(&mut self, more: usize) {
        let wanted: Vec<usize> = self.players.iter().map(|player| player.book.0.len() + more).collect();
        self.until("inputs are acknowledged", true, |play| {
            play.players.iter().zip(&wanted).all(|(player, wanted)| player.book.0.len() >= *wanted)
        });
    }
}

/// Deaths of workers, by `status`.
fn deaths(instance: &Instance) -> u64 {
    let status = instance.status();
    let workers = ["frontend", "sim", "standby"].into_iter().flat_map(|role| processes(&status, role));
    workers.map(|worker| worker["restarts"].as_u64().expect("a number")).sum()
}

/// Plays at an instance in which processes die at these places until so many workers have died, and holds the books against the pages.
fn run(points: &str, ups: &[&str], wanted: RangeInclusive<u64>) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_book"));
    let flags = ["--frontends", "1", "--sims", "1"];
    let mut instance = Instance::armed(program, points, &flags);
    let server = instance.address();
    let players = (0..PLAYERS).map(|n| Player::new(server, &format!("player-{n}"))).collect();
    let ups = ups.iter().map(|&points| points.to_owned()).collect();
    let mut play = Play { instance: &mut instance, players, ups };
    play.inputs(INPUTS);
    for _ in 0..RESTARTS {
        play.until("the program has nothing to lose", false, |play| play.players[0].is_settled());
        play.players[0].start_again();
        play.inputs(INPUTS);
        if deaths(play.instance) >= *wanted.start() && play.ups.is_empty() {
            break;
        }
    }
    play.until("each supervisor has died at its place", true, |play| play.ups.is_empty());
    let died = deaths(play.instance);
    assert!(wanted.contains(&died), "{points}: {died} workers have died");
    play.until("all is counted", false, |play| play.players.iter().all(Player::is_settled));
    play.players.iter().for_each(Player::check);
    instance.check_memory();
}

/// Runs many side by side.
fn run_all(runs: &[(String, Vec<&str>, RangeInclusive<u64>)]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((points, ups, workers)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(points, ups, workers.clone());
                }
            });
        }
    });
}

#[test]
fn a_front_end_that_dies_at_any_place_of_an_attachment_and_its_successor_at_any_other_lose_nothing() {
    let pairs = FRONTEND.iter().flat_map(|first| FRONTEND.iter().map(move |second| (first, second)));
    let runs = pairs.map(|(first, second)| (format!("frontend.0@1/{first},frontend.0@2/{second}"), vec![], 2..=2));
    run_all(&runs.collect::<Vec<_>>());
}

/// The supervisor dies as it gives the dead front-end's slot away, its successor as it goes on with what is left, and the third goes on.
#[test]
fn a_supervisor_that_dies_while_it_replaces_a_front_end_is_gone_on_for() {
    let pairs = PROMOTION.iter().flat_map(|first| ADOPTION.iter().map(move |second| (first, second)));
    let runs = pairs.map(|(first, second)| (format!("frontend.0@1/attach:proved,supervisor/{first}"), vec![*second, ""], 0..=1));
    run_all(&runs.collect::<Vec<_>>());
}

/// Whoever is asked for its descriptors dies of it, and the next one, too, unless the first had sent them. The first is the process that was just
/// given the slot, whether or not it knows that yet.
#[test]
fn workers_that_die_as_they_hand_their_descriptors_over_are_replaced() {
    let pairs = HAND.iter().flat_map(|first| HAND.iter().map(move |second| (first, second)));
    let runs = pairs.map(|(first, second)| {
        let asked = format!("standby/{first},frontend.0@2/{first},sim.0@1/{second}");
        let points = format!("supervisor/promote:emptied,frontend.0@1/attach:proved,{asked}");
        let deaths = if *first == "hand:accepted" { 3 } else { 2 };
        (points, vec![""], deaths..=deaths)
    });
    run_all(&runs.collect::<Vec<_>>());
}
