//! Frames as peers send them, and some that they should not.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use crate::beside::{self, LONGEST};
use crate::mask::apply;

/// A frame, of which most are what a peer of ours would send.
fn frame(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        12 => Just(2_u8),
        4 => 0..=1_u8,
        2 => 9..=10_u8,
        1 => 0..=15_u8,
    ];
    let length = prop_oneof![8 => 0..10_usize, 2 => 120..130_usize, 1 => LONGEST - 1..LONGEST + 2];
    let mask = prop_oneof![20 => Just(masked), 1 => Just(!masked)];
    let reserved = prop_oneof![40 => Just(0_u8), 1 => 1..8_u8];
    let is_final = prop::bool::weighted(0.85);
    let payload = length.prop_flat_map(|length| {
        let byte = prop_oneof![20 => 0..=0x7f_u8, 1 => 0x80..=0xff_u8];
        prop::collection::vec(byte, length)
    });
    (opcode, mask, reserved, is_final, payload, any::<[u8; 4]>()).prop_map(
        |(opcode, masked, reserved, is_final, mut payload, mask)| {
            let header = FrameHeader {
                is_final,
                rsv1: reserved & 1 != 0,
                rsv2: reserved & 2 != 0,
                rsv3: reserved & 4 != 0,
                opcode: OpCode::from(opcode),
                mask: masked.then_some(mask),
            };
            let mut out = BytesMut::new().writer();
            header.format(payload.len() as u64, &mut out).unwrap();
            if masked {
                apply(&mut payload, mask);
            }
            [&out.into_inner()[..], &payload].concat()
        },
    )
}

/// What a peer sends before it goes, which may be within a frame.
fn sent(masked: bool) -> impl Strategy<Value = Vec<u8>> {
    let frames = prop::collection::vec(frame(masked), 0..12);
    (
        frames,
        any::<prop::sample::Index>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(frames, end, is_cut)| {
            let mut sent = frames.concat();
            if is_cut {
                sent.truncate(end.index(sent.len() + 1));
            }
            sent
        })
}

proptest! {
    #[test]
    fn a_relay_reads_and_answers_as_the_library(sent in sent(true), room in 1..300_usize) {
        beside::relay_reads(&sent, room);
    }

    #[test]
    fn a_client_reads_as_the_library(sent in sent(false), room in 1..300_usize) {
        beside::client_reads(&sent, room);
    }
}
