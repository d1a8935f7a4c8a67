//! Golden byte vectors: the format stays what it is, whatever crate writes it.

use super::*;
use crate::control::{ClientMsg, Credential, EndReason, JoinTarget, Resume, ServerMsg};
use crate::limits::MAX_CLIENT_FRAME;
use crate::{AckBits, ResumeToken, SessionId, TickNo};
use std::fmt::Debug;

fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, golden: &[u8]) {
    let mut bytes = Vec::new();
    encode(message, &mut bytes).unwrap();
    assert_eq!(bytes, golden);
    assert_eq!(&decode::<T>(golden).unwrap(), message);
    for length in 0..golden.len() {
        assert_eq!(decode::<T>(&golden[..length]), Err(CodecError::Malformed), "cut to {length}");
    }
    bytes.push(0);
    assert_eq!(decode::<T>(&bytes), Err(CodecError::Malformed), "something behind it");
}

#[test]
fn hello() {
    let credential = Credential::Name("ada".to_owned());
    let hello =
        ClientMsg::Hello { version: 1, schema_hash: 0x0807_0605_0403_0201, credential, attempt: 0, resume: None, rounds: false };
    #[rustfmt::skip]
    check(&hello, &[
        0, 0, 0, 0,                             // Hello
        1, 0,                                   // version
        1, 2, 3, 4, 5, 6, 7, 8,                 // schema hash
        0, 0, 0, 0,                             // Name
        3, 0, 0, 0, 0, 0, 0, 0, b'a', b'd', b'a',
        0, 0, 0, 0, 0, 0, 0, 0,                 // attempt
        0,                                      // resumes nothing
        0,                                      // exact timers
    ]);
    let resume = Some(Resume { token: ResumeToken::new(4, SessionId::new(2, 3), &[7; 16]), events: 9 });
    let hello = ClientMsg::Hello {
        version: 2,
        schema_hash: 0,
        credential: Credential::Token("t".to_owned()),
        attempt: 8,
        resume,
        rounds: true,
    };
    #[rustfmt::skip]
    check(&hello, &[
        0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0,                             // Token
        1, 0, 0, 0, 0, 0, 0, 0, b't',
        8, 0, 0, 0, 0, 0, 0, 0,                 // attempt
        1,                                      // resumes
        4, 0, 0, 0, 0, 0, 0, 0,                 // token: match
        3, 0, 0, 0, 2, 0, 0, 0,                 // session
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        9, 0, 0, 0, 0, 0, 0, 0,                 // events
        1,                                      // timers that wait
    ]);
}

#[test]
fn join() {
    let nonce = std::array::from_fn(|i| i as u8);
    #[rustfmt::skip]
    check(&ClientMsg::Join { target: JoinTarget::Named("m1".to_owned()), nonce, spectate: false }, &[
        1, 0, 0, 0,                             // Join
        1, 0, 0, 0,                             // Named
        2, 0, 0, 0, 0, 0, 0, 0, b'm', b'1',
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        0,                                      // plays
    ]);
    #[rustfmt::skip]
    check(&ClientMsg::Join { target: JoinTarget::Code("k".to_owned()), nonce, spectate: true }, &[
        1, 0, 0, 0,                             // Join
        2, 0, 0, 0,                             // Code
        1, 0, 0, 0, 0, 0, 0, 0, b'k',
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        1,                                      // watches
    ]);
}

