//! Bodies whose length can be read in more than one way.

use crate::smuggling::attack::Fate::{self, Cut, Refused};
use crate::smuggling::attack::{Attack, HIDDEN, posted};

/// What a line says of chunks.
enum Says {
    Chunked,
    /// Another field's name, or another thing.
    Nothing,
    /// It is refused with this status.
    Bad(u16),
}
use Says::{Bad, Chunked, Nothing};

const CODINGS: &[(&str, Says)] = &[
    ("Transfer-Encoding: chunked\r\n", Chunked),
    ("transfer-encoding:chunked\r\n", Chunked),
    ("TRANSFER-ENCODING: CHUNKED\r\n", Chunked),
    ("Transfer-Encoding:\t chunked \t\r\n", Chunked),
    ("X: y\nTransfer-Encoding: chunked\r\n", Chunked),
    ("Transfer_Encoding: chunked\r\n", Nothing),
    ("X-Transfer-Encoding: chunked\r\n", Nothing),
    ("Transfer-Encoding-: chunked\r\n", Nothing),
    ("TransferEncoding: chunked\r\n", Nothing),
    ("TE: chunked\r\n", Nothing),
    ("Content-Encoding: chunked\r\n", Nothing),
    ("X: Transfer-Encoding: chunked\r\n", Nothing),
    ("Transfer-Encoding: gzip, chunked\r\n", Bad(501)),
    ("Transfer-Encoding: identity, chunked\r\n", Bad(501)),
    ("Transfer-Encoding: chunked, chunked\r\n", Bad(501)),
    ("Transfer-Encoding: , chunked\r\n", Bad(501)),
    ("Transfer-Encoding: x;y=\", chunked\r\n", Bad(501)),
    (
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        Bad(501),
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        Bad(501),
    ),
    (
        "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
        Bad(501),
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        Bad(400),
    ),
    (
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
        Bad(400),
    ),
    ("Transfer-Encoding: chunked, identity\r\n", Bad(400)),
    ("Transfer-Encoding: chunked,\r\n", Bad(400)),
    ("Transfer-Encoding: identity\r\n", Bad(400)),
    ("Transfer-Encoding: gzip\r\n", Bad(400)),
    ("Transfer-Encoding:\r\n", Bad(400)),
    ("Transfer-Encoding: xchunked\r\n", Bad(400)),
    ("Transfer-Encoding: chunkedx\r\n", Bad(400)),
    ("Transfer-Encoding: chunk\r\n", Bad(400)),
    ("Transfer-Encoding: \"chunked\"\r\n", Bad(400)),
    ("Transfer-Encoding: chunked;q=1\r\n", Bad(400)),
    ("Transfer-Encoding: chunked\u{a0}\r\n", Bad(400)),
    ("Transfer-Encoding: c\u{212a}\r\n", Bad(400)),
    ("Transfer-Encoding: chunked\u{b}\r\n", Bad(400)),
    ("Transfer-Encoding: chunked\0\r\n", Bad(400)),
    ("Transfer-Encoding: \0chunked\r\n", Bad(400)),
    ("Transfer-Encoding: chunked\rX: y\r\n", Bad(400)),
    ("Transfer-Encoding : chunked\r\n", Bad(400)),
    ("Transfer-Encoding\t: chunked\r\n", Bad(400)),
    (" Transfer-Encoding: chunked\r\n", Bad(400)),
    ("Transfer-Encoding:\r\n chunked\r\n", Bad(400)),
    ("Transfer-Encoding: chunked\r\n , identity\r\n", Bad(400)),
    ("X: y\rTransfer-Encoding: chunked\r\n", Bad(400)),
    ("X: y\r\n\tTransfer-Encoding: chunked\r\n", Bad(400)),
    ("Transfer-Encoding chunked\r\n", Bad(400)),
    ("Transfer\0-Encoding: chunked\r\n", Bad(400)),
    ("\u{ff}Transfer-Encoding: chunked\r\n", Bad(400)),
];

