//! A client of another QUIC library (quinn, with tokio) has the timers that QUIC prescribes, whatever Ringfort's own clients agree upon.

use ringfort::skirmish::Skirmish;
use ringfort_protocol::control::{ClientMsg, JoinTarget, ServerMsg};
use ringfort_protocol::{Wire, quic};
use ringfort_tests::{Instance, Stranger};

type Game = ringfort::game::Played<Skirmish>;

const SNAPSHOTS: usize = 60;

/// One who has joined; the number of its join.
fn joined(instance: &Instance, name: &str, rounds: bool) -> (Stranger, u8) {
    let mut stranger = Stranger::connect(instance, quic::ALPN).expect("a stranger may connect");
    stranger.hello_as(name, Game::schema().hash(), rounds);
    assert!(matches!(stranger.hear(), ServerMsg::Welcome { rounds: true, .. }));
    let nonce = [name.len() as u8; 16];
    stranger.say(&ClientMsg::Join { target: JoinTarget::Any, nonce, spectate: false });
    let ServerMsg::Joined { stay, .. } = stranger.hear() else { panic!("{name} did not get in") };
    (stranger, stay)
}

#[test]
fn a_client_of_another_library_gets_its_acknowledgements_when_quic_prescribes_them() {
    let instance = Instance::start(&["--tick-hz", "10"]);
    let (mut usual, stay) = joined(&instance, "usual", false);
    let at_once = usual.watch(stay, SNAPSHOTS);
    // It says what it does not do, so that its acknowledgements come with the snapshots.
    let (mut liar, stay) = joined(&instance, "liar", true);
    let riding = liar.watch(stay, SNAPSHOTS);
    let alone = |stats: &quinn::ConnectionStats| stats.udp_rx.datagrams.saturating_sub(stats.frame_rx.datagram);
    assert!(alone(&at_once) > alone(&riding) + SNAPSHOTS as u64 / 3, "{at_once:?} {riding:?}");
    // An input that is not acknowledged in time is asked after.
    assert!(at_once.frame_tx.ping * 10 < at_once.frame_tx.datagram, "{at_once:?}");
}
