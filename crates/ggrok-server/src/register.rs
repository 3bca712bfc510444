//! A client's WebSocket: let in, registered, kept until it ends.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::TryStreamExt;
use ggrok_protocol::{
    ADDRESS_HEADER, CALLS_HEADER, Ending, MIRROR_PATH, OnWake, REGISTER_PATH, RULES_HEADER, Rules,
    Session, Transport, open,
};
use http::HeaderMap;
use http::header::{ACCEPT, HeaderValue, ORIGIN};
use http::request::Parts;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::Tunnel;
use crate::app::{App, Observer};
use crate::claim::Claim;
use crate::error::RelayError;
use crate::event::Event;
use crate::gate::Door;
use crate::handshake::{Handshake, Opening};
use crate::log_limit::{LogLimits, log_within};
use crate::metrics::{Desk, During};
use crate::own_hosts::Contact;
use crate::registry::{NotInserted, Registration, Registry};
use crate::seen::Seen;
use crate::tunnel::Registered;
use crate::visitor::peer;

/// Whether clients register at a path of the relay's own pages.
pub(crate) fn is_path(path: &str) -> bool {
    path == REGISTER_PATH || path == MIRROR_PATH
}

/// Answers the handshake of a client that wants to serve a host.
pub(crate) async fn host(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, Claim::of_host).await
}

/// Answers the handshake of a client that wants to be a mirror.
pub(crate) async fn mirror(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(&app, request, Claim::of_mirror).await
}

async fn answer(
    app: &Arc<App>,
    mut request: Request,
    claim: impl Fn(&App, &Parts) -> Result<Claim, RelayError>,
) -> Response {
    let handshake = Handshake::of(&mut request);
    let (mut head, _) = request.into_parts();
    let accept = head.headers.get(ACCEPT).cloned();
    admit(app, &mut head, handshake, claim)
        .await
        .unwrap_or_else(|error| {
            let peer = peer(&head.extensions).map(tracing::field::display);
            let path = head.uri.path();
            if error.is_of_stranger() {
                log_within!(app.log.strangers, warn, path, peer, %error, "refused a client");
            } else {
                log_within!(app.log.owners, warn, path, peer, %error, "refused a client");
            }
            app.refuse(Desk::Registration, &error, accept.as_ref())
        })
}

/// Calls that the client says it takes at a time; as many as you like where it says nothing.
fn most_calls(fields: &HeaderMap) -> usize {
    let told = fields.get(CALLS_HEADER).and_then(|told| told.to_str().ok());
    let told = told.and_then(|told| told.parse().ok());
    told.unwrap_or(usize::MAX).max(1)
}

/// Registers a client that may have what it asks for, before its handshake is answered where nobody
/// has that: then a refusal is an HTTP answer, and whoever the client tells of its address finds it
/// there. Where somebody has it, only a client whose handshake is complete takes it over.
async fn admit(
    app: &Arc<App>,
    head: &mut Parts,
    handshake: Option<Handshake>,
    claim: impl Fn(&App, &Parts) -> Result<Claim, RelayError>,
) -> Result<Response, RelayError> {
    if app.stop.is_cancelled() {
        return Err(RelayError::Stopping);
    }
    // A page in somebody's browser must not become a client of a relay that this browser reaches.
    if head.headers.contains_key(ORIGIN) {
        return Err(RelayError::FromPage);
    }
    let grant = app.authenticate(&app.config.access, head).await?;
    let claim = claim(app, head)?;
    claim.check(app, &grant, head)?;
    let (rules, receipt) = rules(head)?;
    let mut handshake = handshake.ok_or(RelayError::NotWebSocket)?;
    let dialect = handshake.choose(head, claim.original());
    let (line, session) = open(dialect, app.config.limits);
    let address = claim.address(&head.extensions);
    let registered = Registered {
        places: claim.places(grant.owner()),
        grant,
        dialect,
        peer: peer(&head.extensions).map(|peer| peer.address()),
        since: SystemTime::now(),
        seen: Seen::now(),
        most_calls: app.config.limits.calls.min(most_calls(&head.headers)),
        account: app.memory.account(),
        door: rules.map(|rules| Arc::new(Door::new(rules))),
    };
    app.registry.check(&registered.places, &registered.grant)?;
    let granted = registered.grant.clone();
    let seat = Seat::of(Tunnel::new(line, registered), &app.registry)?;
    app.note_own_host(head, &granted, Contact::Registration);
    let Handshake {
        mut answer,
        opening,
    } = handshake;
    keep(app, opening, seat, session);
    if let Some(address) = address {
        answer.headers_mut().insert(ADDRESS_HEADER, address);
    }
    if let Some(receipt) = receipt {
        answer.headers_mut().insert(RULES_HEADER, receipt);
    }
    Ok(answer)
}

