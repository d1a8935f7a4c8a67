//! The control stream both ways, and the datagram up.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::schema;
use crate::codec::{self, FRAME_HEADER_BYTES};
use crate::control::{ClientMsg, ServerMsg};
use crate::input::{InputDatagram, finish_inputs, push_input, start_inputs};
use crate::limits::{MAX_CLIENT_FRAME, MAX_FRAME, MAX_INPUT_BYTES, MAX_INPUTS};
use crate::view::{VIEW_BYTES, View};
use crate::{TickNo, WireLayout};

/// Frames of a client, as a server splits and decodes them.
pub fn client_frame(data: &[u8]) {
    frames::<ClientMsg>(data, MAX_CLIENT_FRAME, |_| {});
}

/// Frames of a server, as a client splits and decodes them.
pub fn server_frame(data: &[u8]) {
    frames::<ServerMsg>(data, MAX_FRAME, |message| {
        if let ServerMsg::Welcome { schema, .. } = message {
            schema::look_at(schema);
        }
    });
}

fn frames<T: Serialize + DeserializeOwned + Debug>(mut data: &[u8], max: usize, each: impl Fn(&T)) {
    while let Ok(Some((body, taken))) = codec::split_frame(data, max) {
        assert!(body.len() <= max && taken == body.len() + FRAME_HEADER_BYTES);
        if let Ok(message) = codec::decode::<T>(body) {
            let mut again = Vec::new();
            codec::encode(&message, &mut again).expect("what fitted a frame fits one");
            assert_eq!(again, body, "{message:?}");
            each(&message);
        }
        data = &data[taken..];
    }
}

/// An input datagram for inputs of any size.
pub fn input_datagram(data: &[u8]) {
    let Some((first, datagram)) = data.split_first() else { return };
    let wire_bytes = usize::from(*first) % (MAX_INPUT_BYTES + 1);
    let Ok(read) = InputDatagram::parse(datagram, wire_bytes) else { return };
    assert!(read.inputs().len() <= MAX_INPUTS);
    let mut again = Vec::new();
    start_inputs(&mut again, read.stay, read.sequence, read.acked);
    for (at, (sequence, given)) in read.inputs().enumerate() {
        assert_eq!((sequence, given.len()), (read.sequence - at as u32, wire_bytes + VIEW_BYTES));
        let (encoded, seen) = given.split_last_chunk::<VIEW_BYTES>().expect("an input has a view");
        for newest in [0, 1, 70_000, u32::MAX] {
            let view = View::from_bytes(*seen, TickNo(newest));
            assert!(view.tick.0 <= newest && newest - view.tick.0 <= u32::from(u16::MAX));
            assert!(view.to_bytes() == *seen || view.tick.0 == 0);
        }
        push_input(&mut again, encoded, View::from_bytes(*seen, TickNo(u32::MAX)));
    }
    finish_inputs(&mut again);
    assert_eq!(again, datagram);
    acknowledge(&read);
}

/// A client may acknowledge what it likes.
fn acknowledge(read: &InputDatagram<'_>) {
    let layout = WireLayout::new(&crate::test_game::schema()).expect("a sound schema");
    let mut baselines = crate::baseline::Baselines::new(layout.columns.len(), layout.globals.len());
    for tick in [1, 7, read.acked.highest.max(8)] {
        baselines.begin(tick);
        let place = baselines.place(tick % 16);
        baselines.sent(place, 1, 1);
    }
    baselines.acked(read.acked);
    baselines.acked(read.acked);
    assert!(baselines.len() <= 16 && read.acked.iter().count() <= 33);
}
