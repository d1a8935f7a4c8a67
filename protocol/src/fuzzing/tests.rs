//! Every target over its corpus, over bent copies of it, and over noise.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use super::{TARGETS, Target, join};
use crate::bits::{BitWriter, Row};
use crate::component::{Component, Field};
use crate::control::{ClientMsg, Credential, EndReason, JoinTarget, ServerMsg};
use crate::input::{finish_inputs, push_input, start_inputs};
use crate::limits::{MAX_PREDICTED, PROTOCOL_VERSION};
use crate::schema::{Coding, encode_row};
use crate::snapshot::{Lapse, SnapshotHeader, SnapshotShape, SnapshotWriter};
use crate::test_game::{Body, Clock, Health, PLACE, Random, schema};
use crate::{AckBits, Entity, ResumeToken, SessionId, TickNo, Vec2, View, WireLayout, codec};

/// How many inputs are made of the corpus of each target; [`CASES`] says another number.
const CASES_DEFAULT: u64 = 2_000;
/// Inputs of the driver, each of which shakes hands.
const DRIVER_CASES_DEFAULT: u64 = 40;
/// The environment variable for longer runs.
const CASES: &str = "RINGFORT_FUZZ_CASES";
/// The environment variable that has the inputs of an earlier run made again.
const SEED: &str = "RINGFORT_TEST_SEED";
/// The environment variable that has the corpus written anew, after the format has changed.
const WRITE: &str = "RINGFORT_WRITE_CORPUS";
/// Bytes of noise at most.
const NOISE_BYTES_MAX: u64 = 300;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

/// Sound inputs of a target, which the corpus has as files beside what was found.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    match name {
        "client_frame" => vec![client_messages().concat()],
        "server_frame" => server_messages(),
        "input_datagram" => inputs(),
        "message" => {
            MESSAGE_BYTES.into_iter().enumerate().map(|(tag, bytes)| [&[tag as u8][..], &vec![0; bytes - 1]].concat()).collect()
        }
        "schema" => schemas(),
        "snapshot" => snapshots(),
        "driver" => driver_inputs(),
        _ => panic!("{name} has seeds"),
    }
}

/// Bytes of each variant of the message target, the tag included.
const MESSAGE_BYTES: [usize; 4] = [5, 24, 21, 21];

fn framed<T: serde::Serialize>(message: &T) -> Vec<u8> {
    let mut frame = Vec::new();
    codec::encode_frame(message, &mut frame).unwrap();
    frame
}

fn client_messages() -> Vec<Vec<u8>> {
    let hello = |credential| ClientMsg::Hello {
        version: PROTOCOL_VERSION,
        schema_hash: schema().hash(),
        credential,
        attempt: 0,
        resume: None,
        rounds: false,
    };
    let join = |target, spectate| ClientMsg::Join { target, nonce: [7; 16], spectate };
    let messages = [
        hello(Credential::Name("ada".to_owned())),
        hello(Credential::Token("a.b.c".to_owned())),
        join(JoinTarget::Any, false),
        join(JoinTarget::Named("m".to_owned()), true),
        join(JoinTarget::Code("k".to_owned()), false),
        ClientMsg::Command { number: 1, payload: vec![0, 1] },
        ClientMsg::EventAck { number: 3 },
        ClientMsg::Leave,
    ];
    messages.iter().map(framed).collect()
}

fn server_messages() -> Vec<Vec<u8>> {
    let joined = ServerMsg::Joined {
        session: SessionId::new(1, 2),
        stay: 1,
        match_id: 3,
        name: "m".to_owned(),
        tick_hz: 20,
        max_entities: 96,
        capacity: 32,
        spectator: false,
        tick: TickNo(4),
        token: ResumeToken::new(3, SessionId::new(1, 2), &[7; 16]),
        grace_ms: 30_000,
        next_input: 1,
        next_command: 1,
    };
    let messages = [
        joined,
        ServerMsg::CommandAck { number: 1 },
        ServerMsg::Event { number: 1, tick: TickNo(2), payload: vec![0, 1] },
        ServerMsg::Left { reason: EndReason::Kicked },
        ServerMsg::Error { code: 3, reason: "full".to_owned() },
        ServerMsg::Rejected { inputs: AckBits { highest: 4, bits: 1 }, commands: AckBits::NONE },
    ];
    let welcome = ServerMsg::Welcome { version: PROTOCOL_VERSION, schema: schema(), rounds: true };
    vec![messages.iter().flat_map(framed).collect(), framed(&welcome)]
}

