//! Our end of a WebSocket beside the library's, and beside another of ours.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{Ending, Message, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::WebSocket;

mod beside;

type Socket = WebSocket<DuplexStream>;

/// Somewhat less than a frame of data, so that writes end within frames and headers.
const ROOM: usize = 1000;

const LONGEST: usize = 1 << 20;

const PATIENCE: Duration = Duration::from_secs(20);

async fn pair(room: usize) -> (Socket, Socket) {
    let (near, far) = duplex(room);
    let relay = WebSocket::of_relay(near, LONGEST).await;
    (relay, WebSocket::of_client(far, &[], LONGEST).await)
}

/// Payloads of all sizes that frames and our pieces tell apart, twice, and each different.
fn payloads() -> impl Iterator<Item = Bytes> {
    let sizes = [0, 1, 125, 126, 4095, 4096, 4097, 65_535, 65_536, 200_000];
    let twice = sizes.into_iter().chain(sizes.into_iter().rev());
    twice.enumerate().map(|(at, size)| {
        let bytes = (0..size).map(|byte| (at + byte / 7).to_le_bytes()[0]);
        bytes.collect()
    })
}

/// The same payloads as messages of all kinds.
fn messages() -> Vec<Message> {
    let kinds = payloads().enumerate().map(|(at, payload)| match at % 3 {
        0 => Message::Binary(payload),
        1 => Message::Text(vec![b'x'; payload.len()].into()),
        _ => {
            let (first, second) = payload.split_at(payload.len() / 3);
            Message::Parts([first, second].map(Bytes::copy_from_slice))
        }
    });
    kinds.collect()
}

fn as_read(message: &Message) -> Message {
    match message {
        Message::Parts(parts) => Message::Binary(parts.concat().into()),
        message => message.clone(),
    }
}

async fn read_all(socket: &mut Socket, expected: &[Message]) {
    for expected in expected {
        let read = socket.next().await.unwrap().unwrap();
        assert!(
            read == as_read(expected),
            "another message, or no whole one"
        );
    }
}

/// Sends all, several to a flush.
async fn send_all(socket: &mut Socket, messages: &[Message]) {
    for batch in messages.chunks(3) {
        for message in batch {
            socket.feed(message.clone()).await.unwrap();
        }
        socket.flush().await.unwrap();
    }
}

#[tokio::test]
async fn carries_messages_of_all_sizes_both_ways() {
    for room in [ROOM, 1 << 20] {
        let (mut relay, mut client) = pair(room).await;
        let messages = messages();
        let there = async {
            tokio::join!(
                send_all(&mut relay, &messages),
                read_all(&mut client, &messages)
            )
        };
        timeout(PATIENCE, there).await.unwrap();
        let back = async {
            tokio::join!(
                send_all(&mut client, &messages),
                read_all(&mut relay, &messages)
            )
        };
        timeout(PATIENCE, back).await.unwrap();
    }
}

