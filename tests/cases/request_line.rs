//! Cases 1 to 20.

use ggrok_protocol::Dialect;

use super::play::{OK, arrives, error, nothing_arrived, refused, rest};
use super::{Case, case};
use crate::support::{Stage, fields};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(1, "9112, 3.2", "a request without Host is refused: 400", no_host),
        case(2, "9112, 3.2", "a request with two Hosts, equal or not, is refused: 400", two_hosts),
        case(3, "9112, 3.2", "a Host that is none is refused: empty, a list, with userinfo, a path or a bad port: 400", bad_hosts),
        case(4, "9110, 4.2.3", "case, a trailing dot and the port make no other host; the app sees Host as it came", spellings),
        case(5, "9112, 3.2.2", "the authority of an absolute target takes the place of Host", absolute),
        case(6, "9110, 4.2.4", "an absolute target with userinfo is refused: 400", userinfo),
        case(7, "9112, 3.2.1", "an absolute target with an empty path asks for `/`", empty_path)
            .remark("for OPTIONS too: the HTTP library does not tell the two apart"),
        case(8, "9112, 3.2", "a target of no form is refused: 400", no_target),
        case(9, "9110, 9.3.6", "CONNECT is refused, and the connection closed: 405", connect),
        case(10, "9112, 3.2.4", "`OPTIONS *` arrives as that; with another method `*` is refused: 400", asterisk)
            .not_in_magic_mirror("its envelope holds no such target: 501"),
        case(11, "9110, 9.3.8", "TRACE is refused, and nothing is echoed: 405", trace),
        case(12, "9110, 7.6.2", "Max-Forwards of OPTIONS is counted down, and at 0 the relay answers", max_forwards),
        case(13, "9110, 9.1", "any method passes, in its own case", methods),
        case(14, "9112, 3.2.1", "a target arrives byte for byte", targets)
            .not_in_unary("the originals end over a path with a broken percent escape: 400"),
        case(15, "3986, 2", "octets that no target may hold are refused: 400", octets),
        case(16, "9110, 4.2.5", "a fragment goes no further", fragment),
        case(17, "9112, 3", "a target may have 8,000 octets; one that is too long is refused: 414", long_targets)
            .remark("32 KiB"),
        case(18, "9112, 3", "a request line that is none is refused: 400", lines),
        case(19, "9112, 2.2", "empty lines before a request are skipped", empty_lines),
        case(20, "9112, 2.2", "bare line feeds are taken for line ends, and go on as CRLF", line_feeds),
    ]
}

async fn no_host(stage: Stage) {
    refused(
        &stage,
        400,
        [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nX: Host: a\r\n\r\n",
        ],
    )
    .await;
}

async fn two_hosts(stage: Stage) {
    let two = ["app.example", "other.example", ""];
    let said = two.map(|host| format!("GET / HTTP/1.1\r\nHOST\r\nHost: {host}\r\n\r\n"));
    refused(&stage, 400, said).await;
}

async fn bad_hosts(stage: Stage) {
    let hosts = [
        "",
        "app.example, x",
        "app.example x",
        "u@app.example",
        "app.example/x",
        "app.example:99999",
        "app.example:x",
        "app..example",
        "[::1",
        "\u{e9}",
        "http://app.example",
    ];
    let said = hosts.map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    refused(&stage, 400, said).await;
}

async fn spellings(stage: Stage) {
    for host in [
        "app.example",
        "APP.Example",
        "app.example.",
        "App.Example.:443",
        "app.example:",
    ] {
        let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(fields(&head, "host"), [host]);
    }
}