#[test]
fn the_other_client_messages() {
    check(&ClientMsg::Leave, &[2, 0, 0, 0]);
    let command = ClientMsg::Command { number: 7, payload: vec![9] };
    check(&command, &[3, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    check(&ClientMsg::EventAck { number: 5 }, &[4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn joined() {
    let joined = ServerMsg::Joined {
        session: SessionId::new(2, 3),
        stay: 5,
        match_id: 4,
        name: "m".to_owned(),
        tick_hz: 60,
        max_entities: 96,
        capacity: 32,
        spectator: true,
        tick: TickNo(10),
        token: ResumeToken::new(4, SessionId::new(2, 3), &[7; 16]),
        grace_ms: 30_000,
        next_input: 12,
        next_command: 13,
    };
    #[rustfmt::skip]
    check(&joined, &[
        1, 0, 0, 0,                             // Joined
        3, 0, 0, 0, 2, 0, 0, 0,                 // session: slot, generation
        5,                                      // stay
        4, 0, 0, 0, 0, 0, 0, 0,                 // match
        1, 0, 0, 0, 0, 0, 0, 0, b'm',
        60, 0, 0, 0,
        96, 0, 0, 0,
        32, 0, 0, 0,
        1,                                      // watches
        10, 0, 0, 0,
        4, 0, 0, 0, 0, 0, 0, 0,                 // token: match
        3, 0, 0, 0, 2, 0, 0, 0,                 // session
        7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
        0x30, 0x75, 0, 0,                       // grace
        12, 0, 0, 0,                            // next input
        13, 0, 0, 0,                            // next command
    ]);
}

#[test]
fn event_and_the_rest() {
    let event = ServerMsg::Event { number: 1, tick: TickNo(2), payload: vec![3, 4] };
    #[rustfmt::skip]
    check(&event, &[
        3, 0, 0, 0,                             // Event
        1, 0, 0, 0, 0, 0, 0, 0,                 // number
        2, 0, 0, 0,                             // tick
        2, 0, 0, 0, 0, 0, 0, 0, 3, 4,
    ]);
    check(&ServerMsg::CommandAck { number: 7 }, &[2, 0, 0, 0, 7, 0, 0, 0]);
    check(&ServerMsg::Left { reason: EndReason::MatchOver }, &[4, 0, 0, 0, 1, 0, 0, 0]);
    let error = ServerMsg::Error { code: 3, reason: "full".to_owned() };
    check(&error, &[5, 0, 0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, b'f', b'u', b'l', b'l']);
}

#[test]
fn rejected() {
    let rejected = ServerMsg::Rejected { inputs: AckBits { highest: 9, bits: 0b101 }, commands: AckBits { highest: 2, bits: 0 } };
    #[rustfmt::skip]
    check(&rejected, &[
        6, 0, 0, 0,                             // Rejected
        9, 0, 0, 0, 5, 0, 0, 0,                 // inputs: highest, those below
        2, 0, 0, 0, 0, 0, 0, 0,                 // commands
    ]);
}

#[test]
fn a_schema_passes() {
    let schema = crate::test_game::schema();
    let welcome = ServerMsg::Welcome { version: 1, schema, rounds: true };
    let mut frame = Vec::new();
    encode_frame(&welcome, &mut frame).unwrap();
    let (body, length) = split_frame(&frame, MAX_FRAME).unwrap().unwrap();
    assert_eq!(length, frame.len());
    assert_eq!(decode::<ServerMsg>(body).unwrap(), welcome);
}

#[test]
fn frames_are_split() {
    let mut frames = Vec::new();
    encode_frame(&ClientMsg::Leave, &mut frames).unwrap();
    assert_eq!(frames, [4, 0, 2, 0, 0, 0]);
    for length in 0..frames.len() {
        assert_eq!(split_frame(&frames[..length], MAX_CLIENT_FRAME), Ok(None));
    }
    assert_eq!(split_frame(&frames, MAX_CLIENT_FRAME), Ok(Some((&frames[2..], 6))));
    assert_eq!(split_frame(&frames, 3), Err(CodecError::TooLong));
}

#[test]
fn what_is_too_long_leaves_the_bytes_alone() {
    let mut bytes = vec![1, 2];
    let long = ClientMsg::Command { number: 1, payload: vec![0; MAX_FRAME] };
    assert_eq!(encode_frame(&long, &mut bytes), Err(EncodeError::TooLong));
    assert_eq!(bytes, [1, 2]);
    // A length that the bytes can't hold is refused before memory is taken for it.
    let lying = [3, 0, 0, 0, 7, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 127];
    assert_eq!(decode::<ClientMsg>(&lying), Err(CodecError::Malformed));
}
