//! What the fuzz targets run. Their corpora are replayed by a plain test.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use ggrok_protocol::{Ending, Message};
use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::WebSocket;
use crate::beside::{client_reads, relay_reads, run};

/// Whatever a peer sends, our end reads it as the library does, and a relay's end answers it so.
pub fn incoming(data: &[u8]) {
    let Some((first, sent)) = data.split_first() else {
        return;
    };
    let (is_client, room) = role_and_room(*first);
    if is_client {
        client_reads(sent, room);
    } else {
        relay_reads(sent, room);
    }
}

/// Messages arrive whole and in their order, whatever the library has to say between them.
pub fn outgoing(data: &[u8]) {
    let Some((first, steps)) = data.split_first() else {
        return;
    };
    let (is_client, room) = role_and_room(*first);
    let messages = steps
        .iter()
        .enumerate()
        .map(|(at, step)| message(at, *step));
    let messages: Vec<_> = messages.collect();
    let data = messages.iter().filter_map(payload).collect();
    let pings = messages.iter().filter(|message| **message == Message::Ping);
    let expected = (data, pings.count());
    run(async {
        let (near, far) = duplex(room);
        let far_role = if is_client {
            Role::Server
        } else {
            Role::Client
        };
        let near = if is_client {
            WebSocket::of_client(near, &[], usize::MAX).await
        } else {
            WebSocket::of_relay(near, usize::MAX).await
        };
        let far = WebSocketStream::from_raw_socket(far, far_role, None).await;
        let ((), arrived) = tokio::join!(send(near, messages), receive(far, steps));
        assert!(arrived == expected, "messages were lost or changed");
    });
}

/// The high bit is the role, the others are the bytes that the pipe holds.
fn role_and_room(first: u8) -> (bool, usize) {
    (first & 0x80 != 0, usize::from(first & 0x7f) * 16 + 1)
}

/// What a step sends, each unlike the others.
fn message(at: usize, step: u8) -> Message {
    let length = usize::from(step >> 3).pow(2) * 6;
    let bytes: Bytes = (0..length).map(|byte| (at + byte) as u8 & 0x7f).collect();
    match step % 8 {
        0..=2 => Message::Binary(bytes),
        3 | 4 => Message::Parts([bytes.slice(..length / 3), bytes.slice(length / 3..)]),
        5 => Message::Text(bytes),
        6 => Message::Ping,
        _ => Message::Pong,
    }
}

fn payload(message: &Message) -> Option<Vec<u8>> {
    match message {
        Message::Binary(bytes) | Message::Text(bytes) => Some(bytes.to_vec()),
        Message::Parts(parts) => Some(parts.concat()),
        Message::Ping | Message::Pong | Message::Close(_) => None,
    }
}

/// Sends some messages to a flush, and reads what comes, as a session does.
async fn send(near: WebSocket<DuplexStream>, messages: Vec<Message>) {
    let (mut sink, stream) = near.split();
    let sending = async {
        for batch in messages.chunks(3) {
            for message in batch {
                sink.feed(message.clone()).await.expect("the peer is there");
            }
            sink.flush().await.expect("the peer is there");
        }
        let end = sink.send(Message::Close(Ending::Done)).await;
        end.expect("the peer is there");
    };
    let reading = stream.for_each(|message| async move {
        message.expect("the peer keeps the rules");
    });
    tokio::join!(sending, reading);
}

/// Reads up to the end, and returns the data, and how many pings came between. Sends pings itself, which
/// the library at the near end answers.
async fn receive(far: WebSocketStream<DuplexStream>, steps: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let (mut sink, stream) = far.split();
    let pinging = async {
        for step in steps.iter().filter(|step| **step & 8 != 0) {
            let ping = tungstenite::Message::Ping(vec![*step; usize::from(step / 4)].into());
            // The near end's close frame may have come by now.
            sink.send(ping).await.ok();
        }
    };
    let reading = stream.map(|message| message.expect("we keep the rules"));
    let (messages, ()) = tokio::join!(reading.collect::<Vec<_>>(), pinging);
    let pings = messages.iter().filter(|message| message.is_ping()).count();
    let data = messages.into_iter();
    let data = data.filter(|message| message.is_binary() || message.is_text());
    (
        data.map(|message| message.into_data().to_vec()).collect(),
        pings,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn replay(target: &str, run: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut files = 0;
        for file in fs::read_dir(corpus).unwrap() {
            run(&fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files > 0, "{target} has no corpus");
    }

    #[test]
    fn replays_the_corpus_of_what_comes_in() {
        replay("incoming", super::incoming);
    }

    #[test]
    fn replays_the_corpus_of_what_goes_out() {
        replay("outgoing", super::outgoing);
    }
}
