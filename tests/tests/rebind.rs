//! Clients that come from one network into another: their connections stay, and so does the process that serves them.

use std::net::Ipv4Addr;
use std::time::Instant;

use ringfort_client::{Hub, JoinTarget, SessionKey, Status, Trust};
use ringfort_tests::crowd::Game;
use ringfort_tests::instance::counter;
use ringfort_tests::{Instance, PATIENCE};

/// Clients, each with a socket of its own.
const CLIENTS: usize = 3;
/// How often each gets another address.
const MOVES: u32 = 10;
/// Inputs that each sends after each change.
const INPUTS: u32 = 5;

struct Mover {
    hub: Hub<Game>,
    key: SessionKey,
    sent: u32,
    next_input: Instant,
}

impl Mover {
    fn new(instance: &Instance, number: usize) -> Mover {
        let mut hub = Hub::bind((Ipv4Addr::LOCALHOST, 0).into(), Trust::Any).expect("a socket");
        let now = Instant::now();
        let key = hub.connect(now, instance.address(), "localhost", &format!("mover-{number}")).expect("a start");
        hub.join(key, JoinTarget::Any);
        Mover { hub, key, sent: 0, next_input: now }
    }

    fn turn(&mut self, inputs: u32) {
        let now = Instant::now();
        let session = self.hub.session(self.key);
        if session.is_live() && self.sent < inputs && now >= self.next_input {
            self.sent = self.hub.send(now, self.key, Default::default()).expect("in a match");
            self.next_input = now + std::time::Duration::from_secs(1) / self.hub.session(self.key).tick_hz();
        }
        self.hub.pump(now, &mut ()).expect("a socket that works");
    }

    /// The newest input that a snapshot has acknowledged, if none before it is missing.
    fn acknowledged(&self) -> Option<u32> {
        let acks = self.hub.session(self.key).world()?.header()?.inputs;
        let reach = acks.highest.saturating_sub(31).max(1)..=acks.highest;
        reach.clone().all(|sequence| acks.contains(sequence)).then_some(acks.highest)
    }
}

fn until(movers: &mut [Mover], inputs: u32, what: &str, is_so: impl Fn(&Mover) -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !movers.iter().all(&is_so) {
        movers.iter_mut().for_each(|mover| mover.turn(inputs));
        assert!(Instant::now() < patience, "waited in vain until {what}");
        movers[0].hub.wait(Some(Instant::now() + std::time::Duration::from_millis(5))).expect("a socket that works");
    }
}

#[test]
fn a_client_whose_address_changes_keeps_its_connection_and_its_front_end() {
    let instance = Instance::start(&["--sims", "1"]);
    let mut movers: Vec<Mover> = (0..CLIENTS).map(|number| Mover::new(&instance, number)).collect();
    until(&mut movers, 0, "all play", |mover| mover.hub.session(mover.key).is_live());
    for round in 1..=MOVES {
        for mover in &mut movers {
            let before = mover.hub.local_addr().expect("an address");
            mover.hub.rebind().expect("another socket");
            assert_ne!(mover.hub.local_addr().expect("an address"), before);
        }
        let all = round * INPUTS;
        until(&mut movers, all, "all inputs are acknowledged", |mover| mover.acknowledged() == Some(all));
    }
    for mover in &mut movers {
        let statuses: Vec<Status> = mover.hub.session_mut(mover.key).statuses().collect();
        assert!(matches!(statuses[..], [Status::Connecting, Status::Joined { .. }, Status::Live]), "{statuses:?}");
    }
    let status = instance.status();
    assert_eq!(counter(&status, "fe_joins"), CLIENTS as u64, "nobody had to come again");
    assert_eq!((counter(&status, "fe_resumes"), counter(&status, "fe_resumes_refused")), (0, 0));
}
