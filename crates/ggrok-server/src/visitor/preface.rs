//! Which HTTP a connection speaks, as its first bytes say.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::pause::PausingStream;

/// Reads until it is clear whether the visitor begins as HTTP/2 does with prior knowledge
/// (RFC 9113, section 3.3), and puts back what was read: a whole request, mostly.
pub(super) async fn is_http2<S>(stream: &mut PausingStream<S>) -> io::Result<bool>
where
    S: AsyncRead + Unpin,
{
    let mut said = BytesMut::with_capacity(LIKELY);
    while PREFACE.starts_with(&said) && said.len() < PREFACE.len() {
        if stream.read_buf(&mut said).await? == 0 {
            break;
        }
    }
    let is_http2 = said.starts_with(PREFACE);
    stream.unread(said.freeze());
    Ok(is_http2)
}

/// Bytes that are read at once.
const LIKELY: usize = 2 << 10;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