/// The rules that a client gives, and the receipt by which it knows that they are kept. Rules that are
/// not understood are refused, since without them a visitor might come in whom they keep out.
fn rules(head: &Parts) -> Result<(Option<Rules>, Option<HeaderValue>), RelayError> {
    let mut fields = head.headers.get_all(RULES_HEADER).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok((None, None)),
        (Some(field), None) => {
            let rules = Rules::of_field(field).map_err(|_| RelayError::BadRules)?;
            Ok((Some(rules), Some(Rules::receipt(field))))
        }
        (Some(_), Some(_)) => Err(RelayError::BadRules),
    }
}

/// Keeps a tunnel from the answer of its handshake on.
fn keep(app: &Arc<App>, opening: Opening, seat: Seat, session: Session) {
    let tunnel = seat.tunnel.clone();
    let Registered {
        places,
        dialect,
        peer,
        seen,
        ..
    } = tunnel.registered();
    let place = places.first().map(tracing::field::display);
    let peer = peer.map(tracing::field::display);
    let span = tracing::info_span!("tunnel", place, %dialect, peer);
    let longest = app.config.limits.response_message(*dialect);
    let seen = seen.clone();
    // Not the app itself, which ends when its last user drops it: these outlive that for a moment.
    let (observer, registry) = (Arc::clone(&app.observer), app.registry.clone());
    let log = Arc::clone(&app.log);
    let (owned, stop) = (app.tunnels.token(), app.stop.clone());
    let metrics = app.config.metrics.clone();
    let message_limit = session.message_limit();
    let keeping = async move {
        let socket = match opening.wait(longest).await {
            Ok(mut socket) => {
                socket.limit_messages(message_limit);
                socket.inspect_ok(move |_| seen.note())
            }
            Err(error) => {
                tracing::debug!(%error, "a client left during its handshake");
                return;
            }
        };
        let presence = match seat.take(&registry) {
            Ok(registration) => {
                log_within!(log.registered, info, "a client registered");
                let counted = metrics.tunnel(tunnel.dialect());
                observer(Event::Connected(tunnel.clone()));
                Some(Presence {
                    tunnel: tunnel.clone(),
                    observer,
                    registration: Some(registration),
                    _counted: counted,
                })
            }
            // Others were faster, after this one had been let in.
            Err(why) => {
                tunnel.end(why.ending());
                None
            }
        };
        run(session, socket, &tunnel, presence, &stop, &log).await;
        drop(owned);
    };
    tokio::spawn(keeping.instrument(span));
}

/// Runs a session until it ends, or its grant, or the relay, or the last call of a client that says that
/// it will stop. `presence` ends with the session, or when the client says so.
async fn run(
    session: Session,
    socket: impl Transport,
    tunnel: &Tunnel,
    mut presence: Option<Presence>,
    stop: &CancellationToken,
    log: &LogLimits,
) {
    let leaving = async {
        tunnel.going_away().await;
        log_within!(log.leaving, info, "a client will stop");
        drop(presence.take());
        timeout(LEAVING, tunnel.finished()).await.ok();
    };
    let closing = pin!(async {
        let why = tokio::select! {
            () = tunnel.grant().ended() => Ending::Revoked,
            () = stop.cancelled() => Ending::GoingAway,
            () = leaving => Ending::Done,
        };
        tunnel.end(why);
        std::future::pending().await
    });
    let closing = OnWake::new(closing);
    let ended = tokio::select! {
        ended = session.run(socket) => ended,
        never = closing => never,
    };
    match ended {
        Ok(ending) => log_within!(log.left, info, reason = ending.reason(), "a client left"),
        Err(error) => log_within!(log.lost, warn, %error, "a client was lost"),
    }
}

