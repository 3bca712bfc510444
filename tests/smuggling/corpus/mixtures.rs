//! Versions, upgrades, expectations, methods and sizes, one with another.

use crate::smuggling::attack::Fate::{Carried, Cut, Refused};
use crate::smuggling::attack::{Arrival, Attack, HIDDEN, gotten, posted};

fn arrival(method: &'static str, behind: &'static str, body: &str) -> Arrival {
    (method, behind, body.to_owned())
}

pub fn mixtures() -> Vec<Attack> {
    [
        versions(),
        upgrades(),
        expectations(),
        methods(),
        pipelines(),
        sizes(),
    ]
    .concat()
}

fn versions() -> Vec<Attack> {
    let old = |fields: &str, body: &str, fate| {
        let head = format!("POST /NONCE HTTP/1.0\r\nHost: app.example\r\n{fields}\r\n");
        Attack::new(format!("{head}{body}"), fate)
    };
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let whole = format!("Content-Length: {}\r\n", chunks.len());
    vec![
        old("Transfer-Encoding: chunked\r\n", &chunks, Refused(400)),
        old(
            &format!("Transfer-Encoding: chunked\r\n{whole}"),
            &chunks,
            Refused(400),
        ),
        old(
            &format!("{whole}Transfer-Encoding: chunked\r\n"),
            &chunks,
            Refused(400),
        ),
        old(
            "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            &chunks,
            Refused(400),
        ),
        old("Content-Length: 3\r\n", "abc", posted("abc")),
        // The connection ends, and what is behind is nobody's.
        old(
            "Content-Length: 3\r\n",
            &format!("abc{HIDDEN}"),
            posted("abc"),
        ),
        old("", HIDDEN, posted("")),
        old(
            "Connection: keep-alive\r\nContent-Length: 3\r\n",
            "abc",
            posted("abc"),
        ),
        old(
            "Connection: upgrade\r\nUpgrade: weird/7\r\nContent-Length: 3\r\n",
            "abc",
            posted("abc"),
        ),
        Attack::new("GET /NONCE HTTP/1.0\r\n\r\n", Refused(400)),
        Attack::new(format!("GET /NONCE HTTP/1.0\r\n\r\n{HIDDEN}"), Refused(400)),
    ]
}

/// The local server refuses all of them. Where it is not known whether the bytes behind the head are
/// for the new protocol, they must not become a part of anything.
fn upgrades() -> Vec<Attack> {
    let upgrade = |to: &str| format!("Connection: Upgrade\r\nUpgrade: {to}\r\n");
    let behind = "GET /NONCE/behind HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let both = || Carried(vec![arrival("GET", "", ""), arrival("GET", "/behind", "")]);
    let mut attacks = Vec::new();
    for to in [
        "weird/7",
        "websocket",
        "h2c",
        "HTTP/2.0",
        "TLS/1.0",
        "weird/7, websocket",
        "\u{e9}",
        "",
    ] {
        let settings = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
        let fields = format!("{}{settings}", upgrade(to));
        attacks.push(Attack::request("GET /NONCE", &fields, "", gotten()));
        attacks.push(Attack::request("GET /NONCE", &fields, behind, both()));
    }
    // Asked for with a body, it is ignored: whose the bytes behind the head are must be plain.
    let body = "b".repeat(30);
    for (fields, body, fate) in [
        ("Content-Length: 30\r\n", body.clone(), posted(&body)),
        ("Content-Length: 3000\r\n", body, Cut),
        (
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n\r\n".to_owned(),
            posted("hello"),
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            format!("x\r\n{HIDDEN}"),
            Cut,
        ),
        ("Content-Length: 0\r\n", String::new(), posted("")),
    ] {
        let fields = format!("{}{fields}", upgrade("weird/7"));
        attacks.push(Attack::post(&fields, &body, fate));
    }
    attacks
}

fn expectations() -> Vec<Attack> {
    let expect = |value: &str, rest: &str| format!("Expect: {value}\r\n{rest}");
    vec![
        Attack::post(
            &expect("100-continue", "Content-Length: 3\r\n"),
            "abc",
            posted("abc"),
        ),
        Attack::post(
            &expect("100-CONTINUE", "Content-Length: 3\r\n"),
            "abc",
            posted("abc"),
        ),
        Attack::post(
            &expect("100-continue", "Transfer-Encoding: chunked\r\n"),
            "3\r\nabc\r\n0\r\n\r\n",
            posted("abc"),
        ),
        Attack::post(
            &expect("100-continue", "Content-Length: 0\r\n"),
            "",
            posted(""),
        ),
        Attack::post(&expect("100-continue", ""), "", posted("")),
        Attack::post(
            &expect(
                "100-continue\r\nExpect: 100-continue",
                "Content-Length: 3\r\n",
            ),
            "abc",
            posted("abc"),
        ),
        Attack::post(
            &expect("100-continue", "Content-Length: 300\r\n"),
            HIDDEN,
            Cut,
        ),
        Attack::post(
            &expect("100-continue", "Content-Length: 3, 3\r\n"),
            HIDDEN,
            Refused(400),
        ),
    ]
}