/// Chunks and lengths that contradict each other. A hidden request is behind the end for whoever
/// reads chunks, or for whoever reads the length.
pub fn codings() -> Vec<Attack> {
    let behind_chunks = format!("0\r\n\r\n{HIDDEN}");
    let size = format!("{:x}\r\n", HIDDEN.len());
    let behind_length = format!("{size}{HIDDEN}\r\n0\r\n\r\n");
    let whole = format!("Content-Length: {}\r\n", behind_chunks.len());
    let short = format!("Content-Length: {}\r\n", size.len());
    let mut attacks = Vec::new();
    for (line, says) in CODINGS {
        match says {
            Chunked => {
                for length in [&whole, "Content-Length: x\r\n"] {
                    attacks.push(Attack::post(
                        &format!("{line}{length}"),
                        &behind_chunks,
                        posted(""),
                    ));
                }
                attacks.push(Attack::post(
                    &format!("{whole}{line}"),
                    &behind_chunks,
                    posted(""),
                ));
                for fields in [
                    format!("{line}{short}"),
                    format!("{short}{line}"),
                    (*line).to_owned(),
                ] {
                    attacks.push(Attack::post(&fields, &behind_length, posted(HIDDEN)));
                }
            }
            Nothing => {
                let fields = format!("{line}{whole}");
                attacks.push(Attack::post(
                    &fields,
                    &behind_chunks,
                    posted(&behind_chunks),
                ));
            }
            Bad(status) => {
                for (length, body) in [(&whole, &behind_chunks), (&short, &behind_length)] {
                    let fate = || Refused(*status);
                    attacks.push(Attack::post(&format!("{line}{length}"), body, fate()));
                    attacks.push(Attack::post(&format!("{length}{line}"), body, fate()));
                }
            }
        }
    }
    attacks
}

/// Lengths that some take for 3, and others for none or another one.
#[rustfmt::skip]
const BAD_LENGTHS: &[&str] = &[
    "+3", "-3", "-0", "0x3", "3x", "x3", "3 3", "3, 3", "3,4", "3,", ",3", "3;", "3.0", "3e0", "0b11", "\"3\"",
    "", " ", "\u{b2}", "\u{663}", "3\0", "\u{0}3", "3\u{b}", "3\u{a0}", "3_0", "18446744073709551616", "18446744073709551619",
    "99999999999999999999999999", "-18446744073709551613", "3\r\n 0", "\r\n 3", "3\rX: y",
];

/// Field lines that say a length twice, or in no line of its own.
const BAD_LENGTH_LINES: &[&str] = &[
    "Content-Length: 3\r\nContent-Length: 4\r\n",
    "Content-Length: 0\r\nContent-Length: 3\r\n",
    "Content-Length: 3\r\nContent-Length: 0\r\n",
    "Content-Length: 3\r\nContent-Length:\r\n",
    "Content-Length: 3\r\nContent-Length: +3\r\n",
    "Content-Length: 3\r\ncontent-length: 3, 3\r\n",
    "Content-Length : 3\r\n",
    "Content-Length\t: 3\r\n",
    " Content-Length: 3\r\n",
    "Content-Length 3\r\n",
    "Content-Length\0: 3\r\n",
];

/// Lengths that are no lengths, and those that are.
pub fn lengths() -> Vec<Attack> {
    let bad = BAD_LENGTHS
        .iter()
        .map(|value| format!("Content-Length: {value}\r\n"));
    let bad = bad.chain(BAD_LENGTH_LINES.iter().map(|line| (*line).to_owned()));
    let body = format!("abc{HIDDEN}");
    let mut attacks: Vec<Attack> = bad
        .map(|fields| Attack::post(&fields, &body, Refused(400)))
        .collect();
    for good in [
        "Content-Length: 3\r\n",
        "content-length:3\r\n",
        "Content-Length: \t3\t \r\n",
        "Content-Length: 0003\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        "Content_Length: 9\r\nContent-Length: 3\r\n",
        "Connection: content-length\r\nContent-Length: 3\r\n",
        "Connection: close, content-length\r\nContent-Length: 3\r\n",
    ] {
        attacks.push(Attack::post(good, "abc", posted("abc")));
    }
    let whole = format!("Content-Length: {}\r\n", HIDDEN.len());
    attacks.push(Attack::post(&whole, HIDDEN, posted(HIDDEN)));
    attacks.push(Attack::post("Content-Length: 1000000\r\n", HIDDEN, Cut));
    attacks.push(Attack::post(
        "Content-Length: 9223372036854775807\r\n",
        HIDDEN,
        Cut,
    ));
    attacks
}

