//! What an HTTP answer in place of a WebSocket means.

use ggrok_protocol::{ERROR_HEADER, MIRROR_PATH};
use http::header::{CONTENT_TYPE, TRANSFER_ENCODING};
use http::{Response, StatusCode};

use crate::{Claim, ConnectError, printable};

/// An answer that came in place of a WebSocket. Of its body there is what came along with the head.
pub(super) type Answer = Response<Option<Vec<u8>>>;

/// What such an answer means to a client with this claim.
///
/// Where a host was asked for, what refuses may be something else than a relay, unless it says so or
/// wants a token. Whoever asks for a mirror named the very path, and is told what is said there.
pub(super) fn meaning(claim: &Claim, answer: &Answer) -> ConnectError {
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
        _ => answers(is_ours && status.is_client_error(), reason),
    }
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
    use super::{Answer, meaning};
    use crate::{Claim, ConnectError, Mirror, RemoteAddress};
    use http::Response;

    fn answer(status: u16, field: (&str, &str), body: &str) -> Answer {
        let response = Response::builder().status(status).header(field.0, field.1);
        response.body(Some(body.as_bytes().to_vec())).unwrap()
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
}
