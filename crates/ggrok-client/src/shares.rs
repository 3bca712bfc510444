//! Links that let visitors in: made, listed and revoked at a relay, by its API.

use std::fmt;
use std::future::pending;

use bytes::Bytes;
use ggrok_protocol::{ERROR_HEADER, MirrorName, PathPrefix};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::connect::{AGENT, Dialler, PATIENCE};
use crate::reached::resolve;
use crate::{ConnectError, HostName, RelayAddress, Token, printable};

/// The links of an owner at a relay.
pub struct Shares {
    relay: RelayAddress,
    dialler: Dialler,
    token: Option<Token>,
}

/// What a new link opens.
#[derive(Clone, Debug, Default)]
pub struct NewShare {
    /// What is shared; by default the relay's own host.
    pub of: Shared,
    /// The path that it opens, with all below; everything where there is none.
    pub path: Option<PathPrefix>,
    /// Seconds until it ends.
    pub seconds: u64,
    /// How many visitors may come in by it; any number where there is none.
    pub uses: Option<usize>,
}

/// Whose visitors a link lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shared {
    /// Those of the relay's own host.
    #[default]
    OwnHost,
    /// Those of another host that points at the relay.
    Host(HostName),
    /// Those of a name's host in the relay's domain.
    Name(MirrorName),
}

/// A link.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Share {
    /// By which it is revoked.
    pub id: String,
    /// What visitors open. It holds the secret, so it is told when the link is made and never again.
    #[serde(
        default,
        rename(deserialize = "address"),
        skip_serializing_if = "Option::is_none"
    )]
    pub url: Option<String>,
    /// The host whose visitors it lets in.
    pub host: String,
    /// The path that it opens.
    pub path: String,
    /// When it ends, in UTC (RFC 3339).
    pub expires: String,
    /// How many visitors may come in by it.
    pub uses: Option<usize>,
    /// How many have come in, where that is counted.
    pub used: usize,
    /// Whether visitors come in without a link as well; not known while the client is away.
    pub open: Option<bool>,
}

/// Why the relay does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum SharesError {
    /// It cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It refuses.
    #[error("the relay refuses: {0}")]
    Refused(String),
    /// What answers knows no links: an old relay, or none.
    #[error("what answers is no relay that makes links (a newer ggrok-server does): {0}")]
    Unknown(String),
}