/// How long the calls of a client that will stop may take. It is no longer counted as a tunnel: what
/// bounds these is that each has a call, of which there are so many at a time.
const LEAVING: Duration = Duration::from_secs(60);

/// What a tunnel is to others: registered, counted, told of. Dropping it takes that back.
struct Presence {
    tunnel: Tunnel,
    observer: Observer,
    registration: Option<Registration>,
    _counted: During,
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Whoever hears that the tunnel is gone finds it gone.
        self.registration = None;
        (self.observer)(Event::Disconnected(self.tunnel.clone()));
    }
}

/// A tunnel that has its places already, or waits for its handshake to take them over.
struct Seat {
    tunnel: Tunnel,
    taken: Option<Registration>,
}

impl Seat {
    fn of(tunnel: Tunnel, registry: &Registry) -> Result<Self, RelayError> {
        let taken = if registry.has_any(tunnel.places()) {
            None
        } else {
            Some(registry.insert(&tunnel)?)
        };
        Ok(Self { tunnel, taken })
    }

    fn take(self, registry: &Registry) -> Result<Registration, NotInserted> {
        match self.taken {
            Some(registration) => Ok(registration),
            None => registry.insert(&self.tunnel),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll};
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use futures_util::future::poll_immediate;
    use futures_util::{Sink, Stream};
    use ggrok_protocol::{CallError, Dialect, Limits, Memory, Message, TransportError, open};
    use http::Request;
    use http_body_util::Empty;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::{LEAVING, Registered, Seen, run};
    use crate::log_limit::LogLimits;
    use crate::{Grant, Owner, Tunnel};

    /// A client that says GoAway, and nothing behind it.
    #[derive(Default)]
    struct Leaver {
        has_said: bool,
    }

    impl Stream for Leaver {
        type Item = Result<Message, TransportError>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if std::mem::replace(&mut self.has_said, true) {
                return Poll::Pending;
            }
            let go_away = Bytes::from_static(b"\x06\0\0\0\0\0");
            Poll::Ready(Some(Ok(Message::Binary(go_away))))
        }
    }

    impl Sink<Message> for Leaver {
        type Error = TransportError;

        fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _: Message) -> Result<(), Self::Error> {
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_goes_away_and_answers_nothing_is_ended() {
        let hour = Duration::from_secs(3600);
        let limits = Limits {
            answer_timeout: hour,
            ping_every: hour,
            dead_after: hour,
            ..Limits::default()
        };
        let (line, session) = open(Dialect::V2, limits);
        let registered = Registered {
            grant: Grant::new(Owner::new("ana")),
            places: Vec::new(),
            dialect: Dialect::V2,
            peer: None,
            since: SystemTime::now(),
            seen: Seen::now(),
            most_calls: 1,
            account: Memory::new(usize::MAX).account(),
            door: None,
        };
        let tunnel = Tunnel::new(line, registered);
        let request = Request::new(Empty::<Bytes>::new());
        let mut call = pin!(tunnel.call(request));
        assert!(poll_immediate(&mut call).await.is_none());
        let began = Instant::now();
        let stop = CancellationToken::new();
        run(
            session,
            Leaver::default(),
            &tunnel,
            None,
            &stop,
            &LogLimits::new(),
        )
        .await;
        assert!(matches!(call.await, Err(CallError::Closed)));
        let patience = LEAVING..LEAVING + Duration::from_secs(5);
        assert!(patience.contains(&began.elapsed()));
    }
}