/// Bodies in chunks, and what is read out of them.
const CHUNKS: &[(&str, Option<&str>)] = &[
    ("3\r\nabc\r\n0\r\n\r\n", Some("abc")),
    ("0003\r\nabc\r\n000\r\n\r\n", Some("abc")),
    (
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        Some("01234567890123456789"),
    ),
    ("3;x=y\r\nabc\r\n0;z\r\n\r\n", Some("abc")),
    ("3;x=\"y;z\"\r\nabc\r\n0\r\n\r\n", Some("abc")),
    ("3 \r\nabc\r\n0\r\n\r\n", Some("abc")),
    ("3\t;x\r\nabc\r\n0\r\n\r\n", Some("abc")),
    ("3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", Some("abc")),
    (
        "3\r\nabc\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other.example\r\n\r\n",
        Some("abc"),
    ),
    ("5\r\n0\r\n\r\n\r\n0\r\n\r\n", Some("0\r\n\r\n")),
    ("\r\n3\r\nabc\r\n0\r\n\r\n", None),
    (" 3\r\nabc\r\n0\r\n\r\n", None),
    ("+3\r\nabc\r\n0\r\n\r\n", None),
    ("-3\r\nabc\r\n0\r\n\r\n", None),
    ("0x3\r\nabc\r\n0\r\n\r\n", None),
    ("3h\r\nabc\r\n0\r\n\r\n", None),
    ("3_\r\nabc\r\n0\r\n\r\n", None),
    ("3,\r\nabc\r\n0\r\n\r\n", None),
    ("\u{663}\r\nabc\r\n0\r\n\r\n", None),
    ("3\0\r\nabc\r\n0\r\n\r\n", None),
    ("3\r\nab\r\n0\r\n\r\n", None),
    ("3\r\nabcd\r\n0\r\n\r\n", None),
    ("3\r\nabc0\r\n\r\n", None),
    ("3\r\nabc\n0\r\n\r\n", None),
    ("3\r\nabc\r0\r\n\r\n", None),
    ("3\nabc\r\n0\r\n\r\n", None),
    ("3\rabc\r\n0\r\n\r\n", None),
    ("3;x\nabc\r\n0\r\n\r\n", None),
    ("3;\nx\r\nabc\r\n0\r\n\r\n", None),
    ("3;x\r\0\nabc\r\n0\r\n\r\n", None),
    ("3\r\nabc\r\n\r\n", None),
    ("3\r\nabc\r\n-0\r\n\r\n", None),
    ("3\r\nabc\r\n0\r\nno trailer\r\n\r\n", None),
    ("3\r\nabc\r\n0\r\nX : y\r\n\r\n", None),
    ("3\r\nabc\r\n0\r\nX: \0\r\n\r\n", None),
    ("3\r\nabc\r\n0\r\n: y\r\n\r\n", None),
    ("3\r\nabc\r\n0\r\n\rX", None),
    ("ffffffffffffffff\r\nabc\r\n0\r\n\r\n", None),
    ("10000000000000003\r\nabc\r\n0\r\n\r\n", None),
    ("7fffffffffffffff\r\nabc\r\n0\r\n\r\n", None),
    ("fffffffffffffffd\r\nabc\r\n0\r\n\r\n", None),
];

/// Chunks as some write them, and as nobody should.
pub fn chunks() -> Vec<Attack> {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut attacks = Vec::new();
    for (body, read) in CHUNKS {
        let (fate, behind): (Fate, _) = match read {
            Some(read) => (posted(read), ""),
            None => (Cut, HIDDEN),
        };
        attacks.push(Attack::post(chunked, &format!("{body}{behind}"), fate));
    }
    let long = "e".repeat(20_000);
    attacks.push(Attack::post(
        chunked,
        &format!("3;{long}\r\nabc\r\n0\r\n\r\n{HIDDEN}"),
        Cut,
    ));
    let trailers = format!("X: {long}\r\n").repeat(2);
    attacks.push(Attack::post(
        chunked,
        &format!("3\r\nabc\r\n0\r\n{trailers}\r\n{HIDDEN}"),
        Cut,
    ));
    attacks
}
