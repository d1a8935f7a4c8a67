//! Stopping in order: clients are told, and nothing stays in shared memory.

use ringfort_client::{Code, Ended, JoinTarget};
use ringfort_tests::{Crowd, Instance, send_signal};
use rustix::process::Signal;

/// Lets `stop` stop an instance in which some play and one has only connected.
fn check(stop: impl FnOnce(&Instance) + Send) {
    let mut instance = Instance::start(&["--matches", "2"]);
    let mut crowd = Crowd::new(instance.address());
    let mut all: Vec<usize> = (0..6).map(|_| crowd.enter("player", JoinTarget::Any)).collect();
    let idle = crowd.connect("idle");
    crowd.until("it is welcomed", |crowd| crowd.session(idle).is_welcomed());
    all.push(idle);
    crowd.during(|| stop(&instance));
    crowd.until("all are told", |crowd| all.iter().all(|who| crowd.ended(*who).is_some()));
    for who in all {
        let told = matches!(crowd.ended(who), Some(Ended::Closed { code: Code::ServerStopping, .. }));
        assert!(told, "player {who}: {:?}", crowd.ended(who));
    }
    assert_eq!(instance.exit_code(), Some(0));
    assert_eq!(instance.shared_files(), [""; 0]);
}

#[test]
fn a_signal_stops_and_clients_are_told() {
    check(|instance| send_signal(instance.supervisor(), Signal::TERM));
}

#[test]
fn down_stops_and_clients_are_told() {
    check(|instance| drop(instance.done(&["down"])));
}