fn inputs() -> Vec<Vec<u8>> {
    [0usize, 5]
        .map(|bytes| {
            let mut datagram = Vec::new();
            start_inputs(&mut datagram, 1, 9, AckBits { highest: 4, bits: 3 });
            (0..3).for_each(|at| push_input(&mut datagram, &vec![at; bytes], View { tick: TickNo(4), span: 1, alpha: at }));
            finish_inputs(&mut datagram);
            [&[bytes as u8][..], &datagram].concat()
        })
        .to_vec()
}

fn words(write: impl FnOnce(&mut BitWriter)) -> (Vec<u64>, u32) {
    let mut bits = BitWriter::default();
    write(&mut bits);
    let mut words = Vec::new();
    let length = bits.copy_words(&mut words);
    (words, length)
}

/// Two snapshots with records of all kinds.
fn two_snapshots(max_entities: u32) -> [Vec<u8>; 2] {
    let layout = WireLayout::new(&schema()).unwrap();
    let header = |tick| SnapshotHeader {
        stay: 1,
        tick: TickNo(tick),
        inputs: AckBits { highest: 7, bits: 3 },
        waited: Lapse::from_us(900),
        early: Lapse::ZERO,
        repeated: 1,
        verdicts: [1; MAX_PREDICTED],
    };
    let body = words(|to| Body { pos: Vec2::new(1.0, 2.0), aim: 1.0 }.encode(to));
    let hp = words(|to| Health { hp: 50 }.encode(to));
    let name = words(|to| encode_row(&schema().columns[5], b"ada", to));
    let clock = words(|to| Clock { ends: 9 }.encode(to));
    let shot = words(|to| {
        to.write(0, 8);
        Entity { index: 5, generation: 1 }.encode(Coding::Raw, to);
        Vec2::ZERO.encode(PLACE, to);
        0.0f32.encode(crate::test_game::AIM, to);
    });
    let row = |(words, bits): &'static (Vec<u64>, u32)| Row { words, bits: *bits };
    let [body, hp, name, clock, shot] = [body, hp, name, clock, shot].map(|words| row(Box::leak(Box::new(words))));
    let of = |column| [body, hp, body, body, name][column];
    let mut writer = SnapshotWriter::new();
    writer.start(&header(1), SnapshotShape::new(&layout, max_entities), 1150);
    assert!(writer.globals(0b11, |_| clock));
    [0, 1, 2, 9, 15].into_iter().for_each(|index| assert!(writer.fresh(index, 1, index == 1, 0b10011, of)));
    assert!(writer.cue(shot));
    let first = writer.finish().to_vec();
    writer.start(&header(2), SnapshotShape::new(&layout, max_entities), 1150);
    [0, 1, 9].into_iter().for_each(|index| assert!(writer.update(index, 0b11, |column| Some(of(column)))));
    assert!(writer.update(15, 0b11, |column| (column == 0).then(|| of(column))) && writer.gone(2));
    [first, writer.finish().to_vec()]
}

fn snapshots() -> Vec<Vec<u8>> {
    [1u8, 2, 3]
        .map(|size| {
            let two = two_snapshots([1, 16, 100, 1 << 16][usize::from(size)]);
            [vec![size], join(two.iter().map(Vec::as_slice))].concat()
        })
        .to_vec()
}

fn schemas() -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    codec::encode(&schema(), &mut bytes).unwrap();
    let two = two_snapshots(64);
    vec![join([&bytes[..], &two[0], &two[1]])]
}

fn driver_inputs() -> Vec<Vec<u8>> {
    let part = |kind: u8, bytes: &[u8]| [&[kind][..], bytes].concat();
    let talk: Vec<_> =
        client_messages().iter().map(|frame| part(1, frame)).chain(inputs().iter().map(|i| part(2, &i[1..]))).collect();
    let noise =
        [part(0, &[0xc0; 1200]), part(3, &[3, 1, 200, 7]), part(7, &[9; 40]), part(5, &[3]), part(4, &[10]), part(6, &[])];
    [talk, noise.to_vec()].map(|parts| join(parts.iter().map(Vec::as_slice))).to_vec()
}

