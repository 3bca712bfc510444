//! Which HTTP a connection speaks, as its first bytes say.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use crate::stream::VisitorStream;

/// Reads until it is clear whether the visitor begins as HTTP/2 does with prior knowledge
/// (RFC 9113, section 3.3), and puts back what was read. Of what begins otherwise no more is read
/// than shows that.
pub(super) async fn is_http2(stream: &mut VisitorStream) -> io::Result<bool> {
    let mut said = [0; PREFACE.len()];
    let mut length = 0;
    while length < PREFACE.len() && PREFACE.starts_with(&said[..length]) {
        match stream.read(&mut said[length..]).await? {
            0 => break,
            read => length += read,
        }
    }
    let said = &said[..length];
    stream.unread(Bytes::copy_from_slice(said));
    Ok(said == PREFACE)
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