/// Reads and writes at once, as a session does, until as many messages were read as there are.
async fn converse(socket: &mut Socket, messages: Vec<Message>) -> Vec<Message> {
    let (mut sink, stream) = socket.split();
    let count = messages.len();
    let data = stream.map(Result::unwrap).filter(|message| {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        std::future::ready(is_data)
    });
    let reading = data.take(count).collect();
    let writing = async {
        for message in messages {
            sink.feed(message).await.unwrap();
            sink.feed(Message::Ping).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    tokio::join!(reading, writing).0
}

#[tokio::test]
async fn pongs_of_the_library_never_begin_within_a_message() {
    for room in [ROOM, 100_000] {
        let (mut relay, mut client) = pair(room).await;
        let messages = messages();
        let expected: Vec<_> = messages.iter().map(as_read).collect();
        let relay = converse(&mut relay, messages.clone());
        let client = converse(&mut client, messages);
        let (one, other) = timeout(PATIENCE, async { tokio::join!(relay, client) })
            .await
            .unwrap();
        assert!(one == expected && other == expected);
    }
}

#[tokio::test]
async fn the_library_reads_what_we_write() {
    let (near, far) = duplex(ROOM);
    let mut client = WebSocket::of_client(near, &[], LONGEST).await;
    let mut peer = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
    let sending = async {
        client.feed(Message::Text("grüße".into())).await.unwrap();
        client.feed(Message::Ping).await.unwrap();
        client
            .feed(Message::Binary(vec![7; 70_000].into()))
            .await
            .unwrap();
        client
            .send(Message::Close(Ending::GoingAway))
            .await
            .unwrap();
    };
    let reading = async {
        let mut next = async || peer.next().await.unwrap().unwrap();
        let mut control = vec![];
        assert_eq!(next().await, tungstenite::Message::text("grüße"));
        control.push(next().await);
        assert!(next().await == tungstenite::Message::binary(vec![7; 70_000]));
        control.push(next().await);
        assert!(control[0].is_ping() && control[1].is_close(), "{control:?}");
    };
    timeout(PATIENCE, async { tokio::join!(sending, reading) })
        .await
        .unwrap();
}

#[tokio::test]
async fn nothing_goes_out_behind_a_close_frame() {
    let (mut relay, mut client) = pair(ROOM).await;
    client.send(Message::Close(Ending::Done)).await.unwrap();
    let closed = relay.next().await.unwrap().unwrap();
    assert_eq!(closed, Message::Close(Ending::Done));
    for socket in [&mut client, &mut relay] {
        let late = socket.send(Message::Binary(Bytes::new())).await;
        assert!(
            matches!(&late, Err(TransportError::Violation(why)) if why.contains("closing")),
            "{late:?}"
        );
    }
}

#[tokio::test]
async fn a_text_that_is_none_is_not_sent() {
    let (mut relay, mut client) = pair(ROOM).await;
    let broken = Message::Text(Bytes::from_static(b"\xff"));
    let refused = client.send(broken).await;
    assert!(
        matches!(refused, Err(TransportError::Lost(_))),
        "{refused:?}"
    );
    let next = Message::Text("next".into());
    client.send(next.clone()).await.unwrap();
    assert_eq!(relay.next().await.unwrap().unwrap(), next);
}

/// The answer to a close frame is out although the library calls the connection closed from then on.
#[tokio::test]
async fn a_close_frame_is_answered() {
    let (near, mut far) = duplex(ROOM);
    let mut relay = WebSocket::of_relay(near, LONGEST).await;
    far.write_all(b"\x88\x82\0\0\0\0\x03\xe8").await.unwrap();
    relay
        .feed(Message::Binary(Bytes::from_static(b"before")))
        .await
        .unwrap();
    assert_eq!(
        relay.next().await.unwrap().unwrap(),
        Message::Close(Ending::Done)
    );
    assert!(relay.next().await.is_none());
    drop(relay);
    let mut heard = vec![];
    far.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"\x82\x06before\x88\x02\x03\xe8");
}

#[tokio::test]
async fn pongs_that_nobody_reads_do_not_pile_up() {
    let (near, mut far) = duplex(ROOM);
    let mut relay = WebSocket::of_relay(near, LONGEST).await;
    let ping = [&b"\x89\xfd\0\0\0\0"[..], &[b'x'; 125]].concat();
    for _ in 0..4000 {
        far.write_all(&ping).await.unwrap();
        assert_eq!(relay.next().await.unwrap().unwrap(), Message::Ping);
    }
    assert!(!relay.socket.get_ref().outgoing.is_full());
    // Some are there, and the last: its like is all that is asked for.
    let mut pong = [0; 127];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, *[&b"\x8a\x7d"[..], &[b'x'; 125]].concat());
}

#[tokio::test]
async fn nothing_is_taken_for_a_peer_that_is_gone() {
    let (mut relay, client) = pair(ROOM).await;
    drop(client);
    let ended = relay.next().await.unwrap();
    assert!(matches!(ended, Err(TransportError::Lost(_))), "{ended:?}");
    let late = relay.send(Message::Binary(Bytes::new())).await;
    assert!(late.is_err());
}

/// Over sockets of the system, which throws away what it holds for a peer whose words were not read.
#[tokio::test]
async fn a_peer_that_is_refused_hears_why() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(listener.accept(), far);
    let (near, mut far) = (near.unwrap().0, far.unwrap());
    let refusing = async {
        let mut relay = WebSocket::of_relay(near, LONGEST).await;
        let refused = relay.next().await.unwrap();
        assert!(
            matches!(refused, Err(TransportError::TooBig)),
            "{refused:?}"
        );
        relay.send(Message::Close(Ending::TooBig)).await.unwrap();
        assert!(relay.next().await.is_none());
    };
    let peer = async {
        let length = 16 * LONGEST;
        let header = [&b"\x82\xff"[..], &(length as u64).to_be_bytes(), &[0; 4]].concat();
        far.write_all(&header).await.unwrap();
        far.write_all(&vec![0; length]).await.unwrap();
        let mut told = [0; 4];
        far.read_exact(&mut told).await.unwrap();
        assert_eq!((told[0], &told[2..]), (0x88, &1009_u16.to_be_bytes()[..]));
        drop(far);
    };
    timeout(PATIENCE, async { tokio::join!(refusing, peer) })
        .await
        .unwrap();
}
