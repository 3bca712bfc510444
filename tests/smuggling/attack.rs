//! What a hostile visitor sends, and what has to become of it.

use super::strict::latin;

/// Bytes of a visitor.
#[derive(Clone, Debug)]
pub struct Attack {
    pub bytes: String,
    pub fate: Fate,
}

/// What becomes of an attack.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is answered with this status, and nothing of it arrives.
    Refused(u16),
    /// It arrives as these requests and no others.
    Carried(Vec<Arrival>),
    /// Its body is broken, or never whole: the request is cut, and what follows is lost.
    Cut,
}

/// A request that arrives: its method, what its target has behind the nonce, its body.
pub type Arrival = (&'static str, &'static str, String);

/// Stands for the number of the attack, which is as long.
pub const NONCE: &str = "NONCE";

/// A request that no reader may find, since it is in a body or behind a broken head.
pub const HIDDEN: &str = "GET /SMUGGLED/NONCE HTTP/1.1\r\nHost: app.example\r\n\r\n";

impl Attack {
    pub fn new(bytes: impl Into<String>, fate: Fate) -> Self {
        Self {
            bytes: bytes.into(),
            fate,
        }
    }

    /// A request with these fields and this body.
    pub fn request(line: &str, fields: &str, body: &str, fate: Fate) -> Self {
        let head = format!("{line} HTTP/1.1\r\nHost: app.example\r\n{fields}\r\n");
        Self::new(format!("{head}{body}"), fate)
    }

    /// A GET with these fields, and a request behind it that must not be found where the fields are
    /// refused.
    pub fn get(fields: &str, fate: Fate) -> Self {
        let behind = match fate {
            Fate::Refused(_) => HIDDEN,
            _ => "",
        };
        Self::request("GET /NONCE", fields, behind, fate)
    }

    /// A POST with these fields and this body.
    pub fn post(fields: &str, body: &str, fate: Fate) -> Self {
        Self::request("POST /NONCE", fields, body, fate)
    }

    /// The bytes, with their number and each character as one byte.
    pub fn bytes(&self, nonce: &str) -> Vec<u8> {
        assert_eq!(nonce.len(), NONCE.len(), "lengths are announced");
        let bytes = self.bytes.replace(NONCE, nonce);
        bytes.chars().map(|letter| letter as u8).collect()
    }

    /// The beginning, for whoever reads a failure.
    pub fn shown(&self) -> String {
        let bytes = self.bytes(NONCE);
        latin(&bytes[..bytes.len().min(300)])
            .escape_debug()
            .to_string()
    }
}

/// It arrives as one POST with this body.
pub fn posted(body: &str) -> Fate {
    Fate::Carried(vec![("POST", "", body.to_owned())])
}

/// It arrives as one GET.
pub fn gotten() -> Fate {
    Fate::Carried(vec![("GET", "", String::new())])
}
