//! The table of every answer that the relay itself gives.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use ggrok_protocol::{CallError, DecodeError, EncodeError, Refusal, ResetCode};
use http::header::{ALLOW, CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::Denied;
use crate::host::BadHost;
use crate::max_forwards::{self, METHODS};
use crate::place::Place;
use crate::registry::{Missing, NotInserted};

/// Why a request gets an answer of the relay's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error("the request names no valid host")]
    BadHost,
    #[error("the request target is of no form that a visitor may use")]
    BadTarget,
    #[error("the method is for no app behind a relay")]
    Method,
    #[error("the page does not have the method")]
    PageMethod,
    #[error("the request target is too long")]
    TargetTooLong,
    #[error("the request head is too large")]
    HeadTooLarge,
    #[error("no client ever registered for this host")]
    UnknownHost,
    #[error("the client of this host is not connected")]
    Offline,
    #[error("the owner has no mirror of this name")]
    UnknownMirror,
    #[error("the client of this mirror is not connected")]
    MirrorOffline,
    #[error("no such page of the relay")]
    UnknownPage,
    #[error("the client gave no token")]
    NoToken,
    #[error("the client gave a wrong token")]
    WrongToken,
    #[error("the address gave too many wrong tokens")]
    TooManyAttempts(Duration),
    #[error("the token does not allow this")]
    NotYours,
    #[error("another owner has this host")]
    Taken,
    #[error("the name is reserved in the relay's domain")]
    Reserved,
    #[error("the handshake's host is not known to be the relay's")]
    UnknownRelayHost,
    #[error("the registration has no valid name")]
    BadName,
    #[error("the relay has as much to do as it may")]
    Overloaded,
    #[error("the address has as many connections or calls as it may")]
    TooManyFromAddress,
    #[error("the relay stops")]
    Stopping,
    #[error("it cannot be found out whose the token is")]
    NoAnswer,
    #[error("the registration comes from a page in a browser")]
    FromPage,
    #[error("the transfer coding of the request body is not carried")]
    TransferCoding,
    #[error("the request expects what the relay does not know")]
    Expectation,
    #[error("the request has come through this relay before")]
    Loop,
    #[error("the request may take no further hop")]
    LastHop,
    #[error("the registration is no WebSocket handshake")]
    NotWebSocket,
    #[error("the relay has as many tunnels as it may")]
    TooManyTunnels,
    #[error("the client's rules are not understood")]
    BadRules,
    #[error("the rules keep the visitor's address out")]
    AddressNotAllowed,
    #[error("the rules keep visitors out of this path")]
    PathNotAllowed,
    #[error("the visitor gave no login")]
    LoginRequired,
    #[error("the visitor gave a wrong login")]
    WrongLogin,
    #[error("too many wrong logins")]
    TooManyLogins,
    #[error("the visitor has no link")]
    LinkRequired,
    #[error("the visitor's link is over, or was never made")]
    LinkOver,
    #[error("as many have used the visitor's link as may")]
    LinkUsedUp,
    #[error("the visitor's link is for another path")]
    OutsideLink,
    #[error("no link can be as it is asked for")]
    BadShare,
    #[error("the owner has no such link")]
    UnknownLink,
    #[error("there are as many links as there may be")]
    TooManyLinks,
    #[error("the relay cannot tell an owner from anybody else")]
    OpenRelay,
    #[error(transparent)]
    Call(#[from] CallError),
}

impl RelayError {
    /// The error of a place that has no tunnel.
    pub(crate) const fn missing(place: &Place, why: Missing) -> Self {
        match (place, why) {
            (Place::Host(_), Missing::Unknown) => Self::UnknownHost,
            (Place::Host(_), Missing::Offline) => Self::Offline,
            (Place::Mirror(..), Missing::Unknown) => Self::UnknownMirror,
            (Place::Mirror(..), Missing::Offline) => Self::MirrorOffline,
        }
    }

    /// Whether a registration failed before its client was known by a valid token.
    pub(crate) const fn is_of_stranger(&self) -> bool {
        matches!(
            self,
            Self::NoToken
                | Self::WrongToken
                | Self::TooManyAttempts(_)
                | Self::FromPage
                | Self::Stopping
        )
    }

    /// The answer that tells of the error, in the form that the request accepts.
    pub(crate) fn response(&self, accept: Option<&HeaderValue>) -> Response {
        if let Self::LastHop = self {
            return max_forwards::options();
        }
        let mut response = self.refusal().response(accept).map(Body::from);
        let headers = response.headers_mut();
        if let Self::Method = self {
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
        }
        match self {
            Self::NoToken | Self::WrongToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::LoginRequired | Self::WrongLogin => {
                let basic = HeaderValue::from_static(r#"Basic realm="ggrok", charset="UTF-8""#);
                headers.insert(WWW_AUTHENTICATE, basic);
            }
            // The place of such a connection is wanted.
            Self::Overloaded | Self::TooManyFromAddress => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Method
            | Self::PageMethod
            | Self::BadHost
            | Self::BadTarget
            | Self::TransferCoding => {
                // What such a peer sends next is not to be trusted to be a request.
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Call(CallError::BodyStalled) => {
                // RFC 9110, section 15.5.9: the rest of the body may still come.
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }

    /// The answer as it is written to a connection that is closed behind it.
    pub(crate) fn on_the_wire(&self) -> Vec<u8> {
        let response = self.refusal().response(None);
        let status = response.status();
        let mut wire = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in response.headers() {
            wire.extend_from_slice(name.as_str().as_bytes());
            wire.extend_from_slice(b": ");
            wire.extend_from_slice(value.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"connection: close\r\n\r\n");
        wire.extend_from_slice(response.body());
        wire
    }

    /// The status and the code of the answer.
    pub(crate) fn status_and_code(&self) -> (StatusCode, &'static str) {
        let refusal = self.refusal();
        (refusal.status, refusal.code)
    }

    #[rustfmt::skip]
    fn refusal(&self) -> Refusal {
        use StatusCode as S;
        let (status, code, text) = match self {
            Self::BadHost => (S::BAD_REQUEST, "bad-host",
                "The request must name one valid host in its Host field."),
            Self::BadTarget => (S::BAD_REQUEST, "bad-target",
                "The request target must be a path, or a URL with a path."),
            Self::Method | Self::PageMethod => (S::METHOD_NOT_ALLOWED, "method-not-allowed",
                "This method is not allowed here."),
            Self::TargetTooLong => (S::URI_TOO_LONG, "target-too-long",
                "The path and query of the request are too long."),
            Self::HeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large",
                "The header fields of the request are too large. Clearing the cookies of this site may help."),
            Self::UnknownHost => (S::NOT_FOUND, "unknown-host",
                "No ggrok client serves this host. If it is yours, start ggrok-client with this host as its server."),
            Self::Offline => (S::SERVICE_UNAVAILABLE, "offline",
                "The ggrok client of this host is not connected at the moment."),
            Self::UnknownMirror => (S::NOT_FOUND, "unknown-mirror",
                "You have no mirror of this name. GET the path of the mirrors lists those that are connected."),
            Self::MirrorOffline => (S::SERVICE_UNAVAILABLE, "mirror-offline",
                "The client of this mirror is not connected at the moment."),
            Self::UnknownPage => (S::NOT_FOUND, "unknown-page",
                "The relay has no such page."),
            Self::NoToken => (S::UNAUTHORIZED, "no-token",
                "This relay wants a token. Clients give it with --token or GGROK_TOKEN (magic-mirror: --apikey), programs in X-Ggrok-Token or as Authorization: Bearer."),
            Self::WrongToken => (S::UNAUTHORIZED, "wrong-token",
                "The token is not one of this relay, or is no longer valid."),
            Self::TooManyAttempts(_) => (S::TOO_MANY_REQUESTS, "too-many-attempts",
                "Too many wrong tokens came from this address. Wait a minute, and see which token is right."),
            Self::NotYours => (S::FORBIDDEN, "not-yours",
                "Your token does not allow this host or name. The relay's operator can allow it in the file of tokens."),
            Self::Taken => (S::CONFLICT, "taken",
                "This host belongs to another owner. Choose another host or name."),
            Self::Reserved => (S::CONFLICT, "reserved",
                "This name is reserved. The relay's operator can give it to you by its whole host in the file of tokens."),
            Self::UnknownRelayHost => (S::CONFLICT, "reserved",
                "The relay does not know the host by which you reach it. Use a host in its domain, or let the operator name this one with --own-host."),
            Self::BadName => (S::BAD_REQUEST, "bad-name",
                "A mirror registers with ?name=NAME, and a name has 1 to 63 of a-z, 0-9, '-', '.' and '_'."),
            Self::Overloaded => (S::SERVICE_UNAVAILABLE, "overloaded",
                "The relay has as many visitors as it can serve. Try again in a few seconds."),
            Self::TooManyFromAddress => (S::TOO_MANY_REQUESTS, "too-many-from-address",
                "Too many requests from your address are under way."),
            Self::Stopping => (S::SERVICE_UNAVAILABLE, "stopping",
                "The relay is about to stop. Another one may take its place."),
            Self::NoAnswer => (S::SERVICE_UNAVAILABLE, "no-answer",
                "The relay cannot find out whose the token is at the moment."),
            Self::FromPage => (S::FORBIDDEN, "from-a-page",
                "A page of another site in a browser cannot register as a client, nor reach a mirror."),
            Self::TransferCoding => (S::NOT_IMPLEMENTED, "transfer-coding",
                "The relay takes no transfer coding of a request body but chunked."),
            Self::Expectation => (S::EXPECTATION_FAILED, "unknown-expectation",
                "The relay meets no expectation but 100-continue."),
            Self::LastHop => (S::NO_CONTENT, max_forwards::CODE, ""),
            Self::Loop => (S::LOOP_DETECTED, "loop",
                "This request has come through this relay before. A ggrok client must forward to the app, and not to its own relay. Two relays in a row need different names: start one with --pseudonym."),
            Self::NotWebSocket => (S::UPGRADE_REQUIRED, "not-a-websocket",
                "ggrok-client registers here by a WebSocket handshake, and this is none. If ggrok-client sent it, a proxy in front of the relay must pass on its Upgrade and Connection fields."),
            Self::TooManyTunnels => (S::SERVICE_UNAVAILABLE, "too-many-tunnels",
                "This relay has as many clients as it takes."),
            Self::BadRules => (S::BAD_REQUEST, "bad-rules",
                "This relay does not understand the rules for visitors that the client gives, and so cannot keep them."),
            Self::AddressNotAllowed => (S::FORBIDDEN, "address-not-allowed",
                "Visitors from your address are not let in here."),
            Self::PathNotAllowed => (S::FORBIDDEN, "path-not-allowed",
                "This path is not open to visitors."),
            Self::LoginRequired => (S::UNAUTHORIZED, "login-required",
                "This page wants a user name and a password."),
            Self::WrongLogin => (S::UNAUTHORIZED, "wrong-login",
                "The user name or the password is wrong."),
            Self::TooManyLogins => (S::TOO_MANY_REQUESTS, "too-many-logins",
                "Too many wrong passwords came from your address. Try again in a minute."),
            Self::LinkRequired => (S::FORBIDDEN, "link-required",
                "This page is open to those with a link to it. Ask whoever showed it to you for one."),
            Self::LinkOver => (S::GONE, "link-over",
                "This link has ended, or was never valid. Ask whoever gave it to you for a new one."),
            Self::LinkUsedUp => (S::GONE, "link-used-up",
                "This link has been used as often as it may. Ask whoever gave it to you for a new one."),
            Self::OutsideLink => (S::FORBIDDEN, "outside-link",
                "Your link does not open this path."),
            Self::BadShare => (S::BAD_REQUEST, "bad-share",
                "A link takes JSON: seconds of 1 to 2592000, and where wanted a host or a name, a path like /checkout, and uses of 1 to 100."),
            Self::UnknownLink => (S::NOT_FOUND, "unknown-link",
                "You have no link of this id. GET the path of the links lists those that you have."),
            Self::TooManyLinks => (S::CONFLICT, "too-many-links",
                "There are as many links as this relay keeps. Revoke one, or wait for one to end."),
            Self::OpenRelay => (S::FORBIDDEN, "open-relay",
                "This relay lets in anybody, so it can tell nobody from the owner, who alone may do this. Its operator can give it a token."),
            Self::Call(error) => call(error),
        };
        let retry_after = match self {
            Self::TooManyAttempts(wait) => Some(seconds(*wait)),
            Self::Overloaded | Self::TooManyFromAddress => Some(RETRY_SOON_SECONDS),
            Self::TooManyLogins => Some(RETRY_LOGIN_SECONDS),
            _ => (status == S::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_SECONDS),
        };
        Refusal { retry_after, ..Refusal::new(status, code, text) }
    }
}

/// Calls come to their ends, and then there is room.
const RETRY_SOON_SECONDS: u32 = 1;

/// Whole seconds, of which the last may have begun.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// About the time in which a client that lost its relay is back.
const RETRY_AFTER_SECONDS: u32 = 5;

/// The time for which wrong passwords count.
const RETRY_LOGIN_SECONDS: u32 = 60;

#[rustfmt::skip]
const fn call(error: &CallError) -> (StatusCode, &'static str, &'static str) {
    use StatusCode as S;
    match error {
        CallError::Closed => (S::BAD_GATEWAY, "tunnel-closed",
            "The connection to the ggrok client broke before its answer came."),
        CallError::GoingAway => (S::SERVICE_UNAVAILABLE, "client-stopping",
            "The ggrok client of this host is about to stop."),
        CallError::TimedOut => (S::GATEWAY_TIMEOUT, "timed-out",
            "The app behind this address did not answer in time."),
        CallError::Reset(ResetCode::Broken)
        | CallError::Decode(DecodeError::BrokenOff) => (S::BAD_GATEWAY, "local-broken",
            "The app behind the ggrok client broke off before its response."),
        CallError::Reset(_) => (S::BAD_GATEWAY, "call-reset",
            "The ggrok client gave this request up without an answer."),
        CallError::TooManyCalls => (S::SERVICE_UNAVAILABLE, "too-many-calls",
            "Too many requests to this host are under way."),
        CallError::TooManyBytes => (S::SERVICE_UNAVAILABLE, "too-many-bytes",
            "The requests to this host that are under way are too large together."),
        CallError::RequestHeadTooLarge => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large",
            "The fields of the request are larger than this tunnel carries."),
        CallError::ResponseHeadTooLarge => (S::BAD_GATEWAY, "response-head-too-large",
            "The fields of the app's response are larger than this tunnel carries."),
        CallError::BodyTooLarge => (S::PAYLOAD_TOO_LARGE, "body-too-large",
            "The request body is larger than this tunnel carries."),
        CallError::AnswerTooLarge => (S::BAD_GATEWAY, "response-too-large",
            "The app's response is larger than this tunnel carries in one piece."),
        CallError::BodyStalled => (S::REQUEST_TIMEOUT, "body-stalled",
            "The request body stopped in the middle."),
        CallError::BodyBroken(_) => (S::BAD_REQUEST, "body-broken",
            "The request body is broken."),
        CallError::Encode(EncodeError::Upgrade) => (S::NOT_IMPLEMENTED, "upgrade-not-carried",
            "This tunnel carries no WebSockets or other upgrades."),
        CallError::Encode(EncodeError::BodyNotText) => (S::NOT_IMPLEMENTED, "body-not-text",
            "This tunnel carries no binary request bodies: the body must be UTF-8."),
        CallError::Encode(EncodeError::FieldNotText(_)) => (S::NOT_IMPLEMENTED, "field-not-text",
            "This tunnel carries no header fields that are not UTF-8."),
        CallError::Encode(EncodeError::Escape) => (S::BAD_REQUEST, "bad-escape",
            "The path of the request has a broken percent escape."),
        CallError::Encode(EncodeError::Asterisk) => (S::NOT_IMPLEMENTED, "target-not-carried",
            "This tunnel carries no requests about the server as a whole."),
        CallError::Decode(_) => (S::BAD_GATEWAY, "bad-answer",
            "The ggrok client sent an answer that is no valid response."),
    }
}

impl From<BadHost> for RelayError {
    fn from(BadHost: BadHost) -> Self {
        Self::BadHost
    }
}

impl From<Denied> for RelayError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => Self::NoToken,
            Denied::WrongToken => Self::WrongToken,
            Denied::Forbidden => Self::NotYours,
            Denied::Unavailable => Self::NoAnswer,
        }
    }
}

impl From<NotInserted> for RelayError {
    fn from(why: NotInserted) -> Self {
        match why {
            NotInserted::Full => Self::TooManyTunnels,
            NotInserted::Taken => Self::Taken,
            NotInserted::Stopping => Self::Stopping,
        }
    }
}
