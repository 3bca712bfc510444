//! What a hostile end of a tunnel says, as bytes of its WebSocket (RFC 6455, section 5.2).

use std::net::SocketAddr;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

const HEAD: u8 = 1;
const DATA: u8 = 2;
const TRAILERS: u8 = 3;
const WINDOW: u8 = 4;
const RESET: u8 = 5;
const GO_AWAY: u8 = 6;

/// What clients say to a relay, each after a visitor's call has come: that is the first one.
pub(super) fn of_clients() -> Vec<Vec<u8>> {
    let ok = r#"{"status":200,"fields":[]}"#;
    let head = |json: &str, end| message(BINARY, true, &frame_head(1, json, b"", end));
    let frame = |kind, call, payload: &[u8]| message(BINARY, true, &frame(kind, call, payload));
    let mut attacks = vec![
        // Responses that are none.
        head("", true),
        head("{", true),
        head("[]", true),
        head(r#"{"status":99,"fields":[]}"#, true),
        head(r#"{"status":1000,"fields":[]}"#, true),
        head(r#"{"status":101,"fields":[]}"#, false),
        head(r#"{"status":101,"upgrade":"websocket","fields":[]}"#, false),
        head(r#"{"status":100,"fields":[]}"#, true),
        // Fields that would be two.
        head(
            r#"{"status":200,"fields":[["a","b\r\nset-cookie: smuggled"]]}"#,
            true,
        ),
        head(
            r#"{"status":200,"fields":[["a\r\nset-cookie: smuggled","b"]]}"#,
            true,
        ),
        head("{\"status\":200,\"fields\":[[\"a\",\"\\u0000\"]]}", true),
        head("{\"status\":200,\"fields\":[[\"a\",\"\\u0100\"]]}", true),
        head(r#"{"status":200,"fields":[["",""]]}"#, true),
        // Framing that lies.
        head(r#"{"status":200,"fields":[["content-length","5"]]}"#, true),
        head(r#"{"status":200,"fields":[["content-length","-1"]]}"#, true),
        head(
            r#"{"status":200,"fields":[["content-length","1"],["content-length","2"]]}"#,
            true,
        ),
        head(
            r#"{"status":200,"fields":[["transfer-encoding","chunked"]]}"#,
            true,
        ),
        head(
            r#"{"status":200,"fields":[["connection","content-length"]]}"#,
            true,
        ),
        head(&many_fields(), true),
        // Calls that are not.
        [head(ok, true), head(ok, true)].concat(),
        frame(DATA, 1, b"before its head"),
        frame(DATA, 77, b"nobody's"),
        frame(TRAILERS, 1, br#"[["content-length","1"]]"#),
        frame(TRAILERS, 1, b"no JSON"),
        frame(WINDOW, 1, &u32::MAX.to_be_bytes()).repeat(3),
        frame(WINDOW, 1, b""),
        frame(WINDOW, 0, &[0; 4]),
        frame(RESET, 1, &[0]),
        frame(RESET, 1, &[255]),
        frame(RESET, 1, b""),
        frame(RESET, u32::MAX, &[1]).repeat(10_000),
        frame(GO_AWAY, 0, b""),
        frame(99, 1, b"of no kind"),
        // More than was granted.
        [head(ok, false), frame(DATA, 1, &[b'x'; 60_000]).repeat(40)].concat(),
        [head(ok, false), frame(DATA, 1, b"x").repeat(50_000)].concat(),
        message(BINARY, true, &[0; 5]),
        message(BINARY, true, b""),
        message(BINARY, true, &vec![0; 2 << 20]),
    ];
    attacks.extend(of_both(true));
    attacks
}

/// What relays say to a client. `lure` is where it has no business.
pub(super) fn of_relays(lure: SocketAddr) -> Vec<Vec<u8>> {
    let head = |target: &str, fields: &str| {
        let json = format!(r#"{{"method":"GET","target":"{target}","fields":[{fields}]}}"#);
        message(BINARY, false, &frame_head(1, &json, b"", true))
    };
    let elsewhere = [
        format!("http://{lure}/"),
        format!("//{lure}/"),
        format!("@{lure}/"),
        format!("{lure}"),
        format!("/@{lure}/"),
        format!("/\\\\{lure}/"),
        format!("ws://{lure}/"),
        format!("/../../{lure}"),
    ];
    let host = format!(r#"["host","{lure}"]"#);
    let mut attacks: Vec<Vec<u8>> = elsewhere.iter().map(|target| head(target, "")).collect();
    attacks.extend([
        head("/", &host),
        head("/", &format!(r#"{host},["x-forwarded-host","{lure}"]"#)),
        head("/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /smuggled", ""),
        head("", ""),
        head("*", ""),
        head(
            "/",
            r#"["transfer-encoding","chunked"],["content-length","3"]"#,
        ),
        head("/", r#"["content-length","5"]"#),
        head("/", r#"["connection","host"],["upgrade","h2c"]"#),
        message(BINARY, false, &frame_head(1, "{}", b"", true)),
        message(BINARY, false, &frame(DATA, 9, b"nobody's")),
        message(BINARY, false, &frame(WINDOW, 9, &u32::MAX.to_be_bytes())).repeat(1000),
        message(BINARY, false, &frame(RESET, 9, &[1])).repeat(10_000),
        message(BINARY, false, &frame(GO_AWAY, 0, b"")).repeat(3),
        (1..3000_u32)
            .flat_map(|call| {
                let json = r#"{"method":"GET","target":"/","fields":[]}"#;
                message(BINARY, false, &frame_head(call, json, b"", true))
            })
            .collect(),
    ]);
    attacks.extend(of_both(false));
    attacks
}

/// A call of a relay that keeps the rules.
pub(super) fn sound_call() -> Vec<u8> {
    let json = r#"{"method":"GET","target":"/","fields":[["host","app.example"]]}"#;
    message(BINARY, false, &frame_head(1 << 20, json, b"", true))
}

/// What no WebSocket says.
fn of_both(masked: bool) -> Vec<Vec<u8>> {
    let message = |kind, payload: &[u8]| message(kind, masked, payload);
    vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0xff; 100],
        vec![0],
        message(TEXT, b"\xff\xfe"),
        message(TEXT, b"{}"),
        message(TEXT, br#"{"Status":"200 OK","StatusCode":200,"Header":{"A":["b\r\nset-cookie: smuggled"]},"Body":"aGk="}"#),
        message(PING, &[0; 126]),
        message(PING, b"x").repeat(10_000),
        message(CLOSE, b"x"),
        message(CLOSE, &[0x0f, 0xff]),
        message(0x80, b"goes on from nothing"),
        message(0xc2, b"compressed, they say"),
        message(0x83, b"of no kind"),
        // Not masked where it must be, and the other way round.
        self::message(BINARY, !masked, b"x"),
        // Eight bytes of length, and nothing behind them.
        vec![BINARY, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]
}

fn many_fields() -> String {
    let fields = vec![r#"["a","b"]"#; 1500].join(",");
    format!(r#"{{"status":200,"fields":[{fields}]}}"#)
}

fn message(kind: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = u8::from(masked) << 7;
    let mut message = vec![kind];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length), _) if length < 126 => message.push(mask | length),
        (_, Ok(length)) => {
            message.push(mask | 126);
            message.extend(length.to_be_bytes());
        }
        _ => {
            message.push(mask | 127);
            message.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if masked {
        // A mask of nothing changes nothing.
        message.extend([0; 4]);
    }
    message.extend(payload);
    message
}

fn frame(kind: u8, call: u32, payload: &[u8]) -> Vec<u8> {
    [&[kind, 0], call.to_be_bytes().as_slice(), payload].concat()
}

fn frame_head(call: u32, json: &str, body: &[u8], end: bool) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = frame(HEAD, call, &[&length, json.as_bytes(), body].concat());
    frame[1] = u8::from(end);
    frame
}
