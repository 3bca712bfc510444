//! A visitor who knows what its answer must be.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::content::content;
use crate::ledger::{Ending, Ledger};

/// What a visitor asks for. The answer's content is the request's id and length made letters.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Bytes of the request's body; with any it is a POST.
    pub upload: usize,
    /// Bytes of the answer's body.
    pub download: usize,
    /// How long the local server waits in the middle of its answer.
    pub pause: Duration,
}

impl Ask {
    pub const fn get(download: usize) -> Self {
        let pause = Duration::ZERO;
        Self {
            upload: 0,
            download,
            pause,
        }
    }

    pub const fn post(upload: usize) -> Self {
        let (download, pause) = (100, Duration::ZERO);
        Self {
            upload,
            download,
            pause,
        }
    }

    pub const fn slow(download: usize, pause: Duration) -> Self {
        Self {
            upload: 0,
            download,
            pause,
        }
    }
}

/// Where visitors come, and for which host.
#[derive(Clone, Debug)]
pub struct Door {
    pub address: SocketAddr,
    pub host: String,
}

impl Door {
    /// Asks, and writes the ending into the ledger.
    pub async fn ask(&self, ledger: &Ledger, ask: Ask) -> Ending {
        let id = ledger.open(ask.upload > 0);
        let ending = match timeout(LONGEST, self.visit(id, ask)).await {
            Ok(ending) => ending,
            Err(_) => Ending::Wrong(format!("no end within {} s", LONGEST.as_secs())),
        };
        ledger.ended(id, ending.clone());
        ending
    }

    async fn visit(&self, id: u64, ask: Ask) -> Ending {
        let Ok(mut stream) = TcpStream::connect(self.address).await else {
            return Ending::NoRelay;
        };
        let request = self.request(id, ask);
        let (mut from, mut to) = stream.split();
        let mut got = Vec::new();
        // The relay may answer and close before it has read all.
        let (_, read) = tokio::join!(to.write_all(&request), from.read_to_end(&mut got));
        judge(&got, read.is_ok(), id, ask)
    }

    fn request(&self, id: u64, ask: Ask) -> Vec<u8> {
        let (method, host) = (if ask.upload > 0 { "POST" } else { "GET" }, &self.host);
        let (length, pause) = (ask.download, ask.pause.as_millis());
        let mut request = format!(
            "{method} /{id}/{length}/{pause} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             X-Request-ID: torture-{id}\r\n"
        );
        if ask.upload > 0 {
            request += &format!("Content-Length: {}\r\n", ask.upload);
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend(content(id, ask.upload));
        request
    }
}

/// Later than any bound of the relay's for what is asked here.
const LONGEST: Duration = Duration::from_secs(90);

/// What an answer is, of which this came. `in_order` is whether the connection closed, and did not
/// break.
pub fn judge(got: &[u8], in_order: bool, id: u64, ask: Ask) -> Ending {
    let Some(answer) = Answer::read(got) else {
        return Ending::Broken;
    };
    if let Some(code) = &answer.error {
        return match answer.status {
            400..600 => Ending::Refused(answer.status, code.clone()),
            status => Ending::Wrong(format!("{code} with status {status}")),
        };
    }
    let Some(whole) = answer.whole(in_order) else {
        return Ending::Broken;
    };
    if answer.id != Some(id) {
        let whose = answer.id;
        return Ending::Wrong(format!("crossed: it got the answer of {whose:?}"));
    }
    if answer.status != 200 || whole != content(id, ask.download) {
        let (status, length) = (answer.status, whole.len());
        return Ending::Wrong(format!("status {status} and {length} bytes look whole"));
    }
    Ending::Whole
}

/// An answer, as far as it came.
pub struct Answer<'a> {
    pub status: u16,
    pub error: Option<String>,
    /// The request that the local server answered.
    id: Option<u64>,
    length: Option<usize>,
    is_chunked: bool,
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads what came; nothing where the head is not whole.
    pub fn read(got: &'a [u8]) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(end) = head.parse(got).ok()? else {
            return None;
        };
        let field = |name: &str| {
            let mut fields = head.headers.iter();
            let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(field.value).ok()
        };
        Some(Self {
            status: head.code?,
            error: field("x-ggrok-error").map(ToOwned::to_owned),
            id: field("x-answers").and_then(|id| id.parse().ok()),
            length: field("content-length").and_then(|length| length.parse().ok()),
            is_chunked: field("transfer-encoding") == Some("chunked"),
            body: &got[end..],
        })
    }

    /// The body, where a visitor would take it for whole.
    pub fn whole(&self, in_order: bool) -> Option<Vec<u8>> {
        if self.is_chunked {
            return dechunk(self.body);
        }
        match self.length {
            Some(length) => (self.body.len() == length).then(|| self.body.to_vec()),
            None => in_order.then(|| self.body.to_vec()),
        }
    }
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let httparse::Status::Complete((start, size)) = httparse::parse_chunk_size(rest).ok()?
        else {
            return None;
        };
        let size = usize::try_from(size).ok()?;
        let chunk = rest.get(start..start + size)?;
        body.extend_from_slice(chunk);
        rest = rest.get(start + size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ask, judge};
    use crate::content::content;
    use crate::ledger::Ending;

    fn ending(answers: u64, announced: usize, sent: usize) -> Ending {
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Answers: {answers}\r\nContent-Length: {announced}\r\n\r\n"
        );
        let got = [head.into_bytes(), content(answers, sent)].concat();
        judge(&got, true, 1, Ask::get(10))
    }

    #[test]
    fn tells_whole_from_broken_crossed_and_short() {
        assert_eq!(ending(1, 10, 10), Ending::Whole);
        assert_eq!(ending(1, 10, 9), Ending::Broken);
        assert!(matches!(ending(2, 10, 10), Ending::Wrong(_)));
        assert!(matches!(ending(1, 9, 9), Ending::Wrong(_)));
        let refused = b"HTTP/1.1 502 x\r\nx-ggrok-error: tunnel-closed\r\n\r\n";
        let refused = judge(refused, true, 1, Ask::get(10));
        assert_eq!(refused, Ending::Refused(502, "tunnel-closed".to_owned()));
        assert_eq!(judge(b"HTTP/1.1 2", true, 1, Ask::get(10)), Ending::Broken);
    }
}
