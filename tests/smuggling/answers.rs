//! What a hostile local server answers, and what a visitor may get to see of it.

use super::strict::latin;

/// Bytes of a local server, in answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub method: &'static str,
    pub bytes: Vec<u8>,
    pub end: End,
    pub fate: Fate,
}

/// What the local server does with the connection then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Close,
    Reset,
    /// It waits for the next request.
    Stay,
}

/// What the visitor gets.
#[derive(Clone, Debug)]
pub enum Fate {
    /// The app's answer: its status and its body.
    App(u16, &'static str),
    /// An answer of ours that says that there is none.
    Ours,
    /// That, or the app's answer visibly cut.
    Broken,
}

use End::{Close, Reset, Stay};
use Fate::{App, Broken, Ours};

/// Stands at the end of a good message, and must reach nobody.
const FORGED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nFORGED";

impl Answer {
    /// Each character is one byte.
    fn new(bytes: impl AsRef<str>, end: End, fate: Fate) -> Self {
        Self {
            method: "GET",
            bytes: bytes.as_ref().chars().map(|letter| letter as u8).collect(),
            end,
            fate,
        }
    }

    fn to(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// Whether the local server is waited for in vain.
    pub fn is_silent(&self) -> bool {
        self.end == Stay && !matches!(self.fate, App(..))
    }

    pub fn shown(&self) -> String {
        let start = latin(&self.bytes[..self.bytes.len().min(200)]);
        format!("{} {:?} {}", self.method, self.end, start.escape_debug())
    }
}

/// All answers.
pub fn answers() -> Vec<Answer> {
    [
        starts(),
        framings(),
        bodiless(),
        fields(),
        interim(),
        endless(),
        cuts(),
    ]
    .concat()
}

/// Starts of an answer, and whether it is one.
const STARTS: &[(&str, Option<u16>)] = &[
    ("HTTP/1.1 200 OK", Some(200)),
    ("HTTP/1.1 200 ", Some(200)),
    ("HTTP/1.1 200", Some(200)),
    ("HTTP/1.1 299 \u{fc}\u{ff}", Some(299)),
    ("HTTP/1.1 599 Odd", Some(599)),
    ("HTTP/1.1 999 Odder", Some(999)),
    ("HTTP/1.0 404 Not Found", Some(404)),
    ("HTTP/1.1  200 OK", None),
    ("HTTP/1.1\t200 OK", None),
    ("HTTP/1.1 20 OK", None),
    ("HTTP/1.1 2000 OK", None),
    ("HTTP/1.1 099 OK", None),
    ("HTTP/1.1 000 OK", None),
    ("HTTP/1.1 +20 OK", None),
    ("HTTP/1.1 -20 OK", None),
    ("HTTP/1.1 2x0 OK", None),
    ("HTTP/1.1 \u{b2}00 OK", None),
    ("HTTP/1.1 200OK", None),
    ("HTTP/1.1 200 O\0K", None),
    ("HTTP/1.1 200 OK\rX: y", None),
    ("HTTP/1.1 200 \u{1b}[2J", None),
    ("HTTP/1.1", None),
    ("HTTP/1.1 OK", None),
    ("HTTP/1.2 200 OK", None),
    ("HTTP/2.0 200 OK", None),
    ("HTTP/2 200", None),
    ("HTTP/0.9 200 OK", None),
    ("http/1.1 200 OK", None),
    ("HTTPS/1.1 200 OK", None),
    ("ICY 200 OK", None),
    (" HTTP/1.1 200 OK", None),
    ("\0HTTP/1.1 200 OK", None),
    ("xHTTP/1.1 200 OK", None),
    ("GET / HTTP/1.1\r\nHost: app.example", None),
    ("SSH-2.0-OpenSSH", None),
    ("<html>that is HTTP/0.9</html>", None),
    ("\u{16}\u{3}\u{1}\0\u{1}", None),
    ("\0\0\0\0", None),
];

fn starts() -> Vec<Answer> {
    let answer = |(start, status): &(&str, Option<u16>)| {
        let fate = status.map_or(Ours, |status| App(status, "hi"));
        Answer::new(
            format!("{start}\r\nContent-Length: 2\r\n\r\nhi"),
            Close,
            fate,
        )
    };
    let mut answers: Vec<Answer> = STARTS.iter().map(answer).collect();
    answers.push(Answer::new("<html>and no end of a line", Close, Ours));
    answers.push(Answer::new(
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        Close,
        App(200, "hi"),
    ));
    answers.push(Answer::new("", Close, Ours));
    answers.push(Answer::new("", Reset, Ours));
    answers.push(Answer::new("", Stay, Ours));
    answers
}

/// Fields of a 200, and what is behind its head.
fn framings() -> Vec<Answer> {
    let ok = |fields: &str, body: &str, end, fate| {
        Answer::new(format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}"), end, fate)
    };
    let mut answers = Vec::new();
    for bad in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: 2\r\nContent-Length: +2\r\n",
        "Content-Length: -2\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: 0x2\r\n",
        "Content-Length: 2x\r\n",
        "Content-Length: 2 2\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551618\r\n",
        "Transfer-Encoding: \0chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
    ] {
        answers.push(ok(bad, "hi", Close, Ours));
        answers.push(ok(bad, "hi", Stay, Ours));
    }
    // The space is removed (RFC 9112, section 5.1).
    let spaced = ["Content-Length : 2\r\n", "Transfer-Encoding : chunked\r\n"];
    answers.push(ok(spaced[0], "hi", Close, App(200, "hi")));
    answers.push(ok(spaced[0], "hi", Stay, App(200, "hi")));
    answers.push(ok(spaced[0], "hiFORGED", Close, App(200, "hi")));
    answers.push(ok(spaced[1], "hi", Close, Broken));
    answers.push(ok(spaced[1], "hi", Stay, Broken));
    let chunks = "2\r\nhi\r\n0\r\n\r\n";
    answers.push(ok(spaced[1], chunks, Close, App(200, "hi")));
    answers.push(ok(&spaced.concat(), chunks, Close, Ours));
    for coding in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4000\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ] {
        answers.push(ok(coding, chunks, Close, Ours));
    }
    let old = format!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    answers.push(Answer::new(old, Close, Ours));
    for body in [
        "2\r\nhi\r\n",
        "2\r\nhi\r\n0",
        "2\r\nhi\r\n0\r\n",
        "2\r\nhi",
        "5\r\nhi",
        "2\r\nhixx0\r\n\r\n",
        "-2\r\nhi\r\n0\r\n\r\n",
        "0x2\r\nhi\r\n0\r\n\r\n",
        "\r\n2\r\nhi\r\n0\r\n\r\n",
        "g\r\nhi\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhi\r\n0\r\n\r\n",
        "fffffffffffffff0\r\nhi\r\n0\r\n\r\n",
        "2;x\nhi\r\n0\r\n\r\n",
        "2\r\nhi\r\n0\r\nno trailer\r\n\r\n",
        "2\r\nhi\r\n0\r\nX: \0\r\n\r\n",
        "hi",
        "",
    ] {
        for end in [Close, Reset, Stay] {
            answers.push(ok("Transfer-Encoding: chunked\r\n", body, end, Broken));
        }
    }
    for end in [Close, Reset, Stay] {
        answers.push(ok("Content-Length: 100\r\n", "hi", end, Broken));
        answers.push(ok("Content-Length: 100\r\n", "", end, Broken));
    }
    for end in [Close, Stay] {
        let body = || App(200, "hi");
        answers.push(ok(
            "Content-Length: 2\r\n",
            &format!("hi{FORGED}"),
            end,
            body(),
        ));
        answers.push(ok("Content-Length: 2\r\n", "hi\r\n\0", end, body()));
        answers.push(ok(
            "Content-Length: 2\r\nContent-Length: 2\r\n",
            &format!("hi{FORGED}"),
            end,
            body(),
        ));
        answers.push(ok(
            "Transfer-Encoding: chunked\r\n",
            &format!("{chunks}{FORGED}"),
            end,
            body(),
        ));
        answers.push(ok(
            "Transfer-Encoding: chunked\r\n",
            "2;x=y\r\nhi\r\n0\r\nX: y\r\n\r\n",
            end,
            body(),
        ));
    }
    answers.push(ok("", "hi", Close, App(200, "hi")));
    answers.push(ok("Connection: close\r\n", "hi", Close, App(200, "hi")));
    answers
}

