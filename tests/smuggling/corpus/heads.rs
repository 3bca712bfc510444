//! Heads that some read in another way than others.

use crate::smuggling::attack::Fate::{Carried, Refused};
use crate::smuggling::attack::{Attack, Fate, HIDDEN, gotten};

/// Request lines that are refused. The Host field comes behind each.
const BAD_LINES: &[&str] = &[
    "GET  /NONCE HTTP/1.1\r\n",
    "GET /NONCE  HTTP/1.1\r\n",
    "GET\t/NONCE HTTP/1.1\r\n",
    "GET /NONCE\tHTTP/1.1\r\n",
    "GET /NONCE HTTP/1.1 \r\n",
    "GET /NONCE HTTP/1.1 HTTP/1.1\r\n",
    " GET /NONCE HTTP/1.1\r\n",
    "\tGET /NONCE HTTP/1.1\r\n",
    "\0GET /NONCE HTTP/1.1\r\n",
    "\r\n GET /NONCE HTTP/1.1\r\n",
    "GET /NONCE\r\n",
    "GET /NONCE \r\n",
    "/NONCE HTTP/1.1\r\n",
    "GET HTTP/1.1\r\n",
    "GET /NONCE HTTP/0.9\r\n",
    "GET /NONCE HTTP/1.2\r\n",
    "GET /NONCE HTTP/1.10\r\n",
    "GET /NONCE HTTP/01.1\r\n",
    "GET /NONCE HTTP/1\r\n",
    "GET /NONCE HTTP/2\r\n",
    "GET /NONCE HTTP/2.0\r\n",
    "GET /NONCE http/1.1\r\n",
    "GET /NONCE HTTPS/1.1\r\n",
    "GET /NONCE ICAP/1.0\r\n",
    "GET /NONCE HTTP/1.1\rX: y\r\n",
    "GET /NONCE\rHTTP/1.1\r\n",
    "GET /NONCE\0 HTTP/1.1\r\n",
    "GET /NONCE/a b HTTP/1.1\r\n",
    "GET /NONCE\u{b} HTTP/1.1\r\n",
    "GET NONCE HTTP/1.1\r\n",
    "GET ?NONCE HTTP/1.1\r\n",
    "GET \\NONCE HTTP/1.1\r\n",
    "GET :80/NONCE HTTP/1.1\r\n",
    "GET * HTTP/1.1\r\n",
    "GET app.example HTTP/1.1\r\n",
    "GET app.example:80 HTTP/1.1\r\n",
    "GET http:// HTTP/1.1\r\n",
    "GET http:///NONCE HTTP/1.1\r\n",
    "GET http://u@app.example/NONCE HTTP/1.1\r\n",
    "GET http://app.example:99999/NONCE HTTP/1.1\r\n",
    "GET http://app.example:x/NONCE HTTP/1.1\r\n",
    "G\u{e9}T /NONCE HTTP/1.1\r\n",
    "G(T /NONCE HTTP/1.1\r\n",
    "GET: /NONCE HTTP/1.1\r\n",
    "\"GET\" /NONCE HTTP/1.1\r\n",
    "{} /NONCE HTTP/1.1\r\n",
    "\u{16}\u{3}\u{1}\r\n",
];

/// Request lines with what they are refused with, or what arrives.
fn other_lines() -> Vec<(&'static str, Fate)> {
    let arrives = |method, behind| Carried(vec![(method, behind, String::new())]);
    vec![
        ("\r\nGET /NONCE HTTP/1.1\r\n", gotten()),
        ("\r\n\r\n\n\r\nGET /NONCE HTTP/1.1\r\n", gotten()),
        ("get /NONCE HTTP/1.1\r\n", arrives("get", "")),
        ("GETGET /NONCE HTTP/1.1\r\n", arrives("GETGET", "")),
        (
            "~!#$%&'*+-.^_`| /NONCE HTTP/1.1\r\n",
            arrives("~!#$%&'*+-.^_`|", ""),
        ),
        (
            "GET /NONCE/HTTP/1.1 HTTP/1.1\r\n",
            arrives("GET", "/HTTP/1.1"),
        ),
        (
            "GET /NONCE/..//%2e/;x HTTP/1.1\r\n",
            arrives("GET", "/..//%2e/;x"),
        ),
        ("GET /NONCE#/SMUGGLED HTTP/1.1\r\n", gotten()),
        ("GET http://app.example/NONCE HTTP/1.1\r\n", gotten()),
        ("GET HTTP://APP.EXAMPLE./NONCE HTTP/1.1\r\n", gotten()),
        ("GET ftp://app.example:21/NONCE HTTP/1.1\r\n", gotten()),
        ("GET http://nobody.example/NONCE HTTP/1.1\r\n", Refused(404)),
        (
            "GET http://app.example%2fx/NONCE HTTP/1.1\r\n",
            Refused(400),
        ),
        ("CONNECT app.example:80 HTTP/1.1\r\n", Refused(405)),
        ("CONNECT /NONCE HTTP/1.1\r\n", Refused(405)),
        ("TRACE /NONCE HTTP/1.1\r\n", Refused(405)),
        ("PRI * HTTP/2.0\r\n", Refused(400)),
    ]
}

pub fn lines() -> Vec<Attack> {
    let bad = BAD_LINES.iter().map(|line| (*line, Refused(400)));
    let all = bad.chain(other_lines());
    let attack = |(line, fate): (&str, Fate)| {
        let behind = match fate {
            Refused(400) => HIDDEN,
            _ => "",
        };
        Attack::new(format!("{line}Host: app.example\r\n\r\n{behind}"), fate)
    };
    all.map(attack).collect()
}