async fn absolute(stage: Stage) {
    for host in ["nobody.example", "app.example"] {
        let said = format!("GET http://app.example:80/x?y HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let head = arrives(&stage, said).await;
        assert!(head.starts_with("GET /x?y HTTP/1.1\r\n"), "{head}");
        assert_eq!(fields(&head, "host"), ["app.example:80"]);
    }
    let said = "GET http://nobody.example/ HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    assert_eq!(error(&stage.ask(said).await), (404, "unknown-host"));
}

async fn userinfo(stage: Stage) {
    let users = ["u@", "u:p@", "@"];
    let said = users.map(|user| format!("GET http://{user}app.example/ HTTP/1.1\r\nHOST\r\n\r\n"));
    refused(&stage, 400, said).await;
}

async fn empty_path(stage: Stage) {
    for method in ["GET", "OPTIONS"] {
        for (path, asked) in [("", "/"), ("?q", "/?q"), ("/", "/")] {
            let said = format!("{method} http://app.example{path} HTTP/1.1\r\nHOST\r\n\r\n");
            let head = arrives(&stage, said).await;
            assert!(head.starts_with(&format!("{method} {asked} ")), "{head}");
        }
    }
}

async fn no_target(stage: Stage) {
    let targets = [
        "x",
        "app.example",
        "app.example:80",
        "?x",
        "\\x",
        ":80",
        "http://",
        "http:///x",
    ];
    let said = targets.map(|target| format!("GET {target} HTTP/1.1\r\nHOST\r\n\r\n"));
    refused(&stage, 400, said).await;
}

async fn connect(stage: Stage) {
    let targets = ["app.example:80", "evil.example:443", "/", "*"];
    let said = targets.map(|target| format!("CONNECT {target} HTTP/1.1\r\nHOST\r\n\r\nbytes"));
    refused(&stage, 405, said).await;
}

async fn asterisk(stage: Stage) {
    refused(
        &stage,
        400,
        [
            "GET * HTTP/1.1\r\nHOST\r\n\r\n",
            "POST * HTTP/1.1\r\nHOST\r\n\r\n",
        ],
    )
    .await;
    let options = "OPTIONS * HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n";
    if stage.dialect == Dialect::MagicMirror {
        let answer = stage.ask(options).await;
        assert_eq!(error(&answer), (501, "target-not-carried"));
    } else {
        let head = arrives(&stage, options).await;
        assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
    }
}

async fn trace(stage: Stage) {
    refused(
        &stage,
        405,
        ["TRACE / HTTP/1.1\r\nHOST\r\nX-Secret: 1\r\n\r\n"],
    )
    .await;
}

async fn max_forwards(stage: Stage) {
    let options = |hops| {
        format!("OPTIONS / HTTP/1.1\r\nHOST\r\nMax-Forwards: {hops}\r\nConnection: close\r\n\r\n")
    };
    let head = arrives(&stage, options(5)).await;
    assert_eq!(fields(&head, "max-forwards"), ["4"]);
    let answer = stage.ask(options(0)).await;
    assert_eq!(error(&answer), (204, "max-forwards"));
    nothing_arrived(&stage).await;
    // Of other methods it is not read.
    let head = arrives(&stage, "GET / HTTP/1.1\r\nHOST\r\nMax-Forwards: 0\r\n\r\n").await;
    assert_eq!(fields(&head, "max-forwards"), ["0"]);
}

async fn methods(stage: Stage) {
    for method in ["PROPFIND", "QUERY", "M-SEARCH", "get", "~!#$%&'*+-.^_`|"] {
        let head = arrives(&stage, format!("{method} / HTTP/1.1\r\nHOST\r\n\r\n")).await;
        assert!(head.starts_with(&format!("{method} / ")), "{head}");
    }
}

async fn targets(stage: Stage) {
    for target in [
        "//",
        "/./",
        "/../x",
        "/%2e%2e/",
        "/%2F%2f",
        "/%00",
        "/;a=b",
        "/|",
        "/{}",
        "/[]",
        "/^",
        "/'",
        "/?",
        "/??",
        "/?a=%F0%9F",
        "/\u{fc}",
        "/?%zz",
        "/\"",
        "/?`",
    ] {
        let head = arrives(&stage, format!("GET {target} HTTP/1.1\r\nHOST\r\n\r\n")).await;
        let latin: String = target.bytes().map(char::from).collect();
        assert!(
            head.starts_with(&format!("GET {latin} HTTP/1.1\r\n")),
            "{head}"
        );
    }
    for target in ["/%", "/%zz", "/%a"] {
        let said = format!("GET {target} HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n");
        if stage.is_unary() {
            assert_eq!(error(&stage.ask(said).await), (400, "bad-escape"));
        } else {
            assert!(
                arrives(&stage, said)
                    .await
                    .starts_with(&format!("GET {target} "))
            );
        }
    }
}

async fn octets(stage: Stage) {
    let paths: [&[u8]; 8] = [
        b"/<", b"/>", b"/`", b"/\x7f", b"/\x80", b"/\xff", b"/?\"", b"/?<",
    ];
    let said = paths.map(|path| [b"GET ", path, b" HTTP/1.1\r\nHOST\r\n\r\n"].concat());
    refused(&stage, 400, said).await;
}

async fn fragment(stage: Stage) {
    for (target, asked) in [("/a#b", "/a"), ("/a?b#/c?d", "/a?b"), ("/#", "/")] {
        let head = arrives(&stage, format!("GET {target} HTTP/1.1\r\nHOST\r\n\r\n")).await;
        assert!(head.starts_with(&format!("GET {asked} ")), "{head}");
    }
}

async fn long_targets(stage: Stage) {
    let get = |length| {
        format!(
            "GET /{} HTTP/1.1\r\nHOST\r\nConnection: close\r\n\r\n",
            "a".repeat(length - 1)
        )
    };
    for length in [8000, 32_000] {
        let head = arrives(&stage, get(length)).await;
        assert_eq!(head.split(' ').nth(1).unwrap().len(), length);
    }
    refused(&stage, 414, [get(33_000), get(65_535)]).await;
}

async fn lines(stage: Stage) {
    let lines = [
        "GET  / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1.1 x",
        "GET /\0 HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
    ];
    refused(
        &stage,
        400,
        lines.map(|line| format!("{line}\r\nHOST\r\n\r\n")),
    )
    .await;
}

async fn empty_lines(stage: Stage) {
    for lines in ["\r\n", "\r\n\r\n", "\n"] {
        arrives(&stage, format!("{lines}GET / HTTP/1.1\r\nHOST\r\n\r\n")).await;
    }
}

async fn line_feeds(stage: Stage) {
    let said = "POST / HTTP/1.1\nHOST\nX: y\nContent-Length: 2\nConnection: close\n\nhi";
    let (visitor, mut local, head) = stage.call(said).await;
    assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
    assert_eq!(fields(&head, "x"), ["y"]);
    assert_eq!(local.exactly(2).await, b"hi");
    local.send(OK).await;
    assert_eq!(rest(visitor).await.text(), "hi");
}
