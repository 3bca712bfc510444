//! Targets and fields arrive byte for byte, and fields of one name in their order, in every dialect.

mod field_lists;
mod targets;

use std::collections::BTreeMap;
use std::sync::Arc;

use ggrok_protocol::Dialect;

use crate::support::{
    Client, DIALECTS, Origin, Relay, Seen, Wire, example, fields, hosted, tenant,
};
use field_lists::{Field, field_lists};

/// A local server that answers with the head that it saw, and with the fields of the list whose
/// number is the request's target.
async fn echo(lists: Arc<Vec<Vec<Field>>>) -> Origin {
    Origin::start(move |seen: &Seen| {
        let number = seen.target().strip_prefix("/list/");
        let list = number.map_or(&[][..], |number| &lists[number.parse::<usize>().unwrap()]);
        let body: Vec<u8> = seen.head.chars().map(|byte| byte as u8).collect();
        let start = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
        [start.as_bytes(), &lines(list), b"\r\n", &body].concat()
    })
    .await
}

/// The lines of fields.
fn lines(list: &[Field]) -> Vec<u8> {
    let line = |(name, value): &Field| [name.as_bytes(), b": ", value, b"\r\n"].concat();
    list.iter().flat_map(line).collect()
}

/// What stands before the local server of a scenario, and one visitor's connection.
struct Way {
    _relay: Relay,
    _client: Client,
    visitor: Wire,
}

impl Way {
    async fn to(origin: &Origin, dialect: Dialect) -> Self {
        let relay = example(|_| {}).await;
        let client = Client::ready(tenant(&relay, origin.address, dialect, "app")).await;
        Self {
            visitor: Wire::connect(relay.address).await,
            _relay: relay,
            _client: client,
        }
    }

    /// Sends a request, and returns the head and the body of the answer, each byte as one character.
    async fn ask(&mut self, target: &[u8], list: &[Field]) -> (String, String) {
        let start = [b"GET ", target, b" HTTP/1.1\r\nHOST\r\n"].concat();
        let request = [&hosted(start)[..], &lines(list), b"\r\n"].concat();
        self.visitor.send(request).await;
        let head = self.visitor.head().await;
        let length = fields(&head, "content-length")[0].parse().unwrap();
        let body = self.visitor.exactly(length).await;
        (head, latin(&body))
    }
}

/// Bytes as characters.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

#[tokio::test]
async fn targets_arrive_byte_for_byte() {
    let targets = targets::carried();
    assert!(targets.len() >= 200, "{}", targets.len());
    let origin = echo(Arc::default()).await;
    for dialect in DIALECTS {
        let mut way = Way::to(&origin, dialect).await;
        for target in &targets {
            let (head, body) = way.ask(target, &[]).await;
            let shown = latin(target);
            // Go's URL parser reads no such path, and the originals' clients end over it.
            if dialect != Dialect::V2 && targets::has_broken_escape(target) {
                let error = fields(&head, "x-ggrok-error");
                assert_eq!(error, ["bad-escape"], "{dialect}: {shown}");
                continue;
            }
            let line = format!("GET {shown} HTTP/1.1");
            assert_eq!(body.lines().next(), Some(&*line), "{dialect}: {head}");
        }
    }
}

/// The HTTP library refuses these by itself, since no URI has them.
#[tokio::test]
async fn octets_that_no_target_has_are_refused() {
    let refused = targets::refused();
    let origin = echo(Arc::default()).await;
    for dialect in DIALECTS {
        let Way {
            _relay: relay,
            _client,
            ..
        } = Way::to(&origin, dialect).await;
        for target in &refused {
            let request = [b"GET ", &target[..], b" HTTP/1.1\r\nHOST\r\n\r\n"].concat();
            let mut visitor = Wire::connect(relay.address).await;
            visitor.send(hosted(request)).await;
            let answer = latin(&visitor.rest().await);
            let shown = latin(target);
            assert!(answer.starts_with("HTTP/1.1 400 "), "{shown:?}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{shown:?}: {answer}");
        }
    }
    assert_eq!(origin.seen().len(), 0);
}

#[tokio::test]
async fn fields_arrive_byte_for_byte_and_in_order_both_ways() {
    let lists = Arc::new(field_lists());
    assert!(lists.len() >= 200, "{}", lists.len());
    let origin = echo(Arc::clone(&lists)).await;
    for dialect in DIALECTS {
        let mut way = Way::to(&origin, dialect).await;
        for (number, list) in lists.iter().enumerate() {
            // Their envelopes are JSON.
            let is_text = |(_, value): &Field| str::from_utf8(value).is_ok();
            let carried = dialect == Dialect::V2 || list.iter().all(is_text);

            let (head, body) = way.ask(b"/", list).await;
            if carried {
                // The relay drops the names that CGI reads as others.
                let passes = |(name, _): &&Field| !name.contains('_') || name == "_";
                let told: Vec<Field> = list.iter().filter(passes).cloned().collect();
                compare(&told, &body);
            } else {
                assert_eq!(fields(&head, "x-ggrok-error"), ["field-not-text"]);
            }
            let (head, _) = way.ask(format!("/list/{number}").as_bytes(), &[]).await;
            if carried {
                compare(list, &head);
            } else {
                assert_eq!(fields(&head, "x-ggrok-error"), ["response-field-not-text"]);
            }
        }
    }
}

/// Compares the values of each name of a list with those in a head: all, as they were, in order.
/// The names are in lower case there.
fn compare(list: &[Field], head: &str) {
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in list {
        let values = sent.entry(name.to_ascii_lowercase()).or_default();
        values.push(latin(value));
    }
    let mut got: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(": ").unwrap_or_default();
        if sent.contains_key(name) {
            got.entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    assert_eq!(got, sent, "{head}");
}

#[tokio::test]
async fn white_space_around_a_value_is_no_part_of_it() {
    let origin = echo(Arc::default()).await;
    for dialect in DIALECTS {
        let mut way = Way::to(&origin, dialect).await;
        for value in ["a", " a", "\ta", "a ", "a\t", " \t a \t "] {
            let list = [("X-Padded".to_owned(), value.as_bytes().to_vec())];
            let (_, body) = way.ask(b"/", &list).await;
            assert!(body.contains("\r\nx-padded: a\r\n"), "{value:?}: {body}");
        }
    }
}
