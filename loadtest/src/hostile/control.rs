//! Attacks on the control stream: bytes that are no message, messages out of their order, and too many of them.

use std::time::Duration;

use ringfort_protocol::codec::encode_frame;
use ringfort_protocol::control::{ClientMsg, JoinTarget};
use ringfort_protocol::limits::MAX_CLIENT_FRAME;

use super::HostileError;
use super::peer::{Attacker, Outcome, Peer};
use crate::limits::{CLOSE_PATIENCE, HELLO_PATIENCE, REMAIN};

type Done = Result<Outcome, HostileError>;

pub(super) fn random_frames(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.welcomed()?;
    let length = 1 + attacker.random() as usize % 200;
    let mut body = attacker.random_bytes(length);
    // No message has such a tag.
    body[0] |= 0x80;
    peer.write(&(length as u16).to_le_bytes());
    peer.write(&body);
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn oversized_frame(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.welcomed()?;
    let length = (MAX_CLIENT_FRAME as u16).saturating_add(1 + attacker.random() as u16 % 1000);
    peer.write(&length.to_le_bytes());
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn truncated_frame(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.welcomed()?;
    let mut frame = Vec::new();
    let _ = encode_frame(&ClientMsg::Command { number: 1, payload: vec![7; 60] }, &mut frame);
    peer.write(&frame[..3 + attacker.random() as usize % 50]);
    peer.pump(attacker, Duration::from_millis(50), |_| false);
    if let Some(stream) = peer.stream {
        let _ = peer.quic.send_stream(stream).finish();
    }
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

fn join(name: &str, nonce: u8) -> ClientMsg {
    let target = if name.is_empty() { JoinTarget::Any } else { JoinTarget::Named(name.to_owned()) };
    ClientMsg::Join { target, nonce: [nonce; 16], spectate: false }
}

fn says(peer: Result<Peer, HostileError>, attacker: &mut Attacker, messages: &[ClientMsg]) -> Done {
    let mut peer = peer?;
    messages.iter().for_each(|message| peer.say(message));
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn join_before_hello(attacker: &mut Attacker) -> Done {
    says(attacker.connected(), attacker, &[join("", 1)])
}

pub(super) fn command_before_hello(attacker: &mut Attacker) -> Done {
    says(attacker.connected(), attacker, &[ClientMsg::Command { number: 1, payload: vec![0] }])
}

pub(super) fn second_hello(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    peer.hello();
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn second_join(attacker: &mut Attacker) -> Done {
    says(attacker.joined(), attacker, &[join("", 2)])
}

/// The session may be over while a leave is under way, so this is no fault.
pub(super) fn leave_twice(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    (0..2).for_each(|_| peer.say(&ClientMsg::Leave));
    Ok(peer.outcome(attacker, REMAIN))
}

/// Sends a message again and again, as fast as the stream takes it.
fn flood(peer: Result<Peer, HostileError>, attacker: &mut Attacker, mut message: impl FnMut(u32) -> ClientMsg) -> Done {
    let mut peer = peer?;
    for number in 1..20_000 {
        peer.say(&message(number));
        if number % 200 == 0 && peer.pump(attacker, Duration::from_millis(2), |_| false) {
            break;
        }
    }
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn event_ack_flood(attacker: &mut Attacker) -> Done {
    flood(attacker.joined(), attacker, |_| ClientMsg::EventAck { number: 0 })
}

pub(super) fn command_flood(attacker: &mut Attacker) -> Done {
    flood(attacker.joined(), attacker, |number| ClientMsg::Command { number, payload: vec![0] })
}

pub(super) fn leave_flood(attacker: &mut Attacker) -> Done {
    flood(attacker.joined(), attacker, |_| ClientMsg::Leave)
}

pub(super) fn join_flood(attacker: &mut Attacker) -> Done {
    flood(attacker.welcomed(), attacker, |number| join("nowhere", number as u8))
}

/// Commands at a rate between what a client may send and what is a flood: those above are put off.
pub(super) fn command_burst(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    for _ in 0..100 {
        let next = peer.commands + 1;
        (next..next + 16).for_each(|number| peer.say(&ClientMsg::Command { number, payload: vec![0] }));
        if peer.pump(attacker, Duration::from_millis(40), |_| false) {
            break;
        }
    }
    Ok(peer.outcome(attacker, REMAIN))
}

/// Comes and goes by the thousand in a real match, each when the one before was answered: it is put off.
pub(super) fn join_and_leave(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.welcomed()?;
    for n in 0..1000u32 {
        let before = peer.errors;
        let nonce = std::array::from_fn(|at| n.to_le_bytes()[at % 4]);
        peer.say(&ClientMsg::Join { target: JoinTarget::Any, nonce, spectate: false });
        peer.expect(attacker, "an answer to the join", |peer| peer.errors > before || peer.stay.is_some())?;
        if peer.stay.is_some() {
            peer.say(&ClientMsg::Leave);
            peer.expect(attacker, "an answer to the leave", |peer| peer.stay.is_none())?;
        }
        if !attacker.goes_on() {
            break;
        }
    }
    Ok(peer.outcome(attacker, REMAIN))
}

/// Joins by the hundred, each when the one before was answered: they are put off.
pub(super) fn join_churn(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.welcomed()?;
    for n in 0..60u8 {
        let before = peer.errors;
        peer.say(&join("nowhere", n));
        peer.expect(attacker, "an answer to the join", |peer| peer.errors > before)?;
    }
    Ok(peer.outcome(attacker, REMAIN))
}

/// Acknowledges events that were never sent: of no use, and no fault that anybody else feels.
pub(super) fn forged_event_acks(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    (0..50).for_each(|n| peer.say(&ClientMsg::EventAck { number: u64::MAX - n }));
    Ok(peer.outcome(attacker, REMAIN))
}

/// Takes answers and reads none of them, until the server keeps no more for it.
pub(super) fn never_reads(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined_with(Some(8 << 10))?;
    peer.reads = false;
    // Never the next command, so that each is answered at once with a refusal.
    for round in 0..80 {
        (0..100).for_each(|_| peer.say(&ClientMsg::Command { number: 1000 + round, payload: vec![0] }));
        if peer.pump(attacker, Duration::from_millis(125), |_| false) {
            break;
        }
    }
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

pub(super) fn hello_byte_by_byte(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.connected()?;
    let mut frame = Vec::new();
    let _ = encode_frame(&join("a match whose name is long enough for this", 1), &mut frame);
    for byte in frame {
        peer.write(&[byte]);
        if peer.pump(attacker, Duration::from_millis(200), |_| false) {
            break;
        }
    }
    Ok(peer.outcome(attacker, HELLO_PATIENCE))
}

pub(super) fn hello_never(attacker: &mut Attacker) -> Done {
    let peer = attacker.connected()?;
    Ok(peer.outcome(attacker, HELLO_PATIENCE))
}

pub(super) fn stream_taken_back(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    if let Some(stream) = peer.stream {
        let _ = peer.quic.send_stream(stream).reset(quinn_proto::VarInt::from_u32(attacker.random() as u32 % 1000));
    }
    Ok(peer.outcome(attacker, CLOSE_PATIENCE))
}

/// The server grants one stream; an attacker that keeps to QUIC gets no other, of either kind.
pub(super) fn more_streams(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    peer.pump(attacker, REMAIN, |_| false);
    let opened = [quinn_proto::Dir::Bi, quinn_proto::Dir::Uni].map(|dir| peer.quic.streams().open(dir).is_some());
    if opened.contains(&true) {
        return Ok(Outcome::Other("a second stream was granted".to_owned()));
    }
    Ok(peer.outcome(attacker, REMAIN))
}

/// Stops the server's half of the control stream, which it has something to write to.
pub(super) fn stream_stopped(attacker: &mut Attacker) -> Done {
    let mut peer = attacker.joined()?;
    if let Some(stream) = peer.stream {
        let _ = peer.quic.recv_stream(stream).stop(quinn_proto::VarInt::from_u32(3));
    }
    peer.say(&ClientMsg::Command { number: 1000, payload: vec![0] });
    Ok(peer.outcome(attacker, REMAIN))
}

/// Goes away in the middle of everything, in an orderly way and without a word.
pub(super) fn goes_away(attacker: &mut Attacker) -> Done {
    for orderly in [true, false] {
        for stage in 0..4 {
            let mut peer = match stage {
                0 => attacker.connected()?,
                1 => attacker.welcomed()?,
                _ => attacker.joined()?,
            };
            if stage == 3 {
                peer.write(&[200, 0, 1]);
                peer.flush(attacker);
            }
            if orderly {
                peer.quic.close(std::time::Instant::now(), quinn_proto::VarInt::from_u32(99), bytes::Bytes::new());
                peer.flush(attacker);
            }
        }
    }
    Ok(Outcome::None)
}