/// Answers that have no body, whatever is behind them.
fn bodiless() -> Vec<Answer> {
    let mut answers = Vec::new();
    for end in [Close, Stay] {
        for (status, fields) in [
            (204, ""),
            (204, "Content-Length: 6\r\n"),
            (204, "Transfer-Encoding: chunked\r\n"),
            (304, ""),
            (304, "Content-Length: 6\r\n"),
            (304, "Transfer-Encoding: chunked\r\n"),
        ] {
            let head = format!("HTTP/1.1 {status} Odd\r\n{fields}\r\n");
            answers.push(Answer::new(format!("{head}{FORGED}"), end, App(status, "")));
            answers.push(Answer::new(head + "FORGED", end, App(status, "")));
        }
        for fields in [
            "Content-Length: 6\r\n",
            "Transfer-Encoding: chunked\r\n",
            "",
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
            let answer = |body| Answer::new(format!("{head}{body}"), end, App(200, "")).to("HEAD");
            answers.extend([
                answer(""),
                answer("FORGED"),
                answer(FORGED),
                answer("0\r\n\r\n"),
            ]);
        }
    }
    answers
}

fn fields() -> Vec<Answer> {
    let bad = [
        " X: y",
        "X: y\r\n FORGED: z",
        "X: y\r\n\tFORGED: z",
        "X: y\rFORGED: z",
        "X: y\r\r\nFORGED: z",
        "X: \0",
        "X: y\0FORGED",
        "X: \u{1}",
        "X: \u{7f}",
        "\0X: y",
        ": y",
        "X",
        "X y",
        "X(: y",
        "\u{e9}: y",
        "HTTP/1.1 200 FORGED",
        "\rX: y",
    ];
    let answer = |field: &str, fate| {
        let bytes = format!("HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 2\r\n\r\nhi");
        Answer::new(bytes, Close, fate)
    };
    let mut answers: Vec<Answer> = bad.iter().map(|field| answer(field, Ours)).collect();
    for odd in [
        "X : y",
        "X\t: y",
        "X: y\nZ: 1",
        "Connection: content-length, x\r\nX: FORGED",
        "Connection: upgrade\r\nUpgrade: FORGED",
        "Keep-Alive: FORGED",
        "Proxy-Connection: FORGED",
        "X-Ggrok-Error: FORGED",
    ] {
        answers.push(answer(odd, App(200, "hi")));
    }
    answers
}

