//! What an HTTP answer in place of a WebSocket means.

use ggrok_protocol::{ERROR_HEADER, MIRROR_PATH};
use http::header::{CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::{Response, StatusCode};

use crate::{Claim, ConnectError, RelayAddress, printable};

/// An answer that came in place of a WebSocket. Of its body there is what came along with the head.
pub(super) type Answer = Response<Option<Vec<u8>>>;

/// What such an answer means to a client with this claim.
///
/// Where a host was asked for, what refuses may be something else than a relay, unless it says so or
/// wants a token. Whoever asks for a mirror named the very path, and is told what is said there.
pub(super) fn meaning(claim: &Claim, relay: &RelayAddress, answer: &Answer) -> ConnectError {
    let status = answer.status();
    let is_ours = answer.headers().contains_key(ERROR_HEADER);
    let is_mirror = matches!(claim, Claim::Mirror(_));
    let reason = match first_line(answer) {
        Some(line) if is_ours || is_mirror && is_text(answer) => format!("{status}: {line}"),
        _ => status.to_string(),
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return ConnectError::Unavailable { status, reason };
    }
    let refused = if is_ours {
        ConnectError::Refused
    } else {
        ConnectError::TurnedAway
    };
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => refused(reason),
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT if is_ours || is_mirror => refused(reason),
        StatusCode::NOT_FOUND if is_elsewhere(claim) => {
            let path = format!("a ggrok-server registers mirrors at {MIRROR_PATH}");
            answers(is_ours, format!("{reason} ({path})"))
        }
        _ if is_ours => answers(status.is_client_error(), reason),
        _ => answers(false, format!("{reason}{}", advice(relay, answer))),
    }
}

/// What else an answer says that is none of a relay's, and what to do.
fn advice(relay: &RelayAddress, answer: &Answer) -> String {
    let status = answer.status();
    if status.is_redirection()
        && let Some(location) = answer.headers().get(LOCATION)
    {
        let location = String::from_utf8_lossy(location.as_bytes());
        let location: String = printable(&location).chars().take(LINE).collect();
        return format!(
            ", to {location} (is that a login page of this network? Open it in a browser)"
        );
    }
    if status == StatusCode::OK {
        return " with a page (is that another server, or a login page of this network?)"
            .to_owned();
    }
    // Servers say so in plain HTTP, each in its own words.
    let body = answer.body().as_deref().unwrap_or_default();
    let says = |word: &str| body.windows(word.len()).any(|part| part == word.as_bytes());
    if status == StatusCode::BAD_REQUEST && (says("HTTPS") || says("SSL-enabled")) {
        return speaks_tls(relay);
    }
    String::new()
}

fn speaks_tls(relay: &RelayAddress) -> String {
    let authority = relay.authority();
    format!(" (it speaks TLS: give its address as wss://{authority})")
}

/// What a server is that answers so, which is no HTTP.
pub(super) fn not_http(relay: &RelayAddress, said: &[u8]) -> String {
    let target = relay.host_and_port();
    // A record of TLS: an alert (RFC 8446, section 5.1).
    if said.starts_with(&[0x15, 0x03]) {
        return format!("{target} is no HTTP server{}", speaks_tls(relay));
    }
    let said = String::from_utf8_lossy(said);
    let line = said.lines().next().unwrap_or_default();
    let line = printable(line);
    format!("{target} is no HTTP server (it answered \"{line}\")")
}

/// What is no answer to a registration: a relay's, or something else's.
fn answers(is_relay: bool, reason: String) -> ConnectError {
    if is_relay {
        ConnectError::NotRegistered(reason)
    } else {
        ConnectError::NoRelay(format!("it answered {reason}"))
    }
}

/// Whether a mirror was asked for at another path than the one of our relay's program.
fn is_elsewhere(claim: &Claim) -> bool {
    matches!(claim, Claim::Mirror(mirror) if mirror.path() != MIRROR_PATH)
}

fn is_text(answer: &Answer) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// The first line of the body, as it may be shown at a terminal; none where it is empty or in
/// chunks, which nobody has joined.
fn first_line(answer: &Answer) -> Option<String> {
    if answer.headers().contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let text = String::from_utf8_lossy(answer.body().as_deref()?);
    let line = printable(text.lines().next()?);
    let line: String = line.chars().take(LINE).collect();
    (!line.is_empty()).then_some(line)
}

/// Characters of a line that is shown: what a sentence takes, and not what floods a terminal.
const LINE: usize = 200;

#[cfg(test)]
mod tests {
    use super::{Answer, not_http};
    use crate::{Claim, ConnectError, Mirror, RelayAddress, RemoteAddress};
    use http::Response;

    fn answer(status: u16, field: (&str, &str), body: &str) -> Answer {
        let response = Response::builder().status(status).header(field.0, field.1);
        response.body(Some(body.as_bytes().to_vec())).unwrap()
    }

    fn meaning(claim: &Claim, answer: &Answer) -> ConnectError {
        super::meaning(claim, &relay(), answer)
    }

    fn relay() -> RelayAddress {
        "ws://a.example:81".parse().unwrap()
    }

    fn mirror() -> Claim {
        Claim::Mirror(Mirror::new("blog".parse().unwrap()))
    }

    fn meanings(claim: &Claim, field: (&str, &str)) -> Vec<String> {
        let statuses = [200, 400, 401, 403, 404, 409, 429, 503];
        let meaning = |status| meaning(claim, &answer(status, field, "no\r\nmore"));
        let debug = |status| format!("{:?}", meaning(status));
        statuses.map(debug).to_vec()
    }

