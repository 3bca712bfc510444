//! The handshake of a WebSocket (RFC 6455, section 4.1).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ggrok_websocket::WebSocket;
use http::Response;
use httparse::{EMPTY_HEADER, Status};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};

/// Asks for a WebSocket on a stream, and returns it with the answer that opened it. Messages will have
/// `longest` bytes at most.
///
/// The library's own socket, which the handshake makes, cannot be given what it should leave to ours. So
/// ours is made of the stream, with what the handshake had read of it, which is hardly ever anything.
pub(super) async fn open<S>(
    request: impl IntoClientRequest + Unpin,
    stream: S,
    longest: usize,
) -> Result<(WebSocket<S>, Response<Option<Vec<u8>>>), Unopened>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut heard = Vec::new();
    let listening = Heard {
        stream,
        heard: &mut heard,
    };
    let opened = match client_async(request, listening).await {
        Ok((socket, answer)) => Ok((socket.into_inner().stream, answer)),
        Err(error) => Err(error),
    };
    let (stream, answer) = opened.map_err(|error| Unopened::new(error, &heard))?;
    let length = length_of_head(&heard).map_err(|error| Unopened::new(error, &heard))?;
    let left = heard.split_off(length);
    let socket = WebSocket::of_client(stream, &left, longest).await;
    Ok((socket, answer))
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub(super) enum Unopened {
    /// An HTTP answer in its place. In a box, as it is large.
    Answer(Box<Response<Option<Vec<u8>>>>),
    /// The connection was lost.
    Lost(io::Error),
    /// Something else than HTTP, which begins so.
    NotHttp(Vec<u8>),
    /// A WebSocket without the subprotocol that was offered.
    PassedOver(String),
    /// An answer that breaks the rules of the handshake.
    Wrong(String),
}

impl Unopened {
    fn new(error: Error, heard: &[u8]) -> Self {
        use ProtocolError::SecWebSocketSubProtocolError as Subprotocol;
        match error {
            Error::Http(answer) => Self::Answer(answer),
            Error::Io(error) => Self::Lost(error),
            _ if !heard.is_empty() && !heard.starts_with(b"HTTP/") => {
                Self::NotHttp(heard.iter().copied().take(SHOWN).collect())
            }
            Error::Protocol(ProtocolError::HandshakeIncomplete) => Self::Wrong(
                "the server there closed the connection before it had answered (if it speaks TLS, give \
                 its address with wss://)"
                    .to_owned(),
            ),
            error @ Error::Protocol(Subprotocol(_)) => Self::PassedOver(error.to_string()),
            error => Self::Wrong(format!(
                "the server there does not answer as a WebSocket's does: {error}"
            )),
        }
    }
}

/// Bytes of an answer that are kept to be shown.
const SHOWN: usize = 80;

/// The length of the answer's head, as the library that took it found it.
fn length_of_head(heard: &[u8]) -> Result<usize, Error> {
    let mut fields = [EMPTY_HEADER; MAX_FIELDS];
    match httparse::Response::new(&mut fields).parse(heard) {
        Ok(Status::Complete(length)) => Ok(length),
        _ => Err(ProtocolError::HandshakeIncomplete.into()),
    }
}

/// As many as the WebSocket library takes.
const MAX_FIELDS: usize = 124;

/// A stream that keeps what is read of it. The handshake reads no more than 64 KiB.
struct Heard<'a, S> {
    stream: S,
    heard: &'a mut Vec<u8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<'_, S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.heard.extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<'_, S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};

    use futures_util::StreamExt;
    use ggrok_protocol::Message;
    use tokio::io::{
        AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf,
        duplex,
    };
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

    use super::open;

    const LONGEST: usize = 1 << 20;

    /// Takes a handshake, and answers it with `behind` right behind the answer's head.
    async fn relay(stream: DuplexStream, behind: &[u8]) -> DuplexStream {
        let mut stream = BufReader::new(stream);
        let mut key = None;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.unwrap();
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("Sec-WebSocket-Key: ") {
                key = Some(derive_accept_key(value.as_bytes()));
            }
        }
        let key = key.expect("the client sends a key");
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {key}\r\n\r\n"
        );
        let answer = [head.as_bytes(), behind].concat();
        stream.write_all(&answer).await.unwrap();
        stream.into_inner()
    }

    #[tokio::test]
    async fn loses_nothing_that_came_right_behind_the_answer() {
        let frame = |payload: u8| vec![0x82, 1, payload];
        let all: Vec<u8> = (1..=3).flat_map(frame).collect();
        for early in 0..=all.len() {
            let (near, far) = duplex(4096);
            let (early, late) = all.split_at(early);
            let relay = async {
                let mut far = relay(far, early).await;
                far.write_all(late).await.unwrap();
                far
            };
            let request = "ws://relay.test/";
            let opening = open(request, near, LONGEST);
            let (opened, _far) = tokio::join!(opening, relay);
            let (socket, answer) = opened.unwrap();
            assert_eq!(answer.status(), 101);
            let messages: Vec<_> = socket.take(3).map(Result::unwrap).collect().await;
            assert_eq!(
                messages,
                [1_u8, 2, 3].map(|byte| Message::Binary(vec![byte].into()))
            );
        }
    }

    /// Counts how often it is read.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn reads_many_messages_at_once_while_others_are_held() {
        let (near, far) = duplex(1 << 20);
        let reads = Arc::new(AtomicUsize::new(0));
        let near = Counted(near, Arc::clone(&reads));
        let opening = open("ws://relay.test/", near, LONGEST);
        let (opened, mut far) = tokio::join!(opening, relay(far, b""));
        let (socket, _) = opened.unwrap();
        let message = [&[0x82, 126, 3, 0][..], &[b'x'; 768]].concat();
        far.write_all(&message.repeat(200)).await.unwrap();
        let before = reads.load(Ordering::Relaxed);
        let held: Vec<_> = socket.take(200).map(Result::unwrap).collect().await;
        let whole = Message::Binary(vec![b'x'; 768].into());
        assert!(held.iter().all(|message| *message == whole));
        // 10 of 16 KiB would do; some of them are spent on what is left of a buffer.
        let reads = reads.load(Ordering::Relaxed) - before;
        assert!(reads <= 25, "{reads} reads");
    }
}