/// Field lines that no head may have.
const BAD_FIELDS: &[&str] = &[
    "X : y\r\n",
    "X\t: y\r\n",
    " X: y\r\n",
    "X: y\r\n z\r\n",
    "X: y\r\n\tz\r\n",
    "X:\r\n y\r\n",
    ": y\r\n",
    "X\r\n",
    "X y\r\n",
    "X: y\rZ: 1\r\n",
    "X: \r y\r\n",
    "X: y\r\r\n",
    "X: y\0\r\n",
    "X: \0\r\n",
    "X: \u{1}\r\n",
    "X: \u{8}\r\n",
    "X: \u{b}\r\n",
    "X: \u{c}\r\n",
    "X: \u{1b}[0m\r\n",
    "X: \u{7f}\r\n",
    "\0X: y\r\n",
    "X\0: y\r\n",
    "X\u{b}: y\r\n",
    "X\u{7f}: y\r\n",
    "\u{e9}: y\r\n",
    "X\u{ff}: y\r\n",
    "\u{ef}\u{bb}\u{bf}X: y\r\n",
    "GET /SMUGGLED/NONCE HTTP/1.1\r\n",
    "\rGET /SMUGGLED/NONCE HTTP/1.1\r\n",
];

/// Octets that no name may have.
const NO_TOKENS: &str = "\"(),/;<=>?@[\\]{}";

/// Field lines that are odd, and are fields all the same.
const ODD_FIELDS: &[&str] = &[
    "X:y\r\n",
    "X:\r\n",
    "X:: y\r\n",
    "X: y\nZ: 1\r\n",
    "X: GET /SMUGGLED/NONCE HTTP/1.1\r\n",
    "GET: /SMUGGLED/NONCE HTTP/1.1\r\n",
    "!#$%&'*+-.^_`|~: y\r\n",
    "X: \u{e9}\u{c3}\u{bc}\r\n",
    "Connection: host\r\n",
    "Connection: x, , \u{ff}, close\u{e9}\r\n",
    "Connection: transfer-encoding, upgrade, te\r\nTE: trailers\r\n",
    "Proxy-Connection: keep-alive\r\nKeep-Alive: max=1\r\n",
    "X-Forwarded-Host: other.example\r\nForwarded: host=other.example\r\nX-Host: other.example\r\n",
    "X-Original-URL: /SMUGGLED\r\nX-Rewrite-URL: /SMUGGLED\r\n",
    "X-HTTP-Method-Override: CONNECT\r\n",
    "X-Ggrok-Error: forged\r\nX-Ggrok-Token: forged\r\n",
    "Content-Length: 0\r\n",
    "Trailer: Content-Length\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: websocket\r\n",
];

pub fn fields() -> Vec<Attack> {
    let tokens = NO_TOKENS.chars().map(|octet| format!("X{octet}Y: z\r\n"));
    let bad = BAD_FIELDS
        .iter()
        .map(|field| (*field).to_owned())
        .chain(tokens);
    let bad = bad.map(|field| Attack::get(&field, Refused(400)));
    let odd = ODD_FIELDS.iter().map(|field| Attack::get(field, gotten()));
    bad.chain(odd).collect()
}

/// What may stand in the place of the one Host field, and does not.
const BAD_HOSTS: &[&str] = &[
    "",
    "Host:\r\n",
    "Host: \t\r\n",
    "Host: app.example\r\nHost: app.example\r\n",
    "Host: app.example\r\nhost: other.example\r\n",
    "Host: app.example\r\nHost:\r\n",
    "Host: app.example, other.example\r\n",
    "Host: app.example other.example\r\n",
    "Host: other.example@app.example\r\n",
    "Host: app.example@other.example\r\n",
    "Host: app.example/other.example\r\n",
    "Host: http://app.example\r\n",
    "Host: app.example#\r\n",
    "Host: app.example?\r\n",
    "Host: app.example\\\r\n",
    "Host: app.example:80:80\r\n",
    "Host: app.example:65536\r\n",
    "Host: app.example:-1\r\n",
    "Host: app.example:80x\r\n",
    "Host: app.example:\u{b2}\r\n",
    "Host: app..example\r\n",
    "Host: .app.example\r\n",
    "Host: app.example..\r\n",
    "Host: *.example\r\n",
    "Host: %61pp.example\r\n",
    "Host: app.ex\u{e4}mple\r\n",
    "Host: \u{ff}\r\n",
    "Host: app.example\0\r\n",
    "Host: app.example\0.other.example\r\n",
    "Host: [::1\r\n",
    "Host: [app.example]\r\n",
    "Host: \"app.example\"\r\n",
    "Host : app.example\r\n",
    " Host: app.example\r\n",
    "Host: app.example\r\n other.example\r\n",
    "Host: app.example\rX: y\r\n",
];

/// Spellings of the one host.
const GOOD_HOSTS: &[&str] = &[
    "host:app.example\r\n",
    "HOST: APP.EXAMPLE\r\n",
    "Host: app.example.\r\n",
    "Host: app.example:\r\n",
    "Host: app.example:0\r\n",
    "Host: App.Example.:65535\r\n",
    "Host: \tapp.example\t \r\n",
    "Host: app.example\nX: y\r\n",
    "X-Host: other.example\r\nHost: app.example\r\nHost_: other.example\r\n",
];

pub fn hosts() -> Vec<Attack> {
    let line = "GET /NONCE HTTP/1.1\r\n";
    let bad = |host: &&str| Attack::new(format!("{line}{host}\r\n{HIDDEN}"), Refused(400));
    let good = |host: &&str| Attack::new(format!("{line}{host}\r\n"), gotten());
    let bad = BAD_HOSTS.iter().map(bad);
    bad.chain(GOOD_HOSTS.iter().map(good)).collect()
}