fn methods() -> Vec<Attack> {
    let length = format!("Content-Length: {}\r\n", HIDDEN.len());
    let mut attacks = Vec::new();
    for (line, method) in [
        ("GET /NONCE", "GET"),
        ("HEAD /NONCE", "HEAD"),
        ("DELETE /NONCE", "DELETE"),
        ("OPTIONS /NONCE", "OPTIONS"),
        ("get /NONCE", "get"),
        ("CONNECTX /NONCE", "CONNECTX"),
    ] {
        let fate = || Carried(vec![arrival(method, "", HIDDEN)]);
        attacks.push(Attack::request(line, &length, HIDDEN, fate()));
        let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
        attacks.push(Attack::request(
            line,
            "Transfer-Encoding: chunked\r\n",
            &chunk,
            fate(),
        ));
    }
    for line in ["CONNECT /NONCE", "CONNECT app.example:80", "TRACE /NONCE"] {
        attacks.push(Attack::request(line, &length, HIDDEN, Refused(405)));
        attacks.push(Attack::request(line, "", HIDDEN, Refused(405)));
    }
    attacks
}

fn pipelines() -> Vec<Attack> {
    let get = "GET /NONCE HTTP/1.1\r\nHost: app.example\r\n";
    let second =
        |rest: &str| format!("{get}\r\nPOST /NONCE/2 HTTP/1.1\r\nHost: app.example\r\n{rest}");
    let two = |body| Carried(vec![arrival("GET", "", ""), arrival("POST", "/2", body)]);
    vec![
        Attack::new(second("Content-Length: 3\r\n\r\nabc"), two("abc")),
        Attack::new(
            second("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            two("abc"),
        ),
        Attack::new(
            second(&format!("Content-Length: +3\r\n\r\nabc{HIDDEN}")),
            gotten(),
        ),
        Attack::new(
            second(&format!("Transfer-Encoding: x\r\n\r\nabc{HIDDEN}")),
            gotten(),
        ),
        Attack::new(second(&format!("X : y\r\n\r\n{HIDDEN}")), gotten()),
        Attack::new(
            second(&format!("Host: other.example\r\n\r\n{HIDDEN}")),
            gotten(),
        ),
        Attack::new(format!("{get}Connection: close\r\n\r\n{HIDDEN}"), gotten()),
        Attack::new(
            format!("{get}Connection: x\r\nConnection: CLOSE\r\n\r\n{HIDDEN}"),
            gotten(),
        ),
        Attack::new(
            format!("{get}Connection: keep-alive, close\r\n\r\n{HIDDEN}"),
            gotten(),
        ),
        Attack::new(format!("{get}\r\n\0\0\0\0{HIDDEN}"), gotten()),
        Attack::new(format!("{get}\r\n0\r\n\r\n{HIDDEN}"), gotten()),
        Attack::new(format!("{get}\r\n {HIDDEN}"), gotten()),
        Attack::new(format!("{get}\n"), gotten()),
        Attack::new(get.replace("\r\n", "\n") + "\n", gotten()),
        Attack::new(format!("{get}\r\r\n\r\n{HIDDEN}"), Refused(400)),
    ]
}

fn sizes() -> Vec<Attack> {
    let many = |field: &str, count: usize| field.repeat(count);
    let get = |fields: &str, fate| Attack::request("GET /NONCE", fields, "", fate);
    vec![
        Attack::request(
            &format!("GET /NONCE/{}", "a".repeat(33_000)),
            "",
            "",
            Refused(414),
        ),
        get(&format!("X: {}\r\n", "b".repeat(70_000)), Refused(431)),
        get(&format!("{}: b\r\n", "n".repeat(65_535)), Refused(431)),
        get(&many("X: y\r\n", 300), Refused(431)),
        get(&many("X: y\r\n", 200), gotten()),
        get(&many("Connection: x\r\n", 200), gotten()),
        Attack::new(
            many("\r\n", 20_000) + "GET /NONCE HTTP/1.1\r\nHost: app.example\r\n\r\n",
            gotten(),
        ),
        // Beyond these the connection ends with the refusal.
        Attack::request(
            &format!("GET /NONCE/{}", "a".repeat(66_000)),
            "",
            HIDDEN,
            Refused(414),
        ),
        Attack::request(
            &format!("GET /NONCE/{}", "a".repeat(2_000_000)),
            "",
            HIDDEN,
            Refused(431),
        ),
        Attack::get(&format!("X: {}\r\n", "b".repeat(2_000_000)), Refused(431)),
        Attack::get(&format!("{}: b\r\n", "n".repeat(70_000)), Refused(431)),
        Attack::get(&many("X: y\r\n", 600), Refused(431)),
        Attack::request(&"M".repeat(100_000), "", HIDDEN, Refused(400)),
    ]
}