fn interim() -> Vec<Answer> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let early = |status: &str| format!("HTTP/1.1 {status} FORGED\r\nX: FORGED\r\n\r\n");
    vec![
        Answer::new(early("100") + ok, Close, App(200, "hi")),
        Answer::new(early("102") + ok, Close, App(200, "hi")),
        Answer::new(early("103") + &early("103") + ok, Stay, App(200, "hi")),
        Answer::new(early("199") + ok, Close, App(200, "hi")),
        Answer::new(early("100").repeat(1000) + ok, Close, App(200, "hi")),
        Answer::new(early("100"), Close, Ours),
        Answer::new(early("100"), Stay, Ours),
        Answer::new(early("100").repeat(1000), Stay, Ours),
        Answer::new(
            "HTTP/1.1 100 Continue\r\nContent-Length: 6\r\n\r\nFORGED",
            Close,
            Ours,
        ),
        Answer::new(early("101") + ok, Close, Ours),
        Answer::new(early("101") + ok, Stay, Ours),
        Answer::new(
            "HTTP/1.1 101 FORGED\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nFORGED",
            Stay,
            Ours,
        ),
        Answer::new(
            "HTTP/1.1 101 FORGED\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nFORGED",
            Close,
            Ours,
        )
        .to("HEAD"),
    ]
}

/// Heads that are too large, or never end.
fn endless() -> Vec<Answer> {
    let start = "HTTP/1.1 200 OK\r\n";
    vec![
        Answer::new(
            start.to_owned() + &"X: y\r\n".repeat(600) + "\r\n",
            Stay,
            Ours,
        ),
        Answer::new(start.to_owned() + &"X: y\r\n".repeat(80_000), Stay, Ours),
        Answer::new(format!("{start}X: {}", "y".repeat(500_000)), Stay, Ours),
        Answer::new(format!("{start}{}", "x".repeat(500_000)), Stay, Ours),
        Answer::new(format!("HTTP/1.1 200 {}", "O".repeat(500_000)), Stay, Ours),
        Answer::new("\r\n".repeat(250_000), Stay, Ours),
        Answer::new("FORGED".repeat(80_000), Stay, Ours),
    ]
}

/// One answer, cut behind each of its bytes.
fn cuts() -> Vec<Answer> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    let mut answers = Vec::new();
    for whole in [chunked, sized] {
        let head = whole.find("\r\n\r\n").map_or(0, |at| at + 4);
        for at in 1..whole.len() {
            let fate = if at < head { Ours } else { Broken };
            answers.push(Answer::new(&whole[..at], Close, fate));
        }
    }
    answers
}
