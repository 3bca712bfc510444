//! The ledger: what visitor, relay, client and local server saw of each request, and the judge.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// How a request ended for its visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With the whole answer that is its own.
    Whole,
    /// With an answer of ggrok's own that says what is wrong.
    Refused(u16, String),
    /// With a connection that broke off, so that the visitor sees that something is missing.
    Broken,
    /// No connection, since no relay listens.
    NoRelay,
    /// What must never be, in words.
    Wrong(String),
}

/// What is known of one request.
#[derive(Clone, Debug, Default)]
struct Entry {
    is_post: bool,
    visitor: Option<Ending>,
    /// How often it arrived at the local server.
    arrivals: usize,
    /// How often the logs of relay and client have it as answered.
    relay: usize,
    client: usize,
}

/// The ledger of one check. Clones share it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    entries: HashMap<u64, Entry>,
    last: u64,
    /// What was wrong beside any request of ours.
    strange: Vec<String>,
}

impl Ledger {
    /// Opens an entry, and returns its id.
    pub fn open(&self, is_post: bool) -> u64 {
        let mut book = self.0.lock().unwrap();
        book.last += 1;
        let (id, entry) = (
            book.last,
            Entry {
                is_post,
                ..Entry::default()
            },
        );
        book.entries.insert(id, entry);
        id
    }

    /// A request arrived at the local server.
    pub fn arrived(&self, id: u64) {
        let mut book = self.0.lock().unwrap();
        match book.entries.get_mut(&id) {
            Some(entry) => entry.arrivals += 1,
            None => book.strange.push(format!("nobody sent request {id}")),
        }
    }

    /// The local server saw what nobody sent.
    pub fn strange(&self, what: String) {
        self.0.lock().unwrap().strange.push(what);
    }

    /// A request ended for its visitor.
    pub fn ended(&self, id: u64, ending: Ending) {
        let mut book = self.0.lock().unwrap();
        if let Some(entry) = book.entries.get_mut(&id) {
            entry.visitor = Some(ending);
        }
    }

    /// Reads which requests a relay's log has as answered.
    pub fn read_relay_log(&self, log: &str) {
        self.read(log, |entry| &mut entry.relay);
    }

    /// Reads which requests a client's log has as answered.
    pub fn read_client_log(&self, log: &str) {
        self.read(log, |entry| &mut entry.client);
    }

    fn read(&self, log: &str, at: impl Fn(&mut Entry) -> &mut usize) {
        let mut book = self.0.lock().unwrap();
        for line in log.lines().filter(|line| line.contains("answered a call")) {
            let named = line.split("torture-").nth(1).unwrap_or_default();
            let digits = named.split(|letter: char| !letter.is_ascii_digit()).next();
            let id: Option<u64> = digits.and_then(|digits| digits.parse().ok());
            if let Some(entry) = id.and_then(|id| book.entries.get_mut(&id)) {
                *at(entry) += 1;
            }
        }
    }

    /// How many requests ended so.
    pub fn count(&self, is: impl Fn(&Ending) -> bool) -> usize {
        let book = self.0.lock().unwrap();
        let endings = book.entries.values();
        let endings = endings.filter_map(|entry| entry.visitor.as_ref());
        endings.filter(|ending| is(ending)).count()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().entries.len()
    }

    /// How they ended, for a person.
    pub fn summary(&self) -> String {
        let whole = self.count(|ending| *ending == Ending::Whole);
        let refused = self.count(|ending| matches!(ending, Ending::Refused(..)));
        let broken = self.count(|ending| *ending == Ending::Broken);
        let without = self.count(|ending| *ending == Ending::NoRelay);
        let all = self.len();
        let (relay, client) = {
            let book = self.0.lock().unwrap();
            let sum = |count: fn(&Entry) -> usize| book.entries.values().map(count).sum::<usize>();
            (sum(|entry| entry.relay), sum(|entry| entry.client))
        };
        format!(
            "{all} requests: {whole} whole, {refused} refused, {broken} broken, {without} without a \
             relay; answered by the logs of relay {relay}, client {client}"
        )
    }

    /// All that must not be: a request without an end or with a wrong one, crossed, clean-looking and
    /// damaged, or a POST that arrived or was answered twice.
    pub fn violations(&self) -> Vec<String> {
        let book = self.0.lock().unwrap();
        let mut violations = book.strange.clone();
        for (id, entry) in &book.entries {
            let wrong = match &entry.visitor {
                None => Some("it never ended".to_owned()),
                Some(Ending::Wrong(why)) => Some(why.clone()),
                Some(_) => None,
            };
            let twice =
                entry.is_post && (entry.arrivals > 1 || entry.relay > 1 || entry.client > 1);
            let wrong = wrong.or_else(|| twice.then(|| "a POST was made twice".to_owned()));
            let unseen = entry.visitor == Some(Ending::Whole) && entry.arrivals == 0;
            let wrong = wrong.or_else(|| unseen.then(|| "an answer from nowhere".to_owned()));
            if let Some(wrong) = wrong {
                violations.push(format!("request {id}: {wrong}: {entry:?}"));
            }
        }
        for violation in violations.iter().take(5) {
            eprintln!("  {violation}");
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, Ledger};

    #[test]
    fn finds_what_must_not_be() {
        let ledger = Ledger::default();
        let [fine, twice, endless, crossed, nowhere] = [(); 5].map(|()| ledger.open(true));
        for id in [fine, twice, twice, endless, crossed] {
            ledger.arrived(id);
        }
        for id in [fine, twice, nowhere] {
            ledger.ended(id, Ending::Whole);
        }
        ledger.ended(crossed, Ending::Wrong("crossed".to_owned()));
        assert_eq!(ledger.violations().len(), 4);
        assert_eq!(ledger.count(|ending| *ending == Ending::Whole), 3);
        ledger.arrived(99);
        assert_eq!(ledger.violations().len(), 5);
    }

    #[test]
    fn reads_of_logs_what_was_answered_twice() {
        let ledger = Ledger::default();
        let id = ledger.open(true);
        ledger.arrived(id);
        ledger.ended(id, Ending::Whole);
        let line = format!("DEBUG call{{id=torture-{id} method=POST}}: answered a call\n");
        ledger.read_client_log(&line);
        assert_eq!(ledger.violations(), [""; 0]);
        ledger.read_client_log(&line);
        assert_eq!(ledger.violations().len(), 1);
    }
}