impl Shares {
    /// The links at a relay. Trusts the platform's certificate authorities and these.
    ///
    /// # Errors
    /// [`ConnectError::Roots`].
    pub fn new(
        relay: RelayAddress,
        token: Option<Token>,
        authorities: Vec<CertificateDer<'static>>,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            dialler: Dialler::new(relay.clone(), authorities)?,
            relay,
            token,
        })
    }

    /// Makes a link. Not cancel-safe: it may be made all the same.
    ///
    /// # Errors
    /// Every [`SharesError`].
    pub async fn make(&self, new: &NewShare) -> Result<Share, SharesError> {
        let asked = Asked::of(new);
        let body = serde_json::to_vec(&asked).map_err(|error| unknown(&error))?;
        let mut share: Share = read(&self.ask(Method::POST, PATH, body).await?)?;
        let url = share
            .url
            .as_deref()
            .and_then(|address| resolve(&self.relay, address));
        let Some(url) = url else {
            return Err(SharesError::Unknown(
                "it gives no address of the link".to_owned(),
            ));
        };
        share.url = Some(url);
        Ok(share)
    }

    /// All links of the owner that have not ended.
    ///
    /// # Errors
    /// Every [`SharesError`].
    pub async fn list(&self) -> Result<Vec<Share>, SharesError> {
        read(&self.ask(Method::GET, PATH, Vec::new()).await?)
    }

    /// Ends a link, and what visitors do by it at the moment.
    ///
    /// # Errors
    /// Every [`SharesError`].
    pub async fn revoke(&self, id: &str) -> Result<(), SharesError> {
        let path = format!("{PATH}/{id}");
        self.ask(Method::DELETE, &path, Vec::new()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Bytes, SharesError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.relay.authority())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json, text/plain;q=0.5");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let lost = |error: http::Error| self.dialler.lost(&error);
        let request = request.body(Full::from(body)).map_err(lost)?;
        let asking = timeout(PATIENCE, self.exchange(request)).await;
        let response =
            asking.map_err(|_| ConnectError::TimedOut(self.dialler.target().to_owned()))??;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        Err(refusal(&response))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ConnectError> {
        let stream = self.dialler.open().await?;
        let lost = |error: hyper::Error| self.dialler.lost(&error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let asking = async {
            let response = sender.send_request(request).await.map_err(lost)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await;
            let body = body.map_err(|error| self.dialler.lost(error.as_ref()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        let driving = async {
            // What goes wrong is the answer's to tell.
            connection.await.ok();
            pending().await
        };
        tokio::select! {
            answered = asking => answered,
            never = driving => never,
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares")
            .field("relay", &self.relay)
            .finish_non_exhaustive()
    }
}

/// Where the API has the links.
const PATH: &str = "/_ggrok/shares";

/// Bytes of an answer: a hundred links are some 30 KB.
const MOST_BYTES: usize = 1 << 20;

/// What the relay is asked for.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    uses: Option<usize>,
}

impl<'a> Asked<'a> {
    fn of(new: &'a NewShare) -> Self {
        let (host, name) = match &new.of {
            Shared::OwnHost => (None, None),
            Shared::Host(host) => (Some(host.to_string()), None),
            Shared::Name(name) => (None, Some(name.as_str())),
        };
        Self {
            host,
            name,
            path: new.path.as_ref().map(PathPrefix::as_str),
            seconds: new.seconds,
            uses: new.uses,
        }
    }
}

/// An answer that tells of an error.
#[derive(Deserialize)]
struct Told {
    message: String,
}

fn refusal(response: &Response<Bytes>) -> SharesError {
    let status = response.status();
    let code = response.headers().get(ERROR_HEADER);
    if code.is_none()
        || status == StatusCode::NOT_FOUND && code.is_some_and(|code| code == "unknown-page")
    {
        return SharesError::Unknown(format!("it answered {status}"));
    }
    let told: Option<Told> = serde_json::from_slice(response.body()).ok();
    let told = told.map_or_else(
        || status.to_string(),
        |told| format!("{status}: {}", told.message),
    );
    SharesError::Refused(printable(&told).into_owned())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, SharesError> {
    serde_json::from_slice(body).map_err(|error| unknown(&error))
}

fn unknown(error: &serde_json::Error) -> SharesError {
    SharesError::Unknown(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Share, SharesError, refusal};
    use bytes::Bytes;
    use http::Response;

    #[test]
    fn tells_a_refusal_from_what_is_no_such_relay() {
        let answer = |status: u16, code: Option<&str>| {
            let mut answer = Response::builder().status(status);
            if let Some(code) = code {
                answer = answer.header("x-ggrok-error", code);
            }
            let body = r#"{"error":"x","message":"no\u001bno"}"#;
            answer.body(Bytes::from_static(body.as_bytes())).unwrap()
        };
        let refused = refusal(&answer(409, Some("too-many-links"))).to_string();
        assert!(refused.contains("409 Conflict: no\u{fffd}no"), "{refused}");
        let host = refusal(&answer(404, Some("unknown-host")));
        assert!(matches!(host, SharesError::Refused(_)));
        for unknown in [
            answer(404, Some("unknown-page")),
            answer(404, None),
            answer(200, None),
        ] {
            assert!(matches!(refusal(&unknown), SharesError::Unknown(_)));
        }
    }

    #[test]
    fn reads_a_link_of_a_relay_that_says_more() {
        let json = r#"{"id":"1","host":"a","path":"/","expires":"x","uses":null,"used":0,"new":1}"#;
        let share: Share = serde_json::from_str(json).unwrap();
        assert_eq!((share.url, share.open), (None, None));
    }
}
