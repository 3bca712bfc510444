//! Lists of fields, each of which must arrive whole.

/// A name and a value.
pub type Field = (String, Vec<u8>);

/// Octets of a name besides letters and digits (RFC 9110, section 5.6.2).
const ODD: &str = "!#$%&'*+-.^_`|~";

#[rustfmt::skip]
const HAND_PICKED: &[&[(&str, &str)]] = &[
    &[("X-Empty", "")],
    &[("X-Empty", ""), ("X-Empty", "")],
    &[("X-A", ""), ("X-A", "1"), ("X-A", "")],
    &[("X-A", "2"), ("X-B", "x"), ("X-A", "1"), ("X-C", ""), ("X-A", "3"), ("X-B", "y")],
    &[("x-case", "lower"), ("X-CASE", "upper"), ("X-Case", "mixed")],
    &[("X-A", "1, 2"), ("X-A", "3,4"), ("X-A", ",,")],
    &[("X-A", "a\tb")],
    &[("X-A", "a  b \t c")],
    &[("X-A", ": : :")],
    &[("X-A", "\"quoted \\\" string\"; q=0.5")],
    &[("X-A", "=?utf-8?q?encoded?=")],
    &[("X-A", "gr\u{fc}\u{df}e \u{4f60}\u{597d} \u{1f600}")],
    &[("X-A", "\u{feff}\u{200b}\u{202e}")],
    &[("Cookie", "a=1; b=2; a=3")],
    &[("Cookie", "a=1"), ("Cookie", "b=2")],
    &[("Cookie", "quoted=\"x y\"; empty=; =nameless; bare")],
    &[("Set-Cookie", "a=1"), ("Set-Cookie", "a=2"), ("Set-Cookie", "b=3; Path=/")],
    &[("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Domain=example; Secure; HttpOnly; SameSite=None")],
    &[("Authorization", "Bearer abc.def-ghi_~+/=")],
    &[("Authorization", "Basic dXNlcjpwYXNz")],
    &[("Authorization", "Digest username=\"u\", realm=\"r, s\", uri=\"/?a\"")],
    &[("WWW-Authenticate", "Basic realm=\"a\", Bearer"), ("WWW-Authenticate", "Negotiate")],
    &[("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")],
    &[("Accept", "a/b"), ("Accept", "c/d;q=0")],
    &[("Accept-Encoding", "gzip, deflate, br, zstd"), ("Accept-Language", "de,en;q=0.5")],
    &[("Accept-Charset", "*"), ("Accept-Datetime", "x"), ("Accept-Ranges", "bytes, none")],
    &[("User-Agent", "Mozilla/5.0 (X11; Linux) AppleWebKit/1 (KHTML, like Gecko)")],
    &[("User-Agent", "")],
    &[("Server", "mine/1.0 (x)"), ("X-Powered-By", "PHP/4.0")],
    &[("Referer", "http://a.example/x?y#z"), ("Origin", "null")],
    &[("If-None-Match", "\"a\", W/\"b\", *"), ("If-Match", "*")],
    &[("If-Modified-Since", "Wed, 21 Oct 2026 07:28:00 GMT"), ("If-Range", "\"x\"")],
    &[("Range", "bytes=0-0,-1")],
    &[("Content-Range", "bytes 0-1/*"), ("Content-Location", "/x?y")],
    &[("Content-Type", "text/html; charset=\"utf-8\"")],
    &[("Content-Type", "multipart/form-data; boundary=----x'()+_,-./:=?")],
    &[("Content-Encoding", "gzip"), ("Content-Language", "de, en")],
    &[("Content-Disposition", "attachment; filename=\"a b.txt\"; filename*=UTF-8''%e2%82%ac")],
    &[("Content-Security-Policy", "default-src 'self'; script-src 'nonce-x' *.example")],
    &[("ETag", "W/\"x\""), ("Age", "0"), ("Vary", "*"), ("Vary", "Cookie, Accept")],
    &[("Cache-Control", "no-cache, max-age=0, private=\"x\""), ("Pragma", "no-cache")],
    &[("Date", "Wed, 21 Oct 2026 07:28:00 GMT"), ("Expires", "0"), ("Last-Modified", "never")],
    &[("Location", "http://a.example/x?y=z#w")],
    &[("Location", "//a.example/\u{e9}"), ("Refresh", "0; url=/")],
    &[("Link", "</a>; rel=\"next\""), ("Link", "</b>; rel=preload; as=style, </c>")],
    &[("Allow", "GET, HEAD"), ("Allow", ""), ("Retry-After", "120")],
    &[("From", "a@b.example"), ("DNT", "1"), ("Sec-GPC", "1"), ("Sec-Fetch-Mode", "cors")],
    &[("X-Http-Method-Override", "DELETE"), ("X-Original-Url", "/admin"), ("X-Rewrite-Url", "/x")],
    &[("Access-Control-Allow-Origin", "*"), ("Access-Control-Request-Headers", "x-a,x-b")],
    &[("Strict-Transport-Security", "max-age=0"), ("X-Frame-Options", "DENY"), ("NEL", "{}")],
    &[("Grpc-Timeout", "1S"), ("Grpc-Encoding", "identity"), ("Traceparent", "00-0-0-00")],
    &[("Priority", "u=1, i"), ("Early-Data", "1"), ("Alt-Svc", "h3=\":443\"; ma=1"), ("Alt-Svc", "clear")],
    &[("Last-Event-Id", "\u{e9}"), ("X-Accel-Buffering", "no"), ("Server-Timing", "a;dur=1.5, b")],
    &[("0", "a name may be a digit"), ("x", "or a letter"), ("1-2", "or both")],
    &[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")],
];

/// All lists.
pub fn field_lists() -> Vec<Vec<Field>> {
    let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
    let mut lists = Vec::new();
    for octet in ODD.chars() {
        lists.push(vec![
            field(&format!("{octet}"), b"alone"),
            field(&format!("x{octet}"), b"last"),
            field(&format!("X{octet}{octet}Y"), b"twice"),
        ]);
    }
    for octet in (0x21..=0x7e).chain(0x80..=0xff_u8).chain([b' ', b'\t']) {
        let inside = [b'a', octet, octet, b'z'];
        lists.push(vec![field("X-Inside", &inside), field("X-Again", &inside)]);
        if !octet.is_ascii_whitespace() {
            lists.push(vec![field("X-Alone", &[octet])]);
        }
    }
    for count in [2, 3, 10, 100, 250] {
        let same = |number: usize| field("X-Same", format!("{}", number * 7919 % 251).as_bytes());
        lists.push((0..count).map(same).collect());
        let mixed =
            |number: usize| field(&format!("X-{}", number % 7), format!("{number}").as_bytes());
        lists.push((0..count).map(mixed).collect());
        let other = |number: usize| field(&format!("X-{number}"), b"");
        lists.push((0..count).map(other).collect());
        let cookie = |number: usize| {
            field(
                "Cookie",
                format!("c{number}={number}; d=\"{number}\"").as_bytes(),
            )
        };
        lists.push((0..count).map(cookie).collect());
        let cookie = |number: usize| field("Set-Cookie", format!("c={number}; Path=/").as_bytes());
        lists.push((0..count).map(cookie).collect());
    }
    for length in [255, 256, 1023, 4096, 8190, 16_384, 32_768, 60_000] {
        lists.push(vec![
            field("X-Long", &b"v".repeat(length)),
            field("X-After", b"1"),
        ]);
        lists.push(vec![field(&"n".repeat(length.min(1000)), b"long name")]);
    }
    let hand_picked = |list: &&[(&str, &str)]| {
        let fields = list
            .iter()
            .map(|(name, value)| field(name, value.as_bytes()));
        fields.collect()
    };
    lists.extend(HAND_PICKED.iter().map(hand_picked));
    lists
}
