//! Cases 80 to 83.

use super::play::{GET, arrives, nothing_arrived};
use super::{Case, case};
use crate::support::{Stage, fields};

#[rustfmt::skip]
pub(super) fn cases() -> Vec<Case> {
    vec![
        case(80, "9110, 7.6.3", "Via names each hop; a request that comes back to its relay is refused: 508", via),
        case(81, "7239, 4", "X-Forwarded-* and Forwarded say what was seen by hops that are trusted, and nothing else", forwarded),
        case(82, "9110, 5.1", "X-Request-ID is the visitor's where it is sane, and else a new one", request_id),
        case(83, "9110, 11.7", "credentials for a proxy reach no app", proxy_credentials),
    ]
}

async fn via(stage: Stage) {
    let head = arrives(&stage, GET).await;
    let ours = fields(&head, "via").join(", ");
    let own = ours
        .strip_prefix("1.1 ")
        .unwrap_or_else(|| panic!("no Via in {head}"));
    let get =
        |via: &str| format!("GET / HTTP/1.1\r\nHOST\r\nVia: {via}\r\nConnection: close\r\n\r\n");
    let head = arrives(&stage, get("1.0 other, 1.1 another (x)")).await;
    let all = fields(&head, "via").join(", ");
    assert_eq!(all, format!("1.0 other, 1.1 another (x), 1.1 {own}"));
    for back in [
        ours.clone(),
        format!("1.0 other, {ours}"),
        format!("{ours}, 1.1 other"),
    ] {
        let answer = stage.ask(get(&back)).await;
        assert_eq!(answer.status(), 508, "{}", answer.head);
    }
    nothing_arrived(&stage).await;
}

const CLAIMS: &str = "X-Forwarded-For: 10.0.0.1, 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: other.example\r\nX-Forwarded-Port: 444\r\nForwarded: for=10.0.0.1;host=other.example\r\nX_Forwarded_For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nX-Forwarded-Prefix: /other.example\r\nX-Forwarded-Ssl: on\r\n";

async fn forwarded(stage: Stage) {
    let get = format!("GET / HTTP/1.1\r\nHOST\r\n{CLAIMS}\r\n");
    let told = |head: &str| {
        let names = ["for", "proto", "host", "port"];
        names.map(|name| fields(head, &format!("x-forwarded-{name}")).join("|"))
    };
    let head = arrives(&stage, &get).await;
    assert_eq!(told(&head), ["127.0.0.1", "http", "app.example", "80"]);
    assert!(
        !head.contains("10.0.0.1") && !head.contains("other.example"),
        "{head}"
    );
    assert!(fields(&head, "x-forwarded-ssl").is_empty(), "{head}");
    assert!(
        fields(&head, "forwarded")[0].contains("for=127.0.0.1"),
        "{head}"
    );
    let stage = Stage::with(stage.dialect, |config| config.trusted_hops = 1).await;
    let head = arrives(&stage, &get).await;
    assert_eq!(told(&head), ["203.0.113.9", "https", "app.example", "444"]);
    let six = get.replace("203.0.113.9", "2001:db8::1");
    let head = arrives(&stage, &six).await;
    assert_eq!(told(&head)[0], "2001:db8::1");
    let quoted = fields(&head, "forwarded")[0].to_ascii_lowercase();
    assert!(quoted.contains("for=\"[2001:db8::1]\""), "{head}");
}

async fn request_id(stage: Stage) {
    let get = |field: &str| format!("GET / HTTP/1.1\r\nHOST\r\n{field}\r\n");
    let head = arrives(&stage, get("X-Request-ID: abc-123\r\n")).await;
    assert_eq!(fields(&head, "x-request-id"), ["abc-123"]);
    let mut made = Vec::new();
    let long = format!("X-Request-ID: {}\r\n", "a".repeat(300));
    for field in [
        "",
        "",
        "X-Request-ID: a b\r\n",
        &long,
        "X-Request-ID: a\r\nX-Request-ID: b\r\n",
    ] {
        let head = arrives(&stage, get(field)).await;
        let ids = fields(&head, "x-request-id");
        assert!(
            ids.len() == 1 && ids[0].len() >= 16 && ids[0].len() <= 200,
            "{head}"
        );
        made.push(ids[0].to_owned());
    }
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 5, "each has its own: {made:?}");
}

async fn proxy_credentials(stage: Stage) {
    let lines =
        "Proxy-Authorization: Basic eDp5\r\nAuthorization: Bearer theirs\r\nCookie: theirs=1\r\n";
    let head = arrives(&stage, format!("GET / HTTP/1.1\r\nHOST\r\n{lines}\r\n")).await;
    assert!(fields(&head, "proxy-authorization").is_empty(), "{head}");
    // The app's own pass.
    let values = ["authorization", "cookie"].map(|name| fields(&head, name).join("|"));
    assert_eq!(values, ["Bearer theirs", "theirs=1"]);
}