/// One of the inputs, bent in a few places, or noise.
fn bent(random: &mut Random, kept: &[Vec<u8>]) -> Vec<u8> {
    let mut input = kept[random.below(kept.len() as u64) as usize].clone();
    if random.chance(5) {
        return (0..random.below(NOISE_BYTES_MAX)).map(|_| random.next() as u8).collect();
    }
    for _ in 0..=random.below(6) {
        let length = input.len() as u64;
        let at = random.below(length + 1) as usize;
        let end = (at + 1 + random.below(16) as usize).min(input.len());
        match random.below(8) {
            _ if input.is_empty() => input.push(random.next() as u8),
            0 | 1 => input[at.min(length as usize - 1)] ^= 1 << random.below(8),
            2 => input[at.min(length as usize - 1)] = [0, 1, 127, 128, 255, random.next() as u8][random.below(6) as usize],
            3 => input[at.min(end)..end].fill([0, 255][random.below(2) as usize]),
            4 => drop(input.drain(at.min(end)..end)),
            5 => input.insert(at, random.next() as u8),
            6 => {
                let copy = input[at.min(end)..end].to_vec();
                let to = random.below(length + 1) as usize;
                input.splice(to..to, copy);
            }
            _ => {
                let other = &kept[random.below(kept.len() as u64) as usize];
                let from = random.below(other.len() as u64 + 1) as usize;
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
    input
}

/// Runs a target over its corpus and over so many inputs made of it.
fn survives(name: &str, cases: u64) {
    let target: Target = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of that name").1;
    let folder = folder(name);
    if std::env::var_os(WRITE).is_some() {
        fs::create_dir_all(&folder).expect("a folder");
        seeds(name).iter().enumerate().for_each(|(at, seed)| fs::write(folder.join(format!("seed-{at}")), seed).expect("a file"));
    }
    let mut files: Vec<_> = fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let kept: Vec<Vec<u8>> = files.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect();
    for seed in seeds(name) {
        assert!(kept.contains(&seed), "{} is of another format: write it anew with {WRITE}=1", folder.display());
    }
    let run = |input: &[u8], what: &str| {
        let survived = catch_unwind(AssertUnwindSafe(|| target(input))).is_ok();
        let hex = || input.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(survived, "target {name}, {what}, the input {} (the panic is above)", hex());
    };
    for (path, input) in files.iter().zip(&kept) {
        run(input, &path.display().to_string());
    }
    let seed = number(SEED).unwrap_or_else(|| std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0));
    let mut random = Random(seed);
    for _ in 0..number(CASES).unwrap_or(cases) {
        run(&bent(&mut random, &kept), &format!("again with {SEED}={seed}"));
    }
}

#[test]
fn any_frame_of_a_client_is_read_without_harm() {
    survives("client_frame", CASES_DEFAULT);
}

#[test]
fn any_frame_of_a_server_is_read_without_harm() {
    survives("server_frame", CASES_DEFAULT);
}

#[test]
fn any_datagram_of_a_client_is_read_without_harm() {
    survives("input_datagram", CASES_DEFAULT);
}

#[test]
fn any_message_is_read_without_harm() {
    survives("message", CASES_DEFAULT);
}

#[test]
fn any_schema_is_used_or_refused_without_harm() {
    survives("schema", CASES_DEFAULT);
}

#[test]
fn any_snapshot_is_applied_or_refused_without_harm() {
    survives("snapshot", CASES_DEFAULT);
}

#[test]
fn any_packet_and_any_client_is_served_or_closed_without_harm() {
    survives("driver", DRIVER_CASES_DEFAULT);
}

#[test]
fn the_seeds_are_sound() {
    let snapshots = snapshots();
    let layout = WireLayout::new(&schema()).unwrap();
    let mut world = crate::client_world::ClientWorld::new(layout, 16);
    for part in super::parts(&snapshots[0][1..]) {
        assert!(matches!(world.apply(part, |_| {}), Ok(crate::client_world::Applied::Newer(_))));
    }
    assert_eq!(world.entities().map(|entity| entity.index).collect::<Vec<_>>(), [0, 1, 9, 15]);
}
