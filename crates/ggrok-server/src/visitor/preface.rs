//! Which HTTP a connection speaks, as its first bytes say.

use std::io::{self, Cursor};

use tokio::io::{AsyncReadExt, Chain, Join, join};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A connection whose first bytes have been looked at, and are read again.
pub(super) type Unread = Join<Chain<Cursor<Vec<u8>>, OwnedReadHalf>, OwnedWriteHalf>;

/// Reads until it is clear whether the visitor begins as HTTP/2 does with prior knowledge
/// (RFC 9113, section 3.3). Of what begins otherwise no more is read than shows that.
pub(super) async fn is_http2(stream: TcpStream) -> io::Result<(bool, Unread)> {
    let (mut from, to) = stream.into_split();
    let mut said = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() && PREFACE.starts_with(&said[..length]) {
        match from.read(&mut said[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    let said = &said[..length];
    let unread = Cursor::new(said.to_vec()).chain(from);
    Ok((said == PREFACE, join(unread, to)))
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
