//! Our end and the library's own, beside each other: whatever comes, both say the same.

use bytes::{BufMut, BytesMut};
use futures_util::{Stream, StreamExt};
use ggrok_protocol::{Message, TransportError};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use super::PATIENCE;
use crate::mask::apply;
use crate::message::{error, read};
use crate::{WebSocket, config};

/// Bytes of the longest message: some of these have more.
const LONGEST: usize = 400;

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

/// What was read, up to the end, and what was written.
type Outcome = (Vec<String>, Vec<u8>);

/// Reads all that a peer sends, in pieces of so many bytes at most.
async fn outcome<S>(sent: &[u8], room: usize, open: impl AsyncFnOnce(DuplexStream) -> S) -> Outcome
where
    S: Stream<Item = Result<Message, TransportError>> + Unpin,
{
    let (near, mut far) = duplex(room);
    let socket = open(near).await;
    let reading = socket.map(|message| format!("{message:?}")).collect();
    let peer = async {
        let (mut from, mut to) = tokio::io::split(&mut far);
        let sending = async {
            // It may be refused before it has said all.
            to.write_all(sent).await.ok();
            to.shutdown().await.ok();
        };
        let mut written = vec![];
        let (_, read) = tokio::join!(sending, from.read_to_end(&mut written));
        read.unwrap();
        written
    };
    timeout(PATIENCE, async { tokio::join!(reading, peer) })
        .await
        .expect("it ends")
}

fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap().block_on(test);
}

async fn library(
    stream: DuplexStream,
    role: Role,
) -> impl Stream<Item = Result<Message, TransportError>> + Unpin {
    let socket = WebSocketStream::from_raw_socket(stream, role, Some(config(LONGEST))).await;
    socket.map(|message| message.map(read).map_err(error))
}

proptest! {
    #[test]
    fn a_relay_reads_and_answers_as_the_library(sent in sent(true), room in 1..300_usize) {
        run(async {
            let ours = async |stream| WebSocket::of_relay(stream, LONGEST).await;
            let library = async |stream| library(stream, Role::Server).await;
            let expected = outcome(&sent, room, library).await;
            assert_eq!(outcome(&sent, room, ours).await, expected);
        });
    }

    #[test]
    fn a_client_reads_as_the_library(sent in sent(false), room in 1..300_usize) {
        run(async {
            let ours = async |stream| WebSocket::of_client(stream, &[], LONGEST).await;
            let library = async |stream| library(stream, Role::Client).await;
            let (expected, _) = outcome(&sent, room, library).await;
            assert_eq!(outcome(&sent, room, ours).await.0, expected);
        });
    }
}