    #[test]
    fn ends_for_a_refusal_of_our_relay() {
        let ours = ("x-ggrok-error", "taken");
        for claim in [Claim::Host, mirror()] {
            let meanings = meanings(&claim, ours);
            assert!(meanings[0].starts_with("NoRelay"), "{meanings:?}");
            for refusal in [1, 2, 3, 5] {
                let meaning = &meanings[refusal];
                assert!(meaning.starts_with("Refused") && meaning.contains(": no\""));
            }
            assert_eq!(meanings[4], "NotRegistered(\"404 Not Found: no\")");
            for unavailable in &meanings[6..] {
                assert!(unavailable.starts_with("Unavailable") && unavailable.contains(": no\""));
            }
        }
    }

    #[test]
    fn knows_a_relay_by_its_field_where_it_does_not_register() {
        for status in [404, 405, 410, 426] {
            let told = answer(status, ("x-ggrok-error", "not-a-websocket"), "no");
            let error = meaning(&Claim::Host, &told);
            assert!(matches!(error, ConnectError::NotRegistered(_)), "{error:?}");
            // It may be the relay that the client's own relay is reached through.
            assert!(error.is_final(false) && !error.is_final(true));
            assert!(error.to_string().ends_with(": no"), "{error}");
        }
    }

    #[test]
    fn tells_where_mirrors_register() {
        let remote: RemoteAddress = "wss://a.example/mirror?key=s3cret".parse().unwrap();
        let elsewhere = Claim::Mirror(remote.mirror("blog".parse().unwrap()));
        for (field, variant) in [
            ("x-ggrok-error", "NotRegistered"),
            ("content-type", "NoRelay"),
        ] {
            let told = |status| answer(status, (field, "text/plain"), "no");
            let error = meaning(&elsewhere, &told(404));
            assert!(format!("{error:?}").starts_with(variant), "{error:?}");
            assert!(error.to_string().contains("at /_ggrok/mirror"), "{error}");
            for error in [
                meaning(&elsewhere, &told(405)),
                meaning(&mirror(), &told(404)),
                meaning(&Claim::Host, &told(404)),
            ] {
                assert!(!error.to_string().contains("_ggrok"), "{error}");
            }
        }
    }

    #[test]
    fn shows_what_magic_mirrors_server_says() {
        let meanings = meanings(&mirror(), ("content-type", "text/plain; charset=utf-8"));
        assert_eq!(meanings[1], "TurnedAway(\"400 Bad Request: no\")");
        assert_eq!(meanings[4], "NoRelay(\"it answered 404 Not Found: no\")");
        assert!(meanings[6].contains("429 Too Many Requests: no"));
    }

    #[test]
    fn takes_other_words_than_a_relays_for_no_relay() {
        let meanings = meanings(&Claim::Host, ("content-type", "text/plain"));
        assert_eq!(meanings[1], "NoRelay(\"it answered 400 Bad Request\")");
        assert_eq!(meanings[2], "TurnedAway(\"401 Unauthorized\")");
        assert_eq!(meanings[4], "NoRelay(\"it answered 404 Not Found\")");
    }

    #[test]
    fn shows_no_more_than_a_printable_line() {
        let field = ("content-type", "text/plain");
        let body = format!("\u{1b}[31m{}\nsecond", "ü".repeat(500));
        let error = meaning(&mirror(), &answer(401, field, &body)).to_string();
        let line = error.rsplit(": ").next().unwrap();
        assert_eq!(line.chars().count(), 200);
        assert!(line.starts_with("\u{fffd}[31mü"), "{line}");

        for (field, body) in [
            (field, ""),
            (("content-type", "text/html"), "<html>"),
            (("transfer-encoding", "chunked"), "2\r\nno"),
        ] {
            let error = meaning(&mirror(), &answer(401, field, body)).to_string();
            assert!(error.ends_with("401 Unauthorized"), "{error}");
        }
    }

    #[test]
    fn names_the_page_that_a_network_or_another_server_shows() {
        for status in [301, 302, 303, 307, 308] {
            let field = ("location", "http://portal.example/login?a");
            let error = meaning(&Claim::Host, &answer(status, field, "")).to_string();
            assert!(error.contains("to http://portal.example/login"), "{error}");
            assert!(error.contains("login page"), "{error}");
        }
        let page = answer(200, ("content-type", "text/html"), "<html>");
        let error = meaning(&Claim::Host, &page).to_string();
        assert!(error.contains("200 OK with a page"), "{error}");
    }

    #[test]
    fn tells_a_server_that_speaks_tls() {
        for body in [
            "The plain HTTP request was sent to HTTPS port",
            "Client sent an HTTP request to an HTTPS server.",
            "You're speaking plain HTTP to an SSL-enabled server port.",
        ] {
            let told = answer(400, ("content-type", "text/html"), body);
            let error = meaning(&Claim::Host, &told).to_string();
            assert!(error.contains("wss://a.example:81"), "{error}");
        }
        let alert = not_http(&relay(), &[0x15, 3, 1, 0, 2, 2, 22]);
        assert!(alert.contains("wss://a.example:81"), "{alert}");
    }

    #[test]
    fn quotes_another_servers_greeting_without_control_characters() {
        let told = not_http(&relay(), b"SSH-2.0-Open\x1b[2JSSH\r\nmore");
        assert_eq!(
            told,
            "a.example:81 is no HTTP server (it answered \"SSH-2.0-Open\u{fffd}[2JSSH\")"
        );
    }
}
